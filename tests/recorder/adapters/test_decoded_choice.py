"""What a decoded source subscribes to, and what it tells beside the media, in a real room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from livekit import rtc

from recorder.adapters.decoded_tracks import EVERY_KIND, SOUND_ALONE, DecodedTracks
from recorder.adapters.system_clock import SystemClock
from recorder.core.chunking import TrackKind
from recorder.ports import SourceTrackId
from tests.integration.servers import SharedLiveKit
from tests.recorder.adapters.test_decoded_tracks import Sink
from tests.recorder.publishers import Room, make_room, until

pytestmark = [pytest.mark.integration, pytest.mark.media]


class Heard:
    """A `RoomListener` that remembers."""

    def __init__(self) -> None:
        self.muted_tracks: dict[SourceTrackId, bool] = {}
        self.speakers: list[str] = []

    def muted(self, track_id: SourceTrackId, *, is_muted: bool) -> None:
        self.muted_tracks[track_id] = is_muted

    def speaking(self, identities: Sequence[str]) -> None:
        self.speakers = list(identities)


@asynccontextmanager
async def captured(
    room: Room, *, kinds: frozenset[TrackKind], listener: Heard, identity: str = "recorder"
) -> AsyncIterator[tuple[Sink, rtc.Room]]:
    recorder, sink = rtc.Room(), Sink()
    options = rtc.RoomOptions(auto_subscribe=kinds == EVERY_KIND)
    await recorder.connect(room.server.url, room.token(identity, {}), options)
    tracks = DecodedTracks(recorder, SystemClock(), kinds=kinds, listener=listener)
    task = asyncio.create_task(tracks.capture(sink))
    try:
        yield sink, recorder
    finally:
        task.cancel()
        await asyncio.wait({task})
        await recorder.disconnect()


@pytest.fixture
async def room(livekit_server: SharedLiveKit) -> AsyncIterator[Room]:
    async with make_room(livekit_server) as made:
        yield made


async def test_of_sound_alone_no_camera_is_subscribed_to_before_or_after(room: Room) -> None:
    async with room.publisher("alice") as alice, room.publisher("bob") as bob:
        early = {await alice.publish_camera(), await alice.publish_microphone()}
        async with captured(room, kinds=SOUND_ALONE, listener=Heard()) as (sink, recorder):
            late = {await bob.publish_camera(), await bob.publish_microphone()}
            await until(lambda: len({track_id for track_id, _ in sink.sounds}) == 2)
            publications = [
                publication
                for who in recorder.remote_participants.values()
                for publication in who.track_publications.values()
            ]
            assert {publication.sid for publication in publications} == early | late
            for publication in publications:
                assert publication.subscribed == (publication.kind == rtc.TrackKind.KIND_AUDIO)
            assert {track.kind for track in sink.tracks.values()} == {"audio"}
            assert not sink.pictures


async def test_mutes_and_speakers_are_told(room: Room) -> None:
    heard = Heard()
    async with room.publisher("alice") as alice:
        camera = SourceTrackId(await alice.publish_camera())
        await alice.publish_microphone()
        async with captured(room, kinds=EVERY_KIND, listener=heard) as (sink, _):
            await until(lambda: camera in sink.live)
            (track,) = [
                publication.track
                for publication in alice.room.local_participant.track_publications.values()
                if publication.sid == camera
            ]
            assert isinstance(track, rtc.LocalVideoTrack)
            track.mute()
            await until(lambda: heard.muted_tracks.get(camera) is True)
            later = Heard()
            async with captured(room, kinds=EVERY_KIND, listener=later, identity="recorder-2"):
                await until(lambda: later.muted_tracks.get(camera) is True)  # who comes later hears it too
            track.unmute()
            await until(lambda: heard.muted_tracks.get(camera) is False)
            await until(lambda: heard.speakers == ["alice"])
