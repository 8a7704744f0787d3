"""`greenroom demo`: one real session from its creation to the verified recording, and a report of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenroom.commands.options import DataOption, EngineOption, JsonOption
from greenroom.commands.up import announce_end, engine_named
from greenroom.console import say
from greenroom.errors import CommandError

if TYPE_CHECKING:
    from greenroom.demo import DemoReport
    from greenroom.stack import StackOptions

INTERRUPTED = 130


def demo(
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=3, max=3600, help="How long to publish.")
    ] = 15.0,
    data: DataOption = Path("data"),
    engine: EngineOption = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url", metavar="URL", help="A running Greenroom, http://HOST:PORT, whose data folder is --data."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a recorded session, publish into it, end it, verify, export and decode the recording.

    Starts everything it needs in the data folder, or uses a running Greenroom with --url. Exit code 0: all of
    it held. 1: something did not, and the report says what.
    """
    from greenroom.interrupts import run_interruptible
    from greenroom.stack import StackOptions

    chosen = engine_named(engine)
    if url is None:
        from greenroom.free_ports import free_port

        stack = StackOptions(data=data, port=free_port(), engine=chosen)
        work = _on_own_stack(stack, seconds=seconds, as_json=as_json)
    else:
        _check_url(url)
        work = run_and_print(url=url, data=data.resolve(), seconds=seconds, as_json=as_json)
    report = asyncio.run(run_interruptible(work, on_signal=announce_end))
    raise typer.Exit(INTERRUPTED if report is None else int(not report.ok))


async def run_and_print(*, url: str, data: Path, seconds: float = 15.0, as_json: bool = False) -> DemoReport:
    """Run the demo against a running Greenroom and print its report on standard output.

    Args:
        url: the orchestrator.
        data: the data folder of that Greenroom, for its recordings and keys.
        seconds: how long to publish.
        as_json: print one JSON object and nothing else.
    """
    from greenroom.demo import DemoOptions, print_report, run_demo

    options = DemoOptions(url=url, data_dir=data, seconds=seconds)
    report = await run_demo(options, on_progress=lambda text: say("demo", text))
    print_report(report, as_json=as_json)
    return report


def _check_url(url: str) -> None:
    from sdk.settings import check_url

    try:
        check_url("--url", url)
    except ValueError as error:
        raise CommandError(str(error)) from error


async def _on_own_stack(options: StackOptions, *, seconds: float, as_json: bool) -> DemoReport:
    from greenroom.stack import running_stack

    async with running_stack(options, say) as stack:
        work = run_and_print(url=stack.url, data=stack.data, seconds=seconds, as_json=as_json)
        return await stack.supervisor.while_running(work)
