"""The tracks of a real room: those that are there, that come, go, change, and come back after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from livekit import rtc

from recorder.adapters.decoded_tracks import DecodedRoom, DecodedTracks
from recorder.adapters.system_clock import SystemClock
from recorder.core.errors import PassthroughUnfitError
from recorder.core.units import AccessUnit
from recorder.ports import Picture, Sound, SourceTrack, SourceTrackId
from sdk.ports import Grant
from tests.integration.servers import SharedLiveKit
from tests.recorder.publishers import Room, make_room, until

pytestmark = [pytest.mark.integration, pytest.mark.media]


class Sink:
    """A `FrameSink` that remembers."""

    def __init__(self) -> None:
        self.tracks: dict[SourceTrackId, SourceTrack] = {}
        self.live: set[SourceTrackId] = set()
        self.pictures: list[tuple[SourceTrackId, Picture]] = []
        self.sounds: list[tuple[SourceTrackId, Sound]] = []

    def track_started(self, track: SourceTrack) -> None:
        self.tracks[track.track_id] = track
        self.live.add(track.track_id)

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        assert track_id in self.live
        self.pictures.append((track_id, picture))

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        assert track_id in self.live
        self.sounds.append((track_id, sound))

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        raise AssertionError("decoded tracks give no units")

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        raise AssertionError("decoded tracks know no RTP times")

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        raise AssertionError("decoded tracks know no packets")

    def opened(self, identity: str, *, is_opened: bool) -> None:
        raise AssertionError("nothing is encrypted")

    def track_ended(self, track_id: SourceTrackId) -> None:
        self.live.discard(track_id)


@asynccontextmanager
async def captured(room: Room) -> AsyncIterator[tuple[Sink, rtc.Room, asyncio.Task[None]]]:
    recorder, sink = rtc.Room(), Sink()
    await room.join(recorder, "recorder")
    task = asyncio.create_task(DecodedTracks(recorder, SystemClock()).capture(sink))
    try:
        yield sink, recorder, task
    finally:
        task.cancel()
        await asyncio.wait({task})
        await recorder.disconnect()


@pytest.fixture
async def room(livekit_server: SharedLiveKit) -> AsyncIterator[Room]:
    async with make_room(livekit_server) as made:
        yield made


async def test_tracks_that_are_there_and_that_come_are_captured_until_they_go(room: Room) -> None:
    async with room.publisher("alice") as alice:
        camera = await alice.publish_camera()
        async with captured(room) as (sink, _, capturing):
            await until(lambda: len(sink.pictures) >= 5)
            microphone = await alice.publish_microphone()
            await until(lambda: len(sink.sounds) >= 20)
            found = {
                track.track_id: (track.kind, track.identity, track.name) for track in sink.tracks.values()
            }
            assert found == {
                camera: ("video", "alice", "camera"),
                microphone: ("audio", "alice", "microphone"),
            }
            _, sound = sink.sounds[-1]
            assert (sound.samples, len(sound.data)) == (480, 480 * 4)
            await alice.room.local_participant.unpublish_track(camera)
            await until(lambda: sink.live == {microphone})
            capturing.cancel()
            await asyncio.wait({capturing})
            assert sink.live == set()


async def test_a_picture_says_when_it_came_and_is_shown_on_the_recorders_clock(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, _, _):
        await alice.publish_camera()
        await until(lambda: len(sink.pictures) >= 10)
        for _, picture in sink.pictures[3:]:
            assert picture.shown_us is not None
            assert abs(picture.shown_us - picture.arrival_us) < 300_000
            assert len(picture.data) == picture.width * picture.height * 3 // 2


async def test_a_camera_that_changes_its_size_stays_one_track(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, _, _):
        await alice.publish_camera()
        await until(lambda: len(sink.pictures) >= 5)
        alice.width = 320
        await until(lambda: sink.pictures[-1][1].width == 320)
        assert len(sink.tracks) == 1


async def test_another_recorder_is_not_captured(room: Room) -> None:
    async with (
        room.publisher("recorder#9", service="recorder") as other,
        room.publisher("alice") as alice,
        captured(room) as (sink, _, _),
    ):
        await other.publish_microphone()
        await alice.publish_microphone()
        await until(lambda: len(sink.sounds) >= 5)
        assert {track.identity for track in sink.tracks.values()} == {"alice"}


async def test_chosen_tracks_alone_are_received(room: Room) -> None:
    async with room.publisher("alice") as alice:
        first = await alice.publish_microphone()
        recorder, sink = rtc.Room(), Sink()
        await recorder.connect(
            room.server.url, room.token("recorder", {}), rtc.RoomOptions(auto_subscribe=False)
        )
        source = DecodedTracks(recorder, SystemClock(), chosen=frozenset({SourceTrackId(first)}))
        task = asyncio.create_task(source.capture(sink))
        await until(lambda: len(sink.sounds) >= 5)
        second = await alice.publish_camera()
        source.choose(frozenset({SourceTrackId(second)}))
        await until(lambda: len(sink.pictures) >= 5 and sink.live == {second})
        task.cancel()
        await asyncio.wait({task})
        await recorder.disconnect()


async def test_who_has_no_token_for_a_second_connection_cannot_take_chosen_tracks() -> None:
    async def grant() -> Grant:
        return Grant(livekit_url="ws://127.0.0.1:1", access_token="one")

    source = DecodedRoom(grant, SystemClock())
    source.choose(frozenset({SourceTrackId("TR_1")}))
    with pytest.raises(PassthroughUnfitError, match="second connection"):
        await source.capture(Sink())


async def test_a_lost_room_ends_its_tracks_and_they_begin_again_when_it_is_joined_again(room: Room) -> None:
    async with captured(room) as (sink, recorder, _):
        async with room.publisher("alice") as alice:
            await alice.publish_microphone()
            await until(lambda: len(sink.sounds) >= 5)
            await recorder.disconnect()
            await until(lambda: not sink.live)
        # another one: LiveKit's SDK cannot join twice with a room object that still knows a participant
        async with room.publisher("bob") as bob:
            await bob.publish_microphone()
            await room.join(recorder, "recorder")
            await until(lambda: bool(sink.live))
            assert [sink.tracks[track_id].identity for track_id in sink.live] == ["bob"]
            count = len(sink.sounds)
            await until(lambda: len(sink.sounds) >= count + 5)
