"""Chooses the adapters and runs the recorder; the only place that knows them all."""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from typing import Final

from recorder.adapters.decoded_tracks import EVERY_KIND, SOUND_ALONE, DecodedRoom
from recorder.adapters.dir_spool import DirSpool
from recorder.adapters.job_reports import JobReports
from recorder.adapters.passthrough.tracks import PassthroughTracks
from recorder.adapters.pyav_canvas import PyavCanvas
from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.core.errors import E2eeKeyMissingError, SettingsError
from recorder.core.layout import Layout
from recorder.core.quality import QUALITIES
from recorder.ports import Clock, Spool, TrackSource
from recorder.service.archive import Archive
from recorder.service.composed_room import ComposedRoom
from recorder.service.fallback import FallingBack
from recorder.service.job import RecorderHandler, RecorderParts
from recorder.service.left_spool import clear_left
from recorder.settings import RecorderSettings
from sdk.job import Job
from sdk.settings import WorkerSettings
from sdk.wire import RECORDER_SERVICE, RecordingTask
from sdk.worker import Worker
from vault.copied_checkpoints import CopiedCheckpoints
from vault.core.ids import parse_recording_id
from vault.core.public_key import derive_key_id
from vault.core.store_location import StoreLocation, parse_location
from vault.errors import KeyFileError, KeyServiceError, StoreError, StoreSetupError, VaultError
from vault.opening_keys import KeySettings, open_key_ring
from vault.ports import ChunkStore, KeyRing
from vault.sealed_text import open_text
from vault.stores import open_chunk_store, url_of

# Of the 5 s that a recorder has at SIGTERM, nearly all is for flushing and reporting.
DRAIN_S: Final = 0.2
# Sealing, writing the manifest and verifying a long recording may take minutes after the room is left.
FINISH_S: Final = 1800.0

_log = logging.getLogger("greenroom.recorder")


def build(settings: RecorderSettings) -> Worker:
    """Make the recorder's worker.

    Raises:
        SettingsError: the key folder or the chunk store cannot be used.
    """
    try:
        keys = open_key_ring(
            KeySettings(key_dir=settings.key_dir, passphrase_env=settings.passphrase_env, kms=settings.kms),
            create=True,
        )
        kek_id = keys.kek_id
    except (KeyFileError, KeyServiceError) as error:
        raise SettingsError(f"GREENROOM_KEY_DIR cannot be used: {error}") from error
    place = parse_location(settings.chunk_store)
    store, location = _open_store(place, "CHUNK_STORAGE_PATH"), url_of(place)
    if settings.checkpoint_copies:
        store = _copied(store, location, settings.checkpoint_copies)
    archive = Archive(store, keys, location, _open_spool(settings))
    _put_left_beside(archive)
    clock = SystemClock()
    handler = RecorderHandler(
        RecorderParts(
            archive=archive,
            clock=clock,
            encoders=PyavEncoders,
            tracks=lambda job: _tracks(job, clock, keys),
            reporter=lambda job: JobReports(job, location=location),
        )
    )
    return Worker(
        WorkerSettings(
            settings.url,
            RECORDER_SERVICE,
            metadata={
                "kek_id": kek_id,
                "signing_key_id": derive_key_id(keys.public_key),
                "store": location,
            },
            capacity=settings.capacity,
            in_default=False,
            drain_timeout_s=DRAIN_S,
            joins_room=False,  # passthrough does not decode, so the media SDK must not subscribe
            finish_timeout_s=FINISH_S,
        ),
        handler,
    )


def _copied(store: ChunkStore, location: str, copies: str) -> ChunkStore:
    """Have checkpoints kept in a second place as well.

    Raises:
        SettingsError: it cannot be used, or is the first one.
    """
    place = parse_location(copies)
    if url_of(place) == location:
        raise SettingsError(
            "MERKLE_STORAGE_PATH cannot be used: it is CHUNK_STORAGE_PATH; name another place"
        )
    return CopiedCheckpoints(store, _open_store(place, "MERKLE_STORAGE_PATH"), say=_log.warning)


def _open_store(place: StoreLocation, variable: str) -> ChunkStore:
    """Open a store; one that does not answer now may do so when there is something to record."""
    try:
        store = open_chunk_store(place)
        store.check()
    except StoreSetupError as error:
        raise SettingsError(f"{variable} cannot be used: {error}") from error
    except StoreError as error:
        _log.warning("%s does not answer: %s", variable, error)
    return store


def _open_spool(settings: RecorderSettings) -> Spool | None:
    if not settings.spool_budget:
        return None
    try:
        return DirSpool(settings.spool_path, budget_bytes=settings.spool_budget, recordings=settings.capacity)
    except (StoreSetupError, StoreError) as error:
        raise SettingsError(f"SPOOL_PATH cannot be used: {error}") from error


def _put_left_beside(archive: Archive) -> None:
    """Clear what recorders that are gone left in the spool, on a thread that ends with the process."""
    if archive.spool is not None and archive.spool.left_behind():
        clearing = partial(clear_left, archive.spool, archive.store, archive.key_ring.public_key)
        threading.Thread(target=clearing, name="left spool", daemon=True).start()


def _tracks(job: Job, clock: Clock, keys: KeyRing) -> TrackSource:
    """Choose how a room's media is taken."""
    task = job.recording
    e2ee_key = partial(_e2ee_key, task, keys)
    match "" if task is None else task.mode:
        case "passthrough":
            assert task is not None
            passthrough = PassthroughTracks(job.grant, clock, keyframe_interval_s=task.keyframe_interval_s)
            return FallingBack(passthrough, DecodedRoom(job.grant, clock, e2ee_key=e2ee_key))
        case "composite" | "audio" as mode:
            assert task is not None
            kinds = EVERY_KIND if mode == "composite" else SOUND_ALONE
            layout: Layout = "speaker" if task.layout == "speaker" else "grid"
            return ComposedRoom(
                DecodedRoom(job.grant, clock, kinds=kinds, e2ee_key=e2ee_key),
                clock=clock,
                quality=QUALITIES[task.quality],
                layout=layout if mode == "composite" else None,
                canvas=lambda width, height: PyavCanvas(width=width, height=height),
            )
        case _:  # tracks, and what was called decoded
            return DecodedRoom(job.grant, clock, e2ee_key=e2ee_key)


async def _e2ee_key(task: RecordingTask | None, keys: KeyRing) -> str:
    """Open the key of the room's end-to-end encryption that came with the job; "" when none did.

    Raises:
        E2eeKeyMissingError: it does not open with our keys.
    """
    if task is None or not task.e2ee_key:
        return ""
    recording_id = parse_recording_id(task.recording_id)
    try:
        return await asyncio.to_thread(open_text, task.e2ee_key, keys, recording_id=recording_id)
    except VaultError as error:
        raise E2eeKeyMissingError(f"e2ee_key_missing: the key cannot be opened, because {error}") from error
