"""What a recorder that is gone left in the spool: part of the recording when it comes in time, else swept."""

from __future__ import annotations

import pytest

from recorder.service.archive import Archive
from recorder.service.left_spool import clear_left, put_left
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import (
    OTHER_RECORDING,
    RECORDING,
    complete,
    make_key_ring,
    open_writer,
    put_init,
    put_second,
)
from tests.fakes.spools import MemorySpool
from vault.errors import StoreError
from vault.shredding import shred_recording
from vault.verification import check_recording
from vault.writing import AttemptWriter

RING = make_key_ring()
PLACE = (RECORDING, 1)


class Scene:
    """An attempt with three acknowledged leaves, and three more that its recorder, now gone, spooled."""

    def __init__(self) -> None:
        self.store, self.spool = MemoryChunkStore(), MemorySpool()
        self.writer: AttemptWriter = open_writer(self.store, RING)
        put_init(self.writer, 1)
        put_second(self.writer, 1, 0)
        put_second(self.writer, 1, 1)
        self.writer.checkpoint()
        self.spool.kept[PLACE] = {}
        for second in (2, 3, 4):
            sealed = self.writer.seal(
                1, b"late", first_pts=second * 1000, duration_pts=1000, has_keyframe=False
            )
            self.spool.kept[PLACE][sealed.name] = sealed.data
        self.archive = Archive(self.store, RING, "memory:", self.spool)

    def leaves(self) -> int:
        return sum("chunk" in name for name in self.store.recordings[RECORDING])

    def put(self) -> None:
        put_left(self.spool, self.store, RING.public_key)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_successor_on_the_same_machine_closes_the_attempt_with_what_was_spooled(scene: Scene) -> None:
    (close,) = scene.archive.close_earlier(RECORDING, before=2)
    assert (close.size, close.closed) == (6, "recovered")
    assert scene.spool.left_behind() == []
    complete(scene.store, RING, close)
    report = check_recording(scene.store.files(RECORDING), RING.public_key).report
    assert (report.exit_code, report.tracks[0].recorded_s) == (0, 5.0)


def test_without_its_spool_the_attempt_is_shorter(scene: Scene) -> None:
    (close,) = Archive(scene.store, RING, "memory:").close_earlier(RECORDING, before=2)
    assert close.size == 3


def test_put_after_the_close_it_is_swept_with_the_completion_and_is_no_part(scene: Scene) -> None:
    (close,) = Archive(scene.store, RING, "memory:").close_earlier(RECORDING, before=2)
    scene.put()
    assert scene.leaves() == 6
    complete(scene.store, RING, close)
    assert scene.leaves() == 3
    assert check_recording(scene.store.files(RECORDING), RING.public_key).report.exit_code == 0


def test_after_the_manifest_nothing_is_put(scene: Scene) -> None:
    (close,) = Archive(scene.store, RING, "memory:").close_earlier(RECORDING, before=2)
    complete(scene.store, RING, close)
    scene.put()
    assert (scene.leaves(), scene.spool.left_behind()) == (3, [])


def test_into_a_shredded_or_deleted_recording_nothing_is_put(scene: Scene) -> None:
    shred_recording(scene.store, RING, recording_id=RECORDING, by="me", reason="test", at_us=1)
    scene.put()
    assert (scene.leaves(), scene.spool.left_behind()) == (3, [])
    gone = Scene()
    gone.store.recordings.clear()
    gone.put()
    assert (gone.store.recordings, gone.spool.left_behind()) == ({}, [])


def test_what_is_held_by_somebody_alive_is_left_alone(scene: Scene) -> None:
    share = scene.spool.claim(*PLACE)
    assert share is not None
    scene.put()
    assert scene.leaves() == 3
    share.release()
    scene.put()
    assert scene.leaves() == 6


def test_only_the_attempts_that_are_asked_for_are_put(scene: Scene) -> None:
    for recording_id, before in ((OTHER_RECORDING, 2), (RECORDING, 1)):
        put_left(scene.spool, scene.store, RING.public_key, recording_id=recording_id, before=before)
        assert scene.leaves() == 3


def test_a_bad_chunk_and_what_follows_it_are_not_put(scene: Scene) -> None:
    name = sorted(scene.spool.kept[PLACE])[1]
    data = scene.spool.kept[PLACE][name]
    scene.spool.kept[PLACE][name] = data[:-1] + bytes([data[-1] ^ 1])
    scene.put()
    assert (scene.leaves(), scene.spool.left_behind()) == (4, [])
    assert check_recording(scene.store.files(RECORDING), RING.public_key).report.exit_code == 3


def test_a_store_that_does_not_answer_leaves_the_rest_for_the_next_time(scene: Scene) -> None:
    waits: list[float] = []

    def away(name: str) -> None:
        if name.endswith("4") and len(waits) < 8:
            raise StoreError("the disk is away")

    scene.store.before_put = away
    clear_left(scene.spool, scene.store, RING.public_key, sleep=waits.append)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (scene.leaves(), scene.spool.left_behind(), scene.spool.claimed) == (6, [], set())
