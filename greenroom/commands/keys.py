"""`greenroom keys`: which keys recordings need, a new one, and the old ones out of use."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenroom.commands.options import DataOption, JsonOption, KeyDirOption, key_dir_of
from greenroom.errors import CommandError

if TYPE_CHECKING:
    from vault.core.ids import RecordingId
    from vault.ports import ChunkStore, KekRing
    from vault.rotation import KekUse

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        help="Where the recordings lie: a folder or s3://BUCKET/PREFIX?endpoint=URL. Unset: DATA/recordings.",
    ),
]

keys = typer.Typer(no_args_is_help=True, help="The keys of recordings: list, rotate, rewrap, destroy.")


@keys.command("list")
def list_keys(
    data: DataOption = Path("data"),
    key_dir: KeyDirOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every key-encryption key, its age, and how many key records need it."""
    from greenroom.recording_keys import configured, open_keys, translated
    from vault.opening_keys import age_warning

    with translated():
        ring, chunks = open_keys(key_dir_of(data, key_dir)), _open_store(data, store)
        use, keks = _find_use(ring, chunks), ring.keks()
    now_s = time.time()
    warning = age_warning(keks, rotation_days=configured().encryption.rotation_days, now_s=now_s)
    rows = [
        {
            "kek_id": str(kek.kek_id),
            "state": "active" if kek.is_active else "needed" if use.attempts[kek.kek_id] else "retired",
            "since": datetime.fromtimestamp(kek.since_s, UTC).isoformat(),
            "days": max(0, int(now_s - kek.since_s) // 86400),
            "key_records": use.attempts[kek.kek_id],
        }
        for kek in keks
    ]
    missing = sorted(set(use.attempts) - {kek.kek_id for kek in keks})
    if as_json:
        import msgspec

        answer = {"keys": rows, "missing": missing, "unknown": use.unknown, "warning": warning}
        typer.echo(msgspec.json.encode(answer).decode())
        return
    for row in rows:
        typer.echo(
            f"{row['kek_id']}  {row['state']:8}{row['days']:>5} days  {row['key_records']:>6} key records"
        )
    for kek_id in missing:
        typer.echo(f"{kek_id}  NOT HERE: {use.attempts[kek_id]} key records need it; bring its key")
    for recording_id, reason in use.unknown.items():
        typer.echo(f"recording {recording_id}: {reason}")
    if warning:
        typer.echo(f"WARNING: {warning}", err=True)


@keys.command("rotate")
def rotate(data: DataOption = Path("data"), key_dir: KeyDirOption = None) -> None:
    """Make a new key-encryption key, which wraps from now on. Recordings keep the old one until `rewrap`.

    Programs that run take the new key by themselves. The old one stays: nothing becomes unreadable.
    """
    from greenroom.recording_keys import open_keys, translated

    with translated():
        kek_id = open_keys(key_dir_of(data, key_dir)).rotate(int(time.time()))
    typer.echo(
        f"{kek_id} wraps new recordings; copy the key folder elsewhere, then: greenroom keys rewrap --all"
    )


@keys.command("rewrap")
def rewrap(
    recording: Annotated[
        str | None, typer.Argument(metavar="RECORDING_ID", help="One recording; or give --all.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All recordings of the store.")] = False,
    data: DataOption = Path("data"),
    key_dir: KeyDirOption = None,
    store: StoreOption = None,
) -> None:
    """Wrap the data keys of recordings under the active key-encryption key. No media is rewritten.

    May be killed and run again at any time; everything stays readable. Exit code 1: some recordings were
    left as they are, and it says which and why.
    """
    from greenroom.recording_keys import open_keys, translated
    from vault.core.ids import parse_recording_id
    from vault.errors import KeyFileError, KeyServiceError, VaultError
    from vault.rotation import rewrap_recording

    if every == (recording is not None):
        raise CommandError("name one RECORDING_ID, or give --all for every recording")
    with translated():
        ring, chunks = open_keys(key_dir_of(data, key_dir)), _open_store(data, store)
        recordings = chunks.list_recordings() if recording is None else [parse_recording_id(recording)]
        done, failed = 0, 0
        for recording_id in recordings:
            try:
                done += rewrap_recording(chunks, ring, recording_id=recording_id)
            except (KeyFileError, KeyServiceError):
                raise  # the next recording would fare no better
            except VaultError as error:
                failed += 1
                typer.echo(f"recording {recording_id} is left as it is: {error}", err=True)
    typer.echo(f"{done} key records of {len(recordings)} recordings are wrapped anew")
    if failed:
        raise typer.Exit(1)


@keys.command("destroy")
def destroy(
    kek_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="A retired key, as `keys list` names it.")],
    data: DataOption = Path("data"),
    key_dir: KeyDirOption = None,
    store: StoreOption = None,
) -> None:
    """Destroy a key-encryption key, after a look at every key record that nothing needs it.

    Recordings in other stores and in backups that need it become unreadable for ever.
    """
    from greenroom.recording_keys import open_keys, translated
    from vault.core.ids import KekId
    from vault.rotation import destroy_kek

    with translated():
        ring, chunks = open_keys(key_dir_of(data, key_dir)), _open_store(data, store)
        destroy_kek(ring, KekId(kek_id), use=_find_use(ring, chunks), now_s=time.time())
    typer.echo(f"{kek_id} is destroyed")


def _open_store(data: Path, store: str | None) -> ChunkStore:
    from greenroom.recording_keys import open_store

    return open_store(store or str(data / "recordings"))


def _find_use(ring: KekRing, chunks: ChunkStore) -> KekUse:
    from vault.rotation import find_kek_use

    recordings: Iterable[RecordingId] = chunks.list_recordings()
    return find_kek_use(chunks, ring, recordings)
