"""`greenroom serve`: the orchestrator, in place of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from greenroom.commands.options import ConfigOption
from greenroom.python_module import python_module


def serve(
    config: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Address to listen on (SERVER_HOST).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="N", min=1, max=65535, help="Port to listen on (SERVER_PORT)."),
    ] = None,
) -> None:
    """Run the orchestrator alone, as `config.toml` and the environment say (docs/SETTINGS.md)."""
    chosen = {"SERVER_HOST": host, "SERVER_PORT": None if port is None else str(port)}
    become("orchestrator", chosen, ["--config", str(config)] if config else [])


def become(module: str, environment: Mapping[str, str | None], arguments: list[str]) -> None:
    """Turn this process into `python -m MODULE`, with variables set where an option was given."""
    variables = {**os.environ, **{name: value for name, value in environment.items() if value is not None}}
    sys.stdout.flush()
    os.execve(sys.executable, python_module(module, *arguments), variables)
