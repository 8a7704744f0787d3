"""`greenroom shred`, `hold` and `release`: the end of a recording's keys, and what forbids it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from greenroom.commands.options import DataOption, KeyDirOption, RecordingPlaceArgument, key_dir_of

ByOption = Annotated[str, typer.Option("--by", metavar="WHO", help="Who wants it; it is signed and kept.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="WHY", help="Why; it is signed and kept, readable by anyone.")
]


def shred(
    recording: RecordingPlaceArgument,
    by: ByOption,
    reason: ReasonOption,
    data: DataOption = Path("data"),
    key_dir: KeyDirOption = None,
) -> None:
    """Destroy the keys of a recording: nobody reads it any more, and its proof can still be verified.

    Cannot be undone. Refused under legal hold. Needs the signing key, and no key that opens the recording.
    May be run again, and finishes then what was cut short.
    """
    from greenroom.recording_keys import open_keys, open_stored, translated
    from vault.shredding import shred_recording

    with translated():
        store, recording_id = open_stored(recording)
        ring = open_keys(key_dir_of(data, key_dir))
        shred_recording(
            store, ring, recording_id=recording_id, by=by, reason=reason, at_us=time.time_ns() // 1000
        )
    typer.echo(f"recording {recording_id} is shredded; greenroom verify says what remains of it")


def hold(
    recording: RecordingPlaceArgument,
    by: ByOption,
    reason: ReasonOption,
    data: DataOption = Path("data"),
    key_dir: KeyDirOption = None,
) -> None:
    """Put a recording under legal hold: it is neither shredded nor deleted until it is released."""
    from greenroom.recording_keys import open_keys, open_stored, translated
    from vault.custody import place_hold

    with translated():
        store, recording_id = open_stored(recording)
        ring = open_keys(key_dir_of(data, key_dir))
        placed = place_hold(
            store, ring, recording_id=recording_id, by=by, reason=reason, at_us=time.time_ns() // 1000
        )
    typer.echo(f"recording {recording_id} is under legal hold by {placed.by!r} ({placed.reason})")


def release(
    recording: RecordingPlaceArgument,
    by: ByOption,
    reason: ReasonOption,
    data: DataOption = Path("data"),
    key_dir: KeyDirOption = None,
) -> None:
    """End the legal hold of a recording."""
    from greenroom.recording_keys import open_keys, open_stored, translated
    from vault.custody import release_hold

    with translated():
        store, recording_id = open_stored(recording)
        ring = open_keys(key_dir_of(data, key_dir))
        release_hold(
            store, ring, recording_id=recording_id, by=by, reason=reason, at_us=time.time_ns() // 1000
        )
    typer.echo(f"recording {recording_id} is not under legal hold")
