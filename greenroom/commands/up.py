"""`greenroom up`: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from greenroom.commands.options import DataOption, EngineOption, PortOption
from greenroom.console import say
from greenroom.errors import CommandError

if TYPE_CHECKING:
    from greenroom.embedded_engine import Engine
    from greenroom.stack import StackOptions

_ENGINES: Final[dict[str, Engine]] = {"auto": "auto", "livekit": "livekit", "embedded": "embedded"}


def up(
    port: PortOption = 8080,
    data: DataOption = Path("data"),
    engine: EngineOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Run the demo first, then stay up.")] = False,
) -> None:
    """Start media server, orchestrator, recorder and an example worker; one Ctrl-C ends all of them.

    A program that dies is started again. Everything is kept in the data folder: sessions that live when it
    ends go on at the next start.
    """
    from greenroom.interrupts import run_interruptible
    from greenroom.stack import StackOptions

    options = StackOptions(data=data, port=port, engine=engine_named(engine))
    asyncio.run(run_interruptible(_stay_up(options, with_demo=demo), on_signal=announce_end))
    say("up", "ended")


def engine_named(name: str | None) -> Engine | None:
    """Check the name of an engine.

    Raises:
        CommandError: there is none of this name.
    """
    if name is None:
        return None
    if name not in _ENGINES:
        raise CommandError(f"engine {name!r} is not known; use auto, livekit or embedded")
    return _ENGINES[name]


def announce_end(count: int) -> None:
    """Tell the person what their signal does."""
    say(
        "up", "ending, at most ten seconds; Ctrl-C again to kill" if count == 1 else "killing what still runs"
    )


async def _stay_up(options: StackOptions, *, with_demo: bool) -> None:
    from greenroom.stack import running_stack

    async with running_stack(options, say) as stack:
        where = f"{stack.url} · data in {stack.data} · Ctrl-C ends it"
        say("up", f"Greenroom is up: {where}")
        if with_demo:
            from greenroom.commands.demo import run_and_print

            await stack.supervisor.while_running(run_and_print(url=stack.url, data=stack.data))
            say("up", f"Greenroom stays up: {where}")
        await stack.supervisor.wait_failed()
