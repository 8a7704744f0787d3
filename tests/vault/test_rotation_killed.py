"""Rotations killed (SIGKILL, at every change of a file and at random): 0 unreadable, 0 media rewritten.

GREENROOM_FULL=1 takes 1,000 recordings instead of 100, and 20 kills at random besides those at every step.
"""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from uuid import UUID

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import RECORDING, complete, open_writer, put_init, put_second
from tests.vault.rotation_deaths import rotate_and_die
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId, VerifyKey
from vault.core.layout import may_hold_key
from vault.reading import RecordingReader
from vault.rotation import find_kek_use, rewrap_recording
from vault.verification import verify_recording

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
RECORDINGS = 1_000 if IS_FULL else 100
RANDOM_KILLS = 20 if IS_FULL else 6
LOOKED_AT = 50  # readable after each kill: those around the one that was killed; all of them at the end

Media = dict[str, tuple[str, int, int]]


def make_data(folder: Path) -> list[RecordingId]:
    """Make recordings on disk, without the fsyncs that would take most of the time."""
    ring, ids = KeyFiles.create_or_open(folder / "keys"), []
    for number in range(RECORDINGS):
        recording_id = RecordingId(str(UUID(int=number, version=4)))
        ids.append(recording_id)
        store = MemoryChunkStore()
        writer = open_writer(store, ring, recording_id=recording_id)
        put_init(writer, 1)
        put_second(writer, 1, 0, plaintext=b"%d" % number)
        complete(store, ring, writer.close(), recording_id=recording_id)
        for name, data in store.recordings[recording_id].items():
            path = folder / "recordings" / recording_id / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return ids


def media_of(folder: Path) -> Media:
    """Hash, time and inode of every file that is no key record."""
    return {
        str(path): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_ino,
        )
        for path in sorted((folder / "recordings").rglob("*"))
        if path.is_file() and not may_hold_key("/".join(path.parts[-2:]))
    }


def unreadable(folder: Path, ids: list[RecordingId]) -> list[RecordingId]:
    """The recordings that do not give their media back."""
    ring, store, found = KeyFiles.open(folder / "keys"), DirChunkStore(folder / "recordings"), []
    for recording_id in ids:
        reader = RecordingReader.open(store.files(recording_id), ring, recording_id=recording_id)
        if reader.read_chunk(1, 1)[1] != b"%d" % (UUID(recording_id).int & 0xFFFFFFFF):
            found.append(recording_id)
    return found


@pytest.mark.timeout(3_600 if IS_FULL else 300)
def test_a_rotation_that_is_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    ids = make_data(tmp_path)
    media, first_kek = media_of(tmp_path), KeyFiles.open(tmp_path / "keys").kek_id
    kills = 0

    # At every change that making a key and rewrapping one recording consists of.
    while rotate_and_die(tmp_path, ids[:1], at_step=kills + 1):
        kills += 1
        assert unreadable(tmp_path, ids[:LOOKED_AT]) == []
        assert verify_recording(tmp_path / "recordings" / ids[0], _public_key(tmp_path)).problems == ()
    assert kills >= 14, "a key, its name, the active one; put, read back, destroy"

    # At random, in the midst of all.
    chance, at_random = random.Random(20), 0
    for _ in range(10 * RANDOM_KILLS):
        at_random += rotate_and_die(tmp_path, ids, after_s=chance.uniform(0.01, 0.3))
        assert unreadable(tmp_path, ids) == []
        if at_random == RANDOM_KILLS:
            break
    assert kills + at_random >= 20

    ring, store = KeyFiles.open(tmp_path / "keys"), DirChunkStore(tmp_path / "recordings")
    for recording_id in ids:
        rewrap_recording(store, ring, recording_id=recording_id)
    assert unreadable(tmp_path, ids) == []
    assert media_of(tmp_path) == media, "0 bytes of media rewritten"
    assert dict(find_kek_use(store, ring, ids).attempts) == {ring.kek_id: RECORDINGS}
    assert ring.kek_id != first_kek
    bad = [one for one in ids if verify_recording(tmp_path / "recordings" / one, ring.public_key).exit_code]
    assert bad == []


def test_the_control_that_rewraps_in_place_is_caught(tmp_path: Path) -> None:
    """Whoever removes the old record first, and is killed then, leaves what this test would see."""
    ring, store = KeyFiles.create_or_open(tmp_path / "keys"), DirChunkStore(tmp_path / "recordings")
    writer = open_writer(store, ring)
    put_init(writer, 1)
    complete(store, ring, writer.close())
    media = media_of(tmp_path)
    store.delete(RECORDING, "1/key-record-0000000001")
    assert verify_recording(tmp_path / "recordings" / RECORDING, ring.public_key).exit_code == 1
    chunk = tmp_path / "recordings" / RECORDING / "1" / "chunk-0000000000"
    data = chunk.read_bytes()
    chunk.unlink()
    chunk.write_bytes(data)
    assert media_of(tmp_path) != media, "the same bytes written again are seen too"


def _public_key(folder: Path) -> VerifyKey:
    return KeyFiles.open(folder / "keys").public_key
