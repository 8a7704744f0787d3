"""Opens chunk stores and recordings by where they are; the only place that chooses the adapter.

Used alike by recorder, orchestrator and command line.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import assert_never

from vault.adapters.dir_store import DirChunkStore, DirRecording
from vault.adapters.s3_store import S3ChunkStore
from vault.core.ids import RecordingId, is_recording_id
from vault.core.store_location import DirLocation, S3Location, StoreLocation, folder_url, parse_location
from vault.errors import NotARecordingError
from vault.ports import ChunkStore, RecordingFiles


def open_chunk_store(location: StoreLocation) -> ChunkStore:
    """Open a store; nothing is read or written yet (`ChunkStore.check` does).

    Raises:
        StoreSetupError: it cannot be used as it is set.
    """
    match location:
        case DirLocation(path):
            return DirChunkStore(Path(path))
        case S3Location():
            return S3ChunkStore(location)
        case other:
            assert_never(other)


def url_of(location: StoreLocation) -> str:
    """Write a location so that it is the same text in every process that means the same store."""
    match location:
        case DirLocation(path):
            return folder_url(str(Path(path).resolve()))
        case S3Location():
            return location.url
        case other:
            assert_never(other)


def open_recording(place: str) -> tuple[RecordingFiles, RecordingId | None]:
    """Open one recording by its own place: a folder, or ``s3://BUCKET/PREFIX/RECORDING``.

    Returns:
        Its files, and which recording they must be; None where the folder's name does not say it.

    Raises:
        NotARecordingError: the place cannot be a recording.
        StoreSetupError: the store cannot be used as it is set.
    """
    try:
        location = parse_location(place)
    except ValueError as error:
        raise NotARecordingError(f"this is no place of a recording: {error}") from error
    match location:
        case DirLocation(path):
            folder = Path(path)
            if not folder.is_dir():
                raise NotARecordingError(f"{folder} is not a folder; name one recording, STORE/RECORDING_ID")
            name = folder.resolve().name
            return DirRecording(folder), RecordingId(name) if is_recording_id(name) else None
        case S3Location():
            prefix, _, name = location.prefix.rpartition("/")
            if not is_recording_id(name):
                raise NotARecordingError(
                    f"{name or location.bucket!r} is no recording; write s3://BUCKET/PREFIX/RECORDING_ID"
                )
            store = S3ChunkStore(replace(location, prefix=prefix))
            return store.files(RecordingId(name)), RecordingId(name)
        case other:
            assert_never(other)


def open_store_of(place: str) -> tuple[ChunkStore, RecordingId]:
    """Open the store that a recording lies in, by the recording's own place; for who changes something.

    Raises:
        NotARecordingError: the place is not named by a recording id, or there is nothing.
        StoreSetupError: the store cannot be used as it is set.
    """
    files, recording_id = open_recording(place)
    if recording_id is None:
        raise NotARecordingError(f"{place} is not named by its recording id: rename the folder to it")
    if not files.list_files():
        raise NotARecordingError(f"{place} holds nothing")
    location = parse_location(place)
    match location:
        case DirLocation(path):
            return DirChunkStore(Path(path).resolve().parent), recording_id
        case S3Location():
            prefix = location.prefix.rpartition("/")[0]
            return S3ChunkStore(replace(location, prefix=prefix)), recording_id
        case other:
            assert_never(other)
