"""`greenroom export`: one playable file of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from greenroom.commands.options import (
    DataOption,
    JsonOption,
    KeyDirOption,
    RecordingPlaceArgument,
    key_dir_of,
)
from greenroom.errors import CommandError
from greenroom.progress import shown_progress

if TYPE_CHECKING:
    from vault.export import ExportReport


def export(
    recording: RecordingPlaceArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="FILE", help="File to make: .mp4, .webm (VP8) or .mkv.", dir_okay=False
        ),
    ],
    audio: Annotated[
        Literal["copy", "aac"], typer.Option("--audio", help="Sound as recorded, or encoded as AAC.")
    ] = "copy",
    data: DataOption = Path("data"),
    key_dir: KeyDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a recording as one playable file. Every byte is authenticated before it is used.

    The file appears under its name when it is whole. Exit code 2: no key that opens it, or not to be
    exported; then nothing is written, and nothing is ever deleted.
    """
    report = _export(recording, key_dir_of(data, key_dir), out, audio)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(report, enc_hook=str).decode())
    else:
        typer.echo(
            f"{report.path}: {report.duration_s:.1f} s, {report.video_frames} video frames,"
            f" {report.audio_s:.1f} s of sound"
        )
        if not report.is_complete:
            typer.echo("The recording has no manifest yet: this is what was verified of it so far.")


def _export(recording: str, keys: Path, out: Path, audio: Literal["copy", "aac"]) -> ExportReport:
    from greenroom.recording_keys import open_keys
    from vault.errors import VaultError
    from vault.export import export_recording

    key_ring = open_keys(keys)
    try:
        with shown_progress("exporting") as on_progress:
            return export_recording(recording, key_ring, out, audio=audio, on_progress=on_progress)
    except VaultError as error:
        raise CommandError(str(error)) from error
