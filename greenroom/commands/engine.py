"""`greenroom engine`: the embedded media server alone, in place of this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from greenroom.commands.options import DataOption
from greenroom.commands.serve import become


def engine(
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="TCP port; 0 takes a free one.")
    ] = 7880,
    udp_port: Annotated[
        int,
        typer.Option("--udp-port", metavar="N", min=0, max=65535, help="UDP port of media; 0: a free one."),
    ] = 7882,
    webhook_url: Annotated[
        list[str] | None,
        typer.Option("--webhook-url", metavar="URL", help="Receiver of webhooks; may be repeated."),
    ] = None,
    data: DataOption = Path("data"),
) -> None:
    """Run the LiveKit-compatible media server for development alone, on 127.0.0.1 (docs/ENGINE.md).

    Its key and secret are LIVEKIT_API_KEY and LIVEKIT_API_SECRET, else those in DATA/livekit.secret, which is
    made when there is none. More options: python -m engine --help.
    """
    arguments = ["--port", str(port), "--udp-port", str(udp_port)]
    for url in webhook_url or ():
        arguments += ["--webhook-url", url]
    if not os.environ.get("LIVEKIT_API_SECRET"):
        arguments += ["--key-file", str(_key_file(data))]
    become("engine", {}, arguments)


def _key_file(data: Path) -> Path:
    from greenroom import livekit_secret
    from greenroom.errors import CommandError

    path = data.resolve() / livekit_secret.FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        livekit_secret.load_or_make(path)
    except OSError as error:
        raise CommandError(
            f"the data folder {data} cannot be written ({error.strerror}); name another: --data DIR"
        ) from error
    return path
