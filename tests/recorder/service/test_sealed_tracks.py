"""Whose encrypted media opens and whose does not, by what the SDK says and by the packets that come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from recorder.ports import SourceTrackId
from recorder.service.captured_tracks import CapturedTracks
from recorder.service.sealed_tracks import PACKETS, SealedTracks
from recorder.service.track_capture import CaptureSetup
from tests.fakes.encoders import FakeEncoders
from tests.fakes.media_clock import FakeMediaClock

CAMERA, MICROPHONE = SourceTrackId("TR_camera"), SourceTrackId("TR_microphone")


def tracks_of_a_recording() -> CapturedTracks:
    return CapturedTracks(
        CaptureSetup(
            epoch_us=0,
            keyframe_interval_s=4,
            encoders=FakeEncoders(),
            clock=FakeMediaClock(),
            submit=lambda *_: None,
            offer=lambda *_: True,
        )
    )


def came(count: int) -> Callable[[], Awaitable[int]]:
    async def packets() -> int:
        return count

    return packets


def unopened(tracks: CapturedTracks) -> float:
    return tracks.stats()["participants_unopened"]


async def test_of_whom_packets_come_and_nothing_opens_it_is_said() -> None:
    tracks = tracks_of_a_recording()
    sealed = SealedTracks(tracks)
    sealed.begin(CAMERA, "alice", came(PACKETS))
    sealed.begin(MICROPHONE, "alice", came(PACKETS))
    await sealed.look()
    assert unopened(tracks) == 1  # of participants, not of tracks
    assert tracks.locked_out.startswith("e2ee_key_wrong: ")
    assert "1 participants" in tracks.locked_out
    assert "alice" not in tracks.locked_out


async def test_who_is_silent_is_not_locked_out() -> None:
    tracks = tracks_of_a_recording()
    sealed = SealedTracks(tracks)
    sealed.begin(MICROPHONE, "alice", came(PACKETS - 1))
    await sealed.look()
    assert (unopened(tracks), tracks.locked_out) == (0, "")


async def test_whose_media_opens_is_not_looked_at() -> None:
    tracks = tracks_of_a_recording()
    sealed = SealedTracks(tracks)
    sealed.begin(CAMERA, "alice", came(PACKETS))
    sealed.told("alice", is_opened=True)
    await sealed.look()
    assert (unopened(tracks), tracks.locked_out) == (0, "")


async def test_one_that_opens_late_counts_as_opened() -> None:
    tracks = tracks_of_a_recording()
    sealed = SealedTracks(tracks)
    sealed.begin(CAMERA, "alice", came(PACKETS))
    await sealed.look()
    sealed.told("alice", is_opened=True)
    assert (unopened(tracks), tracks.locked_out) == (0, "")


async def test_one_that_opens_while_packets_are_counted_is_not_accused() -> None:
    tracks = tracks_of_a_recording()
    sealed = SealedTracks(tracks)

    async def counted_slowly() -> int:
        sealed.told("alice", is_opened=True)
        return PACKETS

    sealed.begin(CAMERA, "alice", counted_slowly)
    await sealed.look()
    assert (unopened(tracks), tracks.locked_out) == (0, "")


async def test_with_another_key_than_the_others_one_is_counted_and_the_recording_is_good() -> None:
    tracks = tracks_of_a_recording()
    sealed = SealedTracks(tracks)
    sealed.begin(CAMERA, "alice", came(PACKETS))
    sealed.begin(MICROPHONE, "bob", came(PACKETS))
    sealed.told("alice", is_opened=True)
    await sealed.look()
    assert (unopened(tracks), tracks.locked_out) == (1, "")


async def test_a_track_that_ended_says_nothing_more() -> None:
    tracks = tracks_of_a_recording()
    sealed = SealedTracks(tracks)
    sealed.begin(CAMERA, "alice", came(PACKETS))
    sealed.end(CAMERA)
    sealed.end(MICROPHONE)
    await sealed.look()
    assert unopened(tracks) == 0


async def test_a_key_that_stops_to_open_is_counted_from_then_on() -> None:
    tracks = tracks_of_a_recording()
    sealed = SealedTracks(tracks)
    sealed.begin(CAMERA, "alice", came(PACKETS))
    sealed.told("alice", is_opened=True)
    sealed.told("alice", is_opened=False)
    assert (unopened(tracks), tracks.locked_out) == (1, "")


async def test_it_looks_until_it_is_cancelled() -> None:
    looking = asyncio.create_task(SealedTracks(tracks_of_a_recording()).watch())
    await asyncio.sleep(0)
    assert not looking.done()
    looking.cancel()
    await asyncio.wait({looking})
    assert looking.cancelled()
