"""Which published track becomes which stored track."""

from __future__ import annotations

import threading

from recorder.core.chunking import Chunk, InitChunk, MediaChunk
from recorder.core.units import AccessUnit, CodecSetup
from recorder.ports import Picture, SourceTrack, SourceTrackId
from recorder.service.captured_tracks import CapturedTracks
from recorder.service.track_capture import CaptureSetup
from tests.fakes.encoders import FakeEncoders
from tests.fakes.media_clock import FakeMediaClock


def make(taken: threading.Event | None = None) -> tuple[CapturedTracks, list[Chunk], FakeMediaClock]:
    """Make tracks; with ``taken``, chunks of threads wait for it."""
    chunks: list[Chunk] = []
    clock = FakeMediaClock()

    def submit(chunk: Chunk) -> None:
        assert taken is None or taken.wait(30)
        chunks.append(chunk)

    def offer(chunk: Chunk) -> bool:
        chunks.append(chunk)
        return True

    setup = CaptureSetup(
        epoch_us=clock.us,
        keyframe_interval_s=4.0,
        encoders=FakeEncoders(),
        clock=clock,
        submit=submit,
        offer=offer,
    )
    return CapturedTracks(setup), chunks, clock


def camera(track_id: str, identity: str = "alice") -> SourceTrack:
    return SourceTrack(track_id=SourceTrackId(track_id), kind="video", identity=identity, name="camera")


def show(tracks: CapturedTracks, clock: FakeMediaClock, track_id: str) -> None:
    clock.advance(0.1)
    picture = Picture(arrival_us=clock.us, shown_us=None, width=64, height=48, data=b"")
    tracks.picture(SourceTrackId(track_id), picture)


def finish(tracks: CapturedTracks) -> None:
    tracks.end()
    tracks.join()


def test_a_republished_track_goes_on_as_a_new_run_of_the_same_number() -> None:
    tracks, chunks, clock = make()
    tracks.track_started(camera("TR_1"))
    show(tracks, clock, "TR_1")
    tracks.track_ended(SourceTrackId("TR_1"))
    tracks.track_ended(SourceTrackId("TR_1"))
    tracks.track_started(camera("TR_2"))
    show(tracks, clock, "TR_2")
    finish(tracks)
    assert [chunk.track for chunk in chunks if isinstance(chunk, InitChunk)] == [1, 1]
    assert tracks.stats()["tracks"] == 1
    assert tracks.stats()["video_frames"] == 2


def test_other_participants_and_twins_that_live_at_once_are_other_tracks() -> None:
    tracks, chunks, clock = make()
    for track in (camera("TR_1"), camera("TR_2"), camera("TR_3", "bob")):
        tracks.track_started(track)
        show(tracks, clock, track.track_id)
    finish(tracks)
    found = {chunk.track: chunk.identity for chunk in chunks if isinstance(chunk, InitChunk)}
    assert found == {1: "alice", 2: "alice", 3: "bob"}


def test_nothing_is_taken_after_the_end_or_of_an_unknown_track() -> None:
    tracks, chunks, clock = make()
    tracks.track_started(camera("TR_1"))
    show(tracks, clock, "TR_9")
    finish(tracks)
    tracks.track_started(camera("TR_2"))
    show(tracks, clock, "TR_2")
    assert chunks == []
    assert tracks.stats()["video_frames"] == 0


def test_ending_never_waits_for_the_encoder() -> None:
    taken = threading.Event()
    tracks, chunks, clock = make(taken)
    tracks.track_started(camera("TR_1"))
    show(tracks, clock, "TR_1")
    tracks.end()
    assert chunks == []  # its thread still hands over the first one
    taken.set()
    tracks.join()
    assert chunks


def test_nothing_of_a_pause_is_taken_and_the_track_goes_on_as_a_new_run() -> None:
    tracks, chunks, clock = make()
    tracks.track_started(camera("TR_1"))
    show(tracks, clock, "TR_1")
    tracks.pause()
    for _ in range(5):
        show(tracks, clock, "TR_1")
    tracks.resume()
    show(tracks, clock, "TR_1")
    finish(tracks)
    assert [chunk.track for chunk in chunks if isinstance(chunk, InitChunk)] == [1, 1]
    assert tracks.stats()["video_frames"] == 2
    assert tracks.stats()["video_dropped"] == 0


def test_who_comes_and_goes_during_a_pause() -> None:
    tracks, chunks, clock = make()
    tracks.track_started(camera("TR_1"))
    tracks.pause()
    tracks.track_started(camera("TR_2", "bob"))
    tracks.track_ended(SourceTrackId("TR_1"))
    show(tracks, clock, "TR_2")
    tracks.resume()
    for track_id in ("TR_1", "TR_2"):
        show(tracks, clock, track_id)
    finish(tracks)
    assert [(chunk.track, chunk.identity) for chunk in chunks if isinstance(chunk, InitChunk)] == [(2, "bob")]


def test_an_encoded_track_keeps_its_place_in_time_over_a_pause() -> None:
    tracks, chunks, clock = make()
    began_us = clock.us
    microphone = SourceTrack(
        track_id=SourceTrackId("TR_1"), kind="audio", identity="alice", name="mic", is_encoded=True
    )
    tracks.track_started(microphone)
    for number in range(100):  # 2 s of sound; the second half second of it is paused
        clock.us = began_us + 20_000 * number
        if number in (25, 50):
            (tracks.pause if number == 25 else tracks.resume)()
        unit = AccessUnit(
            rtp_time=960 * number,
            arrival_us=clock.us,
            data=b"x",
            is_keyframe=True,
            duration=960,
            setup=CodecSetup(codec="opus", channels=2),
        )
        tracks.unit(microphone.track_id, unit)
    finish(tracks)
    runs = [chunk for chunk in chunks if isinstance(chunk, InitChunk)]
    assert [run.offset_us for run in runs] == [0, 1_000_000]
    media = [chunk.fragment for chunk in chunks if isinstance(chunk, MediaChunk)]
    assert sum(fragment.packets for fragment in media) == 75


def test_what_was_sent_during_a_pause_and_comes_after_it_is_left_out() -> None:
    tracks, chunks, clock = make()
    tracks.track_started(camera("TR_1"))
    tracks.pause()
    clock.advance(2.0)
    tracks.resume()
    resumed_us = clock.us
    clock.advance(0.5)
    for sent_us in (-1_500_000, -100_000, 100_000, -50_000):  # the last one only looks late: it came in order
        shown_us = resumed_us + sent_us
        picture = Picture(arrival_us=clock.us, shown_us=shown_us, width=64, height=48, data=b"")
        tracks.picture(SourceTrackId("TR_1"), picture)
        clock.advance(0.01)
    finish(tracks)
    assert tracks.stats()["video_frames"] == 2
    assert len([chunk for chunk in chunks if isinstance(chunk, InitChunk)]) == 1


def test_encoded_sound_that_was_late_on_its_way_is_left_out_by_its_own_time() -> None:
    tracks, chunks, clock = make()
    began_us = clock.us
    microphone = SourceTrack(
        track_id=SourceTrackId("TR_1"), kind="audio", identity="alice", name="mic", is_encoded=True
    )
    tracks.track_started(microphone)
    for number in range(100):
        sent_us = began_us + 20_000 * number
        late_us = 300_000 if number >= 40 else 0  # from the pause on the network is slow
        clock.us = sent_us + late_us
        if number == 25:
            tracks.pause()
        if number == 50:
            tracks.resume()  # at 1.3 s: numbers up to 64 were sent before
        unit = AccessUnit(
            rtp_time=960 * number,
            arrival_us=clock.us,
            data=b"x",
            is_keyframe=True,
            duration=960,
            setup=CodecSetup(codec="opus", channels=2),
        )
        tracks.unit(microphone.track_id, unit)
    finish(tracks)
    runs = [chunk for chunk in chunks if isinstance(chunk, InitChunk)]
    assert [run.offset_us for run in runs] == [0, 1_300_000]


def test_a_keyframe_that_was_drawn_in_a_pause_and_comes_after_it_is_asked_for_again() -> None:
    tracks, chunks, clock = make()
    began_us = clock.us
    film = SourceTrack(
        track_id=SourceTrackId("TR_1"), kind="video", identity="alice", name="camera", is_encoded=True
    )
    tracks.track_started(film)

    def draw(number: int, *, late_us: int = 0, is_keyframe: bool = False) -> None:
        clock.us = began_us + 40_000 * number + late_us
        unit = AccessUnit(
            rtp_time=3_600 * number,
            arrival_us=clock.us,
            data=b"x",
            is_keyframe=is_keyframe,
            duration=0,
            setup=CodecSetup(codec="vp8", width=64, height=48),
        )
        tracks.unit(film.track_id, unit)

    for number in range(25):
        draw(number, is_keyframe=number == 0)
    tracks.pause()
    for number in range(25, 50):
        draw(number, is_keyframe=number == 30)
    assert not tracks.tick()  # nothing is wanted during a pause
    clock.us = began_us + 40_000 * 50 + 10_000
    tracks.resume()
    draw(50, late_us=20_000, is_keyframe=True)  # its encoder was asked after the resume, and was behind
    draw(51)
    assert tracks.tick()
    assert not tracks.tick()  # once
    draw(55, is_keyframe=True)
    assert not tracks.tick()
    finish(tracks)
    runs = [chunk for chunk in chunks if isinstance(chunk, InitChunk)]
    assert [run.offset_us for run in runs] == [0, 2_200_000]
