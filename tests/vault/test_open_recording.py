"""An open recording: tracks over attempts, bytes authenticated first, growth up to the checkpoint."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction

import av
import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.media import make_audio, make_video
from tests.fakes.recordings import (
    PROLOGUE,
    RECORDING,
    WALL_START_US,
    complete,
    make_key_ring,
    open_writer,
    put_init,
    put_second,
    write_media,
    write_recording,
    write_seconds,
)
from vault.core.chunk_header import HEADER_BYTES, decode_header, encode_header
from vault.errors import FileMissingError, FormatError, IntegrityError, NotARecordingError
from vault.open_recording import OpenRecording
from vault.recovery import recover_attempt

RING = make_key_ring()


class Files(MemoryRecording):
    """Counts chunks that are read as a whole."""

    chunks = 0

    def read(self, name: str, *, max_bytes: int) -> bytes:
        self.chunks += "chunk" in name
        return super().read(name, max_bytes=max_bytes)


def opened(store: MemoryChunkStore) -> tuple[OpenRecording, Files]:
    files = Files(store.recordings[RECORDING])
    return OpenRecording.open(files, RING, recording_id=RECORDING), files


def test_init_part_and_segments_one_after_the_other_are_the_file_of_a_run() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    recording, _ = opened(store)
    run = recording.tracks[0].runs[0]
    whole = b"init part" + 3 * b"fragments"
    assert b"".join(recording.read(run, start=0, end=run.size_bytes)) == whole
    for start in range(len(whole)):
        for end in range(start, len(whole) + 1):
            assert b"".join(recording.read(run, start=start, end=end)) == whole[start:end]


def test_only_the_chunks_that_hold_the_bytes_are_read() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING, seconds=50)
    recording, files = opened(store)
    files.chunks = 0
    run = recording.tracks[0].runs[0]
    second = run.segments[30]
    start = len(run.init_part) + second.start_byte
    assert b"".join(recording.read(run, start=start, end=start + second.size_bytes)) == b"fragments"
    assert files.chunks == 1
    assert b"".join(recording.read(run, start=0, end=len(run.init_part))) == b"init part"
    assert files.chunks == 1


def test_runs_of_one_participants_track_are_one_track_over_attempts() -> None:
    store = MemoryChunkStore()
    first = open_writer(store, RING)
    write_media(first, [(1, 0, make_video(1)), (2, 20_000, make_audio(1))])
    second = open_writer(store, RING, attempt=2, wall_start_us=WALL_START_US + 5_000_000)
    write_media(
        second, [(1, 100_000, make_audio(1)), (2, 0, make_video(1)), (3, 0, make_audio(1, identity="bob"))]
    )
    complete(store, RING, first.close(), second.close())
    recording, _ = opened(store)
    shown = [(track.number, track.kind, track.identity, len(track.runs)) for track in recording.tracks]
    assert shown == [(1, "video", "alice", 2), (2, "audio", "alice", 2), (3, "audio", "bob", 1)]
    video, audio = recording.tracks[0].runs, recording.tracks[1].runs
    assert [run.number for run in video] == [0, 1]
    assert [run.offset_us for run in video] == [0, 5_000_000]
    assert [run.offset_us for run in audio] == [20_000, 5_100_000]
    assert video[1].time_us(45_000) == 5_500_000
    assert video[0].indexed.time_base == Fraction(1, 90_000)


def test_what_is_read_plays() -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_media(writer, [(1, 0, make_video(2)), (2, 0, make_video(2, codec="vp8", identity="bob"))])
    complete(store, RING, writer.close())
    recording, _ = opened(store)
    for track in recording.tracks:
        run = track.runs[0]
        whole = b"".join(recording.read(run, start=0, end=run.size_bytes))
        with av.open(io.BytesIO(whole), "r") as container:
            assert len(list(container.decode(video=0))) == 60


def test_an_unfinished_recording_is_readable_up_to_its_last_checkpoint_and_grows() -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, tracks=[1], seconds=2)
    writer.checkpoint()
    put_second(writer, 1, 2)  # put, not acknowledged
    recording, _ = opened(store)
    run = recording.tracks[0].runs[0]
    assert (recording.manifest, len(run.segments), recording.media_start_us) == (None, 2, WALL_START_US)
    writer.checkpoint()
    recording.refresh()
    assert len(recording.tracks[0].runs[0].segments) == 3
    second = open_writer(store, RING, attempt=2, wall_start_us=WALL_START_US + 9_000_000)
    put_init(second, 1)
    second.checkpoint()
    recording.refresh()
    assert [run.offset_us for run in recording.tracks[0].runs] == [0, 9_000_000]
    complete(store, RING, writer.close(), second.close())
    recording.refresh()
    assert recording.manifest is not None
    assert [head.size for head in recording.heads] == [5, 2]


def test_a_close_before_what_its_recorder_still_stored_takes_that_away() -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, tracks=[1], seconds=2)
    writer.checkpoint()
    before = dict(store.recordings[RECORDING])
    put_second(writer, 1, 2)
    writer.checkpoint()
    recording, _ = opened(store)
    assert recording.leaves == 4
    close = recover_attempt(MemoryRecording(before), RING.public_key, recording_id=RECORDING, attempt=1)
    complete(store, RING, close)
    recording.refresh()
    assert recording.leaves == close.size == 3
    assert len(recording.tracks[0].runs[0].segments) == 2


def test_a_tampered_chunk_gives_no_byte_and_is_named() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    recording, files = opened(store)
    name = "1/chunk-0000000004"
    good = files.stored[name]
    run = recording.tracks[0].runs[0]
    for at in (6, HEADER_BYTES, len(good) - 1):
        files.stored[name] = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        given: list[bytes] = []
        with pytest.raises(IntegrityError, match=name):
            given.extend(recording.read(run, start=0, end=run.size_bytes))
        assert given == [b"init part", b"fragments"]  # what comes before it
    del files.stored[name]
    with pytest.raises(FileMissingError, match=name):
        list(recording.read(run, start=18, end=19))


def test_a_header_that_was_altered_before_opening_is_refused() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    stored = store.recordings[RECORDING]
    name = "1/chunk-0000000004"
    header = decode_header(stored[name])
    stored[name] = encode_header(replace(header, duration_pts=5_000)) + stored[name][HEADER_BYTES:]
    with pytest.raises(FormatError, match="coverage is not what the chunks' headers say"):
        opened(store)
    # what coverage does not show is seen at the chunk itself
    stored[name] = encode_header(replace(header, has_keyframe=True)) + stored[name][HEADER_BYTES:]
    recording, _ = opened(store)
    run = recording.tracks[0].runs[0]
    with pytest.raises(IntegrityError, match=name):
        recording.read_segment(run, run.segments[1])


def test_a_chunk_that_was_put_right_after_indexing_is_not_taken_for_the_indexed_one() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    stored = store.recordings[RECORDING]
    name = "1/chunk-0000000004"
    good = stored[name]
    header = decode_header(good)
    stored[name] = encode_header(replace(header, has_keyframe=True)) + good[HEADER_BYTES:]
    recording, _ = opened(store)
    stored[name] = good
    run = recording.tracks[0].runs[0]
    with pytest.raises(IntegrityError, match=f"{name}: its header is not the one that was indexed"):
        recording.read_segment(run, run.segments[1])


def test_a_bad_manifest_or_checkpoint_is_named() -> None:
    store = MemoryChunkStore()
    write_recording(store, RING)
    stored = store.recordings[RECORDING]
    stored["manifest"] = stored["manifest"][:-2] + b"\n\n"
    with pytest.raises(IntegrityError, match="manifest: "):
        opened(store)
    del stored["manifest"]
    checkpoint = next(name for name in stored if "checkpoint" in name)
    stored[checkpoint] = b"x"
    with pytest.raises(IntegrityError, match=checkpoint):
        opened(store)


def test_without_an_attempt_there_is_no_recording() -> None:
    with pytest.raises(NotARecordingError):
        OpenRecording.open(MemoryRecording({}), RING, recording_id=RECORDING)


def test_before_the_first_checkpoint_there_is_nothing_to_play() -> None:
    store = MemoryChunkStore()
    write_seconds(open_writer(store, RING))
    recording, _ = opened(store)
    assert (recording.tracks, recording.heads, PROLOGUE.kind) == ((), (), "video")
