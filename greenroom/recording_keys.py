"""Keys and stores of recordings as the command line opens them, and what is said when that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenroom.errors import CommandError

if TYPE_CHECKING:
    from orchestrator.settings import Settings
    from vault.core.ids import RecordingId
    from vault.ports import ChunkStore, KekRing


def configured(config: Path | None = None) -> Settings:
    """Read `config.toml` (or the file that is named) and the environment as the orchestrator does.

    Raises:
        CommandError: a setting is wrong.
    """
    from orchestrator.core.errors import SettingsError
    from orchestrator.settings import load_settings

    try:
        return load_settings(config)
    except SettingsError as error:
        raise CommandError(str(error)) from error


def open_keys(key_dir: Path) -> KekRing:
    """Open the ring on this key directory, with the passphrase or the key service of `[encryption]`.

    Raises:
        CommandError: a setting is wrong, or the keys cannot be opened.
    """
    from vault.adapters.key_files import PUBLIC_KEY_NAME
    from vault.errors import KeyFileError
    from vault.opening_keys import open_key_ring

    try:
        return open_key_ring(replace(configured().encryption.keys, key_dir=key_dir))
    except KeyFileError as error:
        hint = "" if (key_dir / PUBLIC_KEY_NAME).exists() else "; name the folder of the keys: --key-dir DIR"
        raise CommandError(f"{error}{hint}") from error


def open_store(place: str) -> ChunkStore:
    """Open the store of all recordings.

    Raises:
        CommandError: the place cannot be a store.
    """
    from vault.core.store_location import parse_location
    from vault.stores import open_chunk_store

    try:
        return open_chunk_store(parse_location(place))
    except ValueError as error:
        raise CommandError(f"{place!r} is no store of recordings: {error}") from error


def open_stored(place: str) -> tuple[ChunkStore, RecordingId]:
    """Open the store of one recording, given by the recording's own place.

    Raises:
        CommandError: the place is none of a recording that is named by its id.
    """
    from vault.stores import open_store_of

    with translated():
        return open_store_of(place)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what goes wrong with keys and recordings into the one sentence that ends a command."""
    from vault.errors import VaultError

    try:
        yield
    except (VaultError, ValueError) as error:
        raise CommandError(str(error)) from error
