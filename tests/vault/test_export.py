"""Export: one file that decodes, with sound and picture in time, or a refusal that leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from tests.fakes.media import Track, make_audio, make_video
from tests.fakes.recordings import (
    RECORDING,
    WALL_START_US,
    complete,
    make_key_ring,
    open_writer,
    put_init,
    write_media,
)
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.errors import ExportError, IntegrityError, NotARecordingError, WrongKeyError
from vault.export import export_recording
from vault.recovery import recover_attempt

RING = make_key_ring()


@pytest.fixture(scope="module")
def video() -> Track:
    return make_video(3)


@pytest.fixture(scope="module")
def audio() -> Track:
    return make_audio(3)


@pytest.fixture
def store(tmp_path: Path) -> DirChunkStore:
    return DirChunkStore(tmp_path / "recordings")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recordings" / RECORDING


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Where the export goes; no temporary file may be left beside it."""
    (tmp_path / "out").mkdir()
    yield tmp_path / "out" / "session.mp4"
    assert set(os.listdir(tmp_path / "out")) <= {"session.mp4", "session.webm", "session.mkv"}


def decode(path: Path) -> list[tuple[str, list[float]]]:
    """The times of all decoded frames in seconds, stream by stream."""
    found: list[tuple[str, list[float]]] = []
    with av.open(str(path)) as container:
        count = len(container.streams)
    for index in range(count):
        with av.open(str(path)) as container:
            stream = container.streams[index]
            frames: list[Any] = list(container.decode(stream))
            found.append((stream.type, [frame.time for frame in frames]))
    return found


def write_complete(store: DirChunkStore, *tracks: tuple[int, int, Track]) -> None:
    writer = open_writer(store, RING)
    write_media(writer, tracks)
    complete(store, RING, writer.close())


def test_a_complete_recording_becomes_one_playable_file(
    store: DirChunkStore, folder: Path, out: Path, video: Track, audio: Track
) -> None:
    write_complete(store, (1, 0, video), (2, 500_000, audio))
    report = export_recording(folder, RING, out)
    assert (report.path, report.streams, report.is_complete) == (out, ("h264", "opus"), True)
    assert (report.video_frames, report.dropped_packets) == (90, 0)
    assert report.audio_s == pytest.approx(3.0, abs=0.03)
    assert report.duration_s == pytest.approx(3.5, abs=0.03)
    (video_type, video_times), (audio_type, audio_times) = decode(out)
    assert (video_type, len(video_times)) == ("video", 90)
    assert video_times[0] == 0
    assert video_times == sorted(video_times)
    assert audio_type == "audio"
    assert audio_times[0] == pytest.approx(0.5, abs=0.02)
    assert audio_times[-1] == pytest.approx(3.5, abs=0.05)


def test_sound_can_be_had_as_aac(
    store: DirChunkStore, folder: Path, out: Path, video: Track, audio: Track
) -> None:
    write_complete(store, (1, 0, video), (2, 500_000, audio))
    report = export_recording(folder, RING, out, audio="aac")
    assert (report.streams, report.video_frames) == (("h264", "aac"), 90)
    (_, video_times), (_, audio_times) = decode(out)
    assert (len(video_times), video_times[0]) == (90, 0)
    assert audio_times[0] == pytest.approx(0.5, abs=0.03)
    assert audio_times[-1] == pytest.approx(3.5, abs=0.05)


def test_a_browser_can_begin_before_it_has_the_whole_file(
    store: DirChunkStore, folder: Path, out: Path, video: Track
) -> None:
    write_complete(store, (1, 0, video))
    export_recording(folder, RING, out)
    data = out.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_a_killed_recording_gives_all_that_was_put(
    store: DirChunkStore, folder: Path, out: Path, video: Track, audio: Track
) -> None:
    writer = open_writer(store, RING)
    write_media(writer, [(2, 0, audio)])
    writer.checkpoint()
    write_media(writer, [(1, 0, video)])
    report = export_recording(folder, RING, out)
    assert (report.is_complete, report.video_frames) == (False, 90)
    assert len(decode(out)[0][1]) == 90


def test_a_refined_offset_moves_the_run(
    store: DirChunkStore, folder: Path, out: Path, video: Track, audio: Track
) -> None:
    writer = open_writer(store, RING)
    write_media(writer, [(1, 0, video)])
    writer.put(writer.seal_init(2, audio.prologue, audio.init_part, time_base=audio.time_base, offset_us=0))
    for number, fragment in enumerate(audio.fragments):
        sealed = writer.seal(
            2,
            fragment.data,
            first_pts=fragment.first_pts,
            duration_pts=fragment.duration_pts,
            has_keyframe=True,
            offset_us=200_000 if number == 2 else None,
        )
        writer.put(sealed)
    export_recording(folder, RING, out)
    assert decode(out)[1][1][0] == pytest.approx(0.2, abs=0.02)


def test_a_takeover_goes_on_in_the_same_stream(
    store: DirChunkStore, folder: Path, out: Path, video: Track, audio: Track
) -> None:
    write_media(open_writer(store, RING), [(1, 0, video), (2, 0, audio)])
    second = open_writer(store, RING, attempt=2, wall_start_us=WALL_START_US + 5_000_000)
    write_media(second, [(8, 0, audio), (9, 100_000, video)])
    close = recover_attempt(store.files(RECORDING), RING.public_key, recording_id=RECORDING, attempt=1)
    complete(store, RING, close, second.close())
    report = export_recording(folder, RING, out)
    assert report.streams == ("h264", "opus")
    video_times, audio_times = decode(out)[0][1], decode(out)[1][1]
    assert len(video_times) == 180
    assert video_times[90] == pytest.approx(5.1, abs=0.001)
    assert any(time == pytest.approx(5.0, abs=0.03) for time in audio_times)
    assert report.duration_s == pytest.approx(8.1, abs=0.05)


def test_another_size_is_a_further_stream_and_another_person_too(
    store: DirChunkStore, folder: Path, out: Path, video: Track
) -> None:
    small, bob = make_video(1, size=(80, 46)), make_video(1, identity="bob")
    write_complete(store, (1, 0, video), (1, 3_000_000, small), (2, 1_000_000, bob))
    report = export_recording(folder, RING, out)
    assert report.streams == ("h264", "h264", "h264")
    assert [(len(times), times[0]) for _, times in decode(out)] == [
        (90, 0.0),
        (30, pytest.approx(1.0, abs=0.001)),
        (30, pytest.approx(3.0, abs=0.001)),
    ]


def test_where_runs_overlap_the_later_one_is_whole(
    store: DirChunkStore, folder: Path, out: Path, video: Track
) -> None:
    write_complete(store, (1, 0, video), (1, 2_500_000, video))
    report = export_recording(folder, RING, out)
    assert (report.video_frames, report.dropped_packets) == (75 + 90, 15)
    times = decode(out)[0][1]
    assert len(times) == 165
    assert times[75] == pytest.approx(2.5, abs=0.001)


def test_vp8_becomes_webm(store: DirChunkStore, folder: Path, out: Path, audio: Track) -> None:
    write_complete(store, (1, 0, make_video(2, codec="vp8")), (2, 300_000, audio))
    with pytest.raises(
        ExportError, match=r"hold this recording's opus, vp8: choose a name ending in \.webm or \.mkv"
    ):
        export_recording(folder, RING, out)
    report = export_recording(folder, RING, out.with_suffix(".webm"))
    assert report.streams == ("vp8", "opus")
    (_, video_times), (_, audio_times) = decode(out.with_suffix(".webm"))
    assert (len(video_times), video_times[0]) == (60, 0)
    assert audio_times[0] == pytest.approx(0.3, abs=0.02)


def test_h264_and_vp8_together_are_matroska_alone(
    store: DirChunkStore, folder: Path, out: Path, video: Track
) -> None:
    write_complete(store, (1, 0, make_video(1, codec="vp8")), (2, 0, video))
    with pytest.raises(ExportError, match=r"hold this recording's h264, vp8: choose a name ending in \.mkv"):
        export_recording(folder, RING, out)
    export_recording(folder, RING, out.with_suffix(".mkv"))
    assert [len(times) for _, times in decode(out.with_suffix(".mkv"))] == [30, 90]


def test_the_name_of_the_file_chooses_among_the_containers(
    store: DirChunkStore, folder: Path, out: Path, video: Track, audio: Track
) -> None:
    write_complete(store, (1, 0, video), (2, 300_000, audio))
    for suffix, names in ((".mp4", "mov,mp4"), (".mkv", "matroska")):
        export_recording(folder, RING, out.with_suffix(suffix))
        with av.open(str(out.with_suffix(suffix)), "r") as made:
            assert made.format.name.startswith(names)
        (_, video_times), (_, audio_times) = decode(out.with_suffix(suffix))
        assert len(video_times) == 90
        assert audio_times[0] == pytest.approx(0.3, abs=0.02)


def test_a_wrong_key_is_refused_and_nothing_is_written_or_deleted(
    store: DirChunkStore, folder: Path, out: Path, video: Track
) -> None:
    write_complete(store, (1, 0, video))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    other = make_key_ring(2)
    with_our_public_key = KeyFiles(
        other._directory, keks=other._keks, signing_key=None, public_key=RING.public_key
    )
    with pytest.raises(WrongKeyError):
        export_recording(folder, with_our_public_key, out)
    with pytest.raises(IntegrityError, match="another key"):
        export_recording(folder, other, out)
    assert not out.exists()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_bad_recording_is_refused_and_its_first_bad_file_named(
    store: DirChunkStore, folder: Path, out: Path, video: Track
) -> None:
    write_complete(store, (1, 0, video))
    path = folder / "1" / "chunk-0000000003"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="1/chunk-0000000003"):
        export_recording(folder, RING, out)
    assert not out.exists()


def test_media_that_cannot_be_read_is_refused_and_leaves_nothing(
    store: DirChunkStore, folder: Path, out: Path
) -> None:
    writer = open_writer(store, RING)
    put_init(writer, 1)
    writer.put(writer.seal(1, b"no media", first_pts=0, duration_pts=1, has_keyframe=True))
    with pytest.raises(ExportError, match="the media cannot be remuxed"):
        export_recording(folder, RING, out)
    assert not out.exists()


def test_a_target_that_cannot_be_made_is_named(
    store: DirChunkStore, folder: Path, out: Path, video: Track
) -> None:
    write_complete(store, (1, 0, video))
    out.write_bytes(b"mine")
    with pytest.raises(ExportError, match="exists already"):
        export_recording(folder, RING, out)
    assert out.read_bytes() == b"mine"
    with pytest.raises(ExportError, match="is not a folder"):
        export_recording(folder, RING, out.parent / "nowhere" / "session.mp4")
    with pytest.raises(ExportError, match="inside the recording"):
        export_recording(folder, RING, folder / "session.mp4")
    with pytest.raises(ExportError, match=r"ending in \.mp4"):
        export_recording(folder, RING, out.with_suffix(".mov"))


def test_without_media_there_is_nothing_to_export(store: DirChunkStore, folder: Path, out: Path) -> None:
    with pytest.raises(NotARecordingError):
        export_recording(folder, RING, out)
    put_init(open_writer(store, RING), 1)
    with pytest.raises(ExportError, match="holds no media"):
        export_recording(folder, RING, out)


def test_progress_rises_to_its_end(store: DirChunkStore, folder: Path, out: Path, video: Track) -> None:
    write_complete(store, (1, 0, video))
    steps: list[tuple[int, int]] = []
    export_recording(folder, RING, out, on_progress=lambda done, total: steps.append((done, total)))
    assert len({total for _, total in steps}) == 1
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
