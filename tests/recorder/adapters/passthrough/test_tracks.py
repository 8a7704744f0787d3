"""Encoded tracks of a real room: codecs, a lost connection, ends, and what is not taken."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from livekit import api, rtc

from recorder.adapters.passthrough.tracks import PassthroughTracks
from recorder.adapters.passthrough.transport import MediaTransport
from recorder.adapters.system_clock import SystemClock
from recorder.core.errors import PassthroughUnfitError, RemovedFromRoomError
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
        self.units: dict[SourceTrackId, list[AccessUnit]] = {}
        self.reports: Counter[SourceTrackId] = Counter()
        self.lost_packets = 0

    def track_started(self, track: SourceTrack) -> None:
        self.tracks[track.track_id] = track
        self.live.add(track.track_id)
        self.units[track.track_id] = []

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        raise AssertionError("nothing is decoded")

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        raise AssertionError("nothing is decoded")

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        assert track_id in self.live
        self.units[track_id].append(unit)

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        self.reports[track_id] += 1

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        self.lost_packets += packets

    def opened(self, identity: str, *, is_opened: bool) -> None:
        raise AssertionError("nothing is encrypted")

    def track_ended(self, track_id: SourceTrackId) -> None:
        self.live.discard(track_id)

    def of(self, track_id: str) -> list[AccessUnit]:
        return self.units.get(SourceTrackId(track_id), [])


@asynccontextmanager
async def captured(
    room: Room, on_left: Callable[[Mapping[SourceTrackId, str]], None] = lambda _: None
) -> AsyncIterator[tuple[Sink, asyncio.Task[None]]]:
    sink = Sink()

    async def grant() -> Grant:
        token = room.token("recorder", {})
        return Grant(livekit_url=room.server.url, access_token=token)

    source = PassthroughTracks(grant, SystemClock(), keyframe_interval_s=1.0)
    source.on_left = on_left
    task = asyncio.create_task(source.capture(sink))
    try:
        yield sink, task
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
async def room(livekit_server: SharedLiveKit) -> AsyncIterator[Room]:
    async with make_room(livekit_server) as made:
        yield made


@pytest.mark.parametrize(
    ("codec", "name"), [(rtc.VideoCodec.VP8, "vp8"), (rtc.VideoCodec.H264, "h264")], ids=["vp8", "h264"]
)
async def test_tracks_that_are_there_and_that_come_are_captured_until_they_go(
    room: Room, codec: rtc.VideoCodec.ValueType, name: str
) -> None:
    async with room.publisher("alice") as alice:
        camera = await alice.publish_camera(codec)
        async with captured(room) as (sink, capturing):
            await until(lambda: len(sink.of(camera)) >= 10)
            microphone = await alice.publish_microphone()
            await until(lambda: len(sink.of(microphone)) >= 20)
            found = {one.track_id: (one.kind, one.identity, one.name) for one in sink.tracks.values()}
            assert found == {
                camera: ("video", "alice", "camera"),
                microphone: ("audio", "alice", "microphone"),
            }
            first = sink.of(camera)[0]
            assert (first.setup.codec, first.setup.width, first.is_keyframe) == (name, 160, True)
            steps = [
                later.rtp_time - unit.rtp_time
                for unit, later in zip(sink.of(camera), sink.of(camera)[1:], strict=False)
            ]
            assert min(steps) > 0
            assert {unit.duration for unit in sink.of(microphone)} == {960}
            await until(lambda: sum(unit.is_keyframe for unit in sink.of(camera)) >= 2)  # one was asked for
            await alice.room.local_participant.unpublish_track(camera)
            await until(lambda: sink.live == {microphone})
            capturing.cancel()
            await asyncio.wait({capturing})
            assert sink.live == set()


async def test_another_size_comes_with_its_keyframe(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, _):
        camera = await alice.publish_camera()
        await until(lambda: len(sink.of(camera)) >= 5)
        alice.width = 320
        await until(lambda: sink.of(camera)[-1].setup.width == 320)
        at = next(place for place, unit in enumerate(sink.of(camera)) if unit.setup.width == 320)
        assert sink.of(camera)[at].is_keyframe
        assert len(sink.tracks) == 1


async def test_a_deleted_room_ends_the_capture(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, capturing):
        microphone = await alice.publish_microphone()
        await until(lambda: len(sink.of(microphone)) >= 5)
        async with rooms_of(room) as rooms:
            await rooms.room.delete_room(api.DeleteRoomRequest(room=room.name))
        await until(capturing.done)
        assert capturing.exception() is None
        assert not sink.live


async def test_who_is_removed_does_not_come_back(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, capturing):
        microphone = await alice.publish_microphone()
        await until(lambda: len(sink.of(microphone)) >= 5)
        async with rooms_of(room) as rooms:
            await rooms.room.remove_participant(
                api.RoomParticipantIdentity(room=room.name, identity="recorder")
            )
        await until(capturing.done)
        assert isinstance(capturing.exception(), RemovedFromRoomError)


async def test_a_lost_connection_is_made_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MediaTransport] = []
    plain = MediaTransport.connect

    async def connect(self: MediaTransport, offer: object) -> None:
        made.append(self)
        await plain(self, offer)  # type: ignore[arg-type]

    monkeypatch.setattr(MediaTransport, "connect", connect)
    async with room.publisher("alice") as alice, captured(room) as (sink, _):
        microphone = await alice.publish_microphone()
        await until(lambda: len(sink.of(microphone)) >= 5)
        await made[0]._ice.stop()
        await until(lambda: len(made) == 2 and len(sink.of(microphone)) >= 5)


async def test_another_recorder_is_not_captured(room: Room) -> None:
    async with (
        room.publisher("recorder#9", service="recorder") as other,
        room.publisher("alice") as alice,
        captured(room) as (sink, _),
    ):
        await other.publish_microphone()
        microphone = await alice.publish_microphone()
        await until(lambda: len(sink.of(microphone)) >= 5)
        assert {track.identity for track in sink.tracks.values()} == {"alice"}


async def test_a_codec_that_is_not_taken_is_left_out_and_said(room: Room) -> None:
    left: list[Mapping[SourceTrackId, str]] = []
    async with room.publisher("alice") as alice, captured(room, left.append) as (sink, _):
        camera = await alice.publish_camera(rtc.VideoCodec.VP9)
        microphone = await alice.publish_microphone()
        await until(lambda: len(sink.of(microphone)) >= 20)
        assert left == [{camera: "comes as video/VP9"}]
        assert set(sink.tracks) == {microphone}
        await alice.room.local_participant.unpublish_track(camera)
        await until(lambda: left[-1] == {})


async def test_no_udp_is_said(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.adapters.passthrough.transport.CONNECT_S", 1.0)

    async def no_candidates(self: MediaTransport, line: str) -> None:
        return

    monkeypatch.setattr(MediaTransport, "add_candidate", no_candidates)
    async with room.publisher("alice") as alice, captured(room) as (_, capturing):
        await alice.publish_microphone()
        await until(capturing.done)
        error = capturing.exception()
        assert isinstance(error, PassthroughUnfitError)
        assert "UDP" in str(error)


def rooms_of(room: Room) -> api.LiveKitAPI:
    return api.LiveKitAPI(
        room.server.url.replace("ws", "http", 1), room.server.api_key, room.server.api_secret
    )
