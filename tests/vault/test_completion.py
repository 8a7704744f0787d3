"""Completion writes a manifest for what is stored and verified, and for nothing else."""

from __future__ import annotations

import msgspec
import pytest

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import (
    RECORDING,
    WALL_START_US,
    complete,
    make_key_ring,
    open_writer,
    put_init,
    put_second,
    write_seconds,
)
from vault.completion import RecordingFacts, complete_recording, settle_recording
from vault.core.manifest import AttemptClose, Gap
from vault.errors import ChunkExistsError, IntegrityError, StoreError
from vault.recovery import recover_attempt
from vault.verification import check_recording
from vault.verification_report import VerificationReport

RING = make_key_ring()


@pytest.fixture
def store() -> MemoryChunkStore:
    return MemoryChunkStore()


def recover(store: MemoryChunkStore, attempt: int = 1) -> AttemptClose:
    return recover_attempt(store.files(RECORDING), RING.public_key, recording_id=RECORDING, attempt=attempt)


def verify(store: MemoryChunkStore) -> VerificationReport:
    return check_recording(store.files(RECORDING), RING.public_key, recording_id=RECORDING).report


def test_an_attempt_that_closed_itself_becomes_complete(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer)
    assert verify(store).exit_code == 3
    manifest = complete(store, RING, writer.close())
    assert verify(store).exit_code == 0
    assert manifest.media_start_us == WALL_START_US
    assert [track.cut for track in manifest.tracks] == [False, False]


def test_a_recording_in_which_nobody_published_is_complete_and_says_that_it_is_empty(
    store: MemoryChunkStore,
) -> None:
    writer = open_writer(store, RING)
    complete(store, RING, writer.close())
    report = verify(store)
    assert report.exit_code == 0
    assert report.is_empty
    assert "is complete but empty: no media was recorded" in report.sentences()[0]


def test_what_a_killed_recorder_left_becomes_complete_and_says_where_it_was_cut(
    store: MemoryChunkStore,
) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer)
    writer.checkpoint()
    put_second(writer, 1, 3)
    manifest = complete(store, RING, recover(store))
    assert [track.cut for track in manifest.tracks] == [True, True]
    report = verify(store)
    assert (report.exit_code, report.attempts[0].size, report.attempts[0].closed) == (0, 9, "recovered")
    assert "1/checkpoint-0000000009" in store.recordings[RECORDING]


def test_a_takeover_is_one_timeline_with_its_gap_declared(store: MemoryChunkStore) -> None:
    write_seconds(open_writer(store, RING), tracks=[1])
    second = open_writer(store, RING, attempt=3, wall_start_us=WALL_START_US + 7_000_000)
    write_seconds(second, tracks=[5])
    closes = [recover(store), second.close()]
    manifest = complete(store, RING, *closes)
    assert verify(store).exit_code == 0
    assert [(track.attempt, track.start_us, track.end_us) for track in manifest.tracks] == [
        (1, 0, 3_000_000),
        (3, 7_000_000, 10_000_000),
    ]
    assert manifest.gaps == [Gap(start_us=3_000_000, end_us=7_000_000, reason="takeover")]


def test_the_facts_are_in_the_manifest(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer, tracks=[1])
    facts = RecordingFacts(
        session="session-1",
        capture="decoded",
        cut_marks_us=[WALL_START_US + 9],
        gaps=[Gap(start_us=WALL_START_US + 1, end_us=WALL_START_US + 2, reason="paused")],
        expected_us={(1, 1): 4_000_000},
    )
    manifest = complete_recording(store, RING, recording_id=RECORDING, closes=[writer.close()], facts=facts)
    assert (manifest.session, manifest.capture, manifest.cut_marks_us) == ("session-1", "decoded", [9])
    assert manifest.gaps == [Gap(start_us=1, end_us=2, reason="paused")]
    assert (manifest.tracks[0].expected_us, manifest.tracks[0].recorded_us) == (4_000_000, 3_000_000)
    assert [(track.expected_s, track.recorded_s) for track in verify(store).tracks] == [(4.0, 3.0)]


def test_no_identity_and_no_codec_stands_in_clear(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer)
    complete(store, RING, writer.close())
    everything = b"".join(store.recordings[RECORDING].values())
    for word in (b"alice", b"camera", b"h264", b"video/mp4", b"fragments", b"init part"):
        assert word not in everything


def test_it_can_be_repeated_and_a_crash_at_any_put_is_made_good(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer)
    close = recover(store)

    def refuse(name: str) -> None:
        raise StoreError(f"no answer for {name}")

    store.before_put = refuse
    for expected in ("checkpoint", "manifest"):
        with pytest.raises(StoreError, match=expected):
            complete(store, RING, close)
        store.before_put = lambda name: refuse(name) if name == "manifest" else None
    store.before_put = lambda name: None
    assert complete(store, RING, close) == complete(store, RING, close)
    assert verify(store).exit_code == 0


def test_a_recorder_that_wakes_takes_no_checkpoint_from_the_recording(store: MemoryChunkStore) -> None:
    frozen = open_writer(store, RING)
    write_seconds(frozen)
    frozen.checkpoint()  # the attempt is closed just there
    complete(store, RING, recover(store))
    put_second(frozen, 1, 3)
    frozen.checkpoint()
    assert verify(store).exit_code == 0


def test_a_recorder_that_wakes_while_the_manifest_is_written_takes_none_either(
    store: MemoryChunkStore,
) -> None:
    frozen = open_writer(store, RING)
    write_seconds(frozen)
    frozen.checkpoint()
    close = recover(store)

    def wake(name: str) -> None:
        if name == "manifest":
            store.before_put = lambda name: None
            put_second(frozen, 1, 3)
            frozen.checkpoint()

    store.before_put = wake
    complete(store, RING, close)
    assert verify(store).exit_code == 0


def test_what_a_completer_left_undone_after_its_manifest_is_done_by_the_next(store: MemoryChunkStore) -> None:
    frozen = open_writer(store, RING)
    write_seconds(frozen)
    frozen.checkpoint()
    close = recover(store)

    def wake_and_die(name: str) -> None:
        if name == "manifest":  # the frozen recorder wakes before it can see it
            put_second(frozen, 1, 3)
            store.before_put = lambda name: None
            frozen.checkpoint()
            store.before_put = die

    def die(name: str) -> None:
        if name.startswith("1/checkpoint"):
            raise StoreError("killed")

    store.before_put = wake_and_die
    with pytest.raises(StoreError, match="killed"):
        complete(store, RING, close)
    assert verify(store).exit_code == 1  # the checkpoint at the closed size is gone
    store.before_put = lambda name: None
    settle_recording(store, RING, recording_id=RECORDING)
    report = verify(store)
    assert (report.exit_code, report.ignored) == (0, ())


def test_a_bad_manifest_is_not_acted_on(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer)
    complete(store, RING, writer.close())
    stored = store.recordings[RECORDING]
    stored["manifest"] = stored["manifest"].replace(b"session-1", b"session-2")
    stored["1/chunk-0000000011"] = b"late"
    with pytest.raises(IntegrityError):
        settle_recording(store, RING, recording_id=RECORDING)
    assert "1/chunk-0000000011" in stored


def test_another_manifest_is_not_written_over_the_first(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer)
    close = writer.close()
    complete(store, RING, close)
    facts = RecordingFacts(session="session-2", capture="passthrough")
    with pytest.raises(ChunkExistsError, match="manifest"):
        complete_recording(store, RING, recording_id=RECORDING, closes=[close], facts=facts)


def test_what_came_after_the_close_is_swept_and_nothing_else(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=1)
    close = recover(store)
    put_second(writer, 1, 1)
    writer.checkpoint()
    store.recordings[RECORDING]["1/chunk-0000000009.00.tmp"] = b"half"
    store.recordings[RECORDING]["notes.txt"] = b"not ours"
    complete(store, RING, close)
    assert sorted(store.recordings[RECORDING]) == [
        "1/checkpoint-0000000004",
        *(f"1/chunk-{leaf:010}" for leaf in range(4)),
        "1/key-record-0000000001",
        "manifest",
        "notes.txt",
    ]


def test_a_head_that_the_chunks_do_not_lead_to_is_refused(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer)
    close = writer.close()
    wrong = [
        msgspec.structs.replace(close, root="00" * 32),
        msgspec.structs.replace(close, size=close.size + 1),
        msgspec.structs.replace(close, size=close.size - 1),
    ]
    for other in wrong:
        with pytest.raises(IntegrityError, match="do not lead there"):
            complete(store, RING, other)
    assert "manifest" not in store.recordings[RECORDING]


def test_a_missing_chunk_is_never_called_complete(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    write_seconds(writer)
    close = writer.close()
    del store.recordings[RECORDING]["1/chunk-0000000003"]
    with pytest.raises(IntegrityError, match="1/chunk-0000000003"):
        complete(store, RING, close)
    assert "manifest" not in store.recordings[RECORDING]


def test_an_attempt_that_says_it_closed_itself_must_have_its_final_chunks(store: MemoryChunkStore) -> None:
    writer = open_writer(store, RING)
    put_init(writer, 1)
    close = msgspec.structs.replace(recover(store), closed="own")
    with pytest.raises(IntegrityError, match="lacks its final chunk"):
        complete(store, RING, close)


def test_a_recording_has_at_least_one_attempt(store: MemoryChunkStore) -> None:
    with pytest.raises(ValueError, match="no attempt to complete"):
        complete(store, RING)
