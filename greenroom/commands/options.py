"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Folder that everything is kept in.", file_okay=False)
]
PortOption = Annotated[
    int, typer.Option("--port", metavar="N", min=1, max=65535, help="Port of the orchestrator on 127.0.0.1.")
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="Media server: auto (the configured one, else livekit-server when it is there, else the embedded"
        " one), livekit or embedded. Unset: as configured.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on the last line.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings. Unset: ./config.toml when present."),
]
KeyDirOption = Annotated[
    Path | None,
    typer.Option("--key-dir", metavar="DIR", help="Folder of the keys. Unset: DATA/keys.", file_okay=False),
]
RecordingPlaceArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECORDING",
        help="Folder of one recording, DATA/recordings/ID, or s3://BUCKET/PREFIX/ID?endpoint=URL.",
    ),
]


def key_dir_of(data: Path, key_dir: Path | None) -> Path:
    """Give the folder of the keys: the one that was named, else the one in the data folder."""
    return data / "keys" if key_dir is None else key_dir
