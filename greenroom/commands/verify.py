"""`greenroom verify`: is a recording what was recorded, all of it? Needs no secret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from vault.verification_report import VerificationReport


def verify(
    recording: RecordingPlaceArgument,
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key",
            metavar="FILE",
            help="Key that must have signed it. Unset: signing.pub of the keys.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="URL",
            help="Who knows it, so that a folder that was rolled back is seen: an orchestrator,"
            " http://HOST:PORT, or where copies of checkpoints lie (MERKLE_STORAGE_PATH).",
        ),
    ] = None,
    data: DataOption = Path("data"),
    key_dir: KeyDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every file of a recording against the key that must have signed it.

    Exit code 0: complete and good, or complete but empty when nobody published, or shredded and its proof
    good. 3: good but incomplete, as a recorder that was killed leaves it, or a shredding that is not
    finished. 1: bad, and the first bad file is named; all of it being signed by another key is bad too.
    2: nothing could be checked: no recording there, no key, or --against does not know it.
    """
    key_file = public_key or key_dir_of(data, key_dir) / "signing.pub"
    report = _verify(recording, key_file, against)
    if as_json:
        typer.echo(report_as_json(report))
    else:
        for sentence in report.sentences():
            typer.echo(sentence)
    raise typer.Exit(report.exit_code)


def report_as_json(report: VerificationReport) -> str:
    """Give the report as one JSON object, what follows from its fields included."""
    import msgspec

    fields = {**msgspec.to_builtins(report), "is_empty": report.is_empty, "exit_code": report.exit_code}
    return msgspec.json.encode(fields).decode()


def _verify(recording: str, key_file: Path, url: str | None) -> VerificationReport:
    from greenroom.known_heads import known_heads
    from vault.adapters.key_files import read_public_key
    from vault.errors import KeyFileError, VaultError
    from vault.verification import verify_recording

    try:
        key = read_public_key(key_file)
        heads = () if url is None else known_heads(url, recording, key)
        with shown_progress("verifying") as on_progress:
            return verify_recording(recording, key, against=heads, on_progress=on_progress)
    except KeyFileError as error:
        raise CommandError(f"{error}; name the key that must have signed it: --public-key FILE") from error
    except VaultError as error:
        raise CommandError(str(error)) from error
