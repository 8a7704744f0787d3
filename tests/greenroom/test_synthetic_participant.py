"""The synthetic participant in a real room: refused, answered, seen and heard by another."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from livekit import api, rtc

from greenroom.synthetic_participant import PING_TOPIC, PONG_TOPIC, ParticipantError, join
from tests.integration.servers import SharedLiveKit

pytestmark = pytest.mark.integration


@dataclass
class MediaRoom:
    """A room on the shared server."""

    server: SharedLiveKit
    name: str

    def token(self, identity: str, secret: str = "") -> str:
        grants = api.VideoGrants(room_join=True, room=self.name)
        token = api.AccessToken(self.server.api_key, secret or self.server.api_secret)
        return token.with_identity(identity).with_grants(grants).to_jwt()


@pytest.fixture
async def room(livekit_server: SharedLiveKit) -> AsyncIterator[MediaRoom]:
    made = MediaRoom(livekit_server, f"room-{uuid.uuid4()}")
    url = livekit_server.url.replace("ws", "http", 1)
    async with api.LiveKitAPI(url, livekit_server.api_key, livekit_server.api_secret) as rooms:
        await rooms.room.create_room(api.CreateRoomRequest(name=made.name))
        yield made
        await rooms.room.delete_room(api.DeleteRoomRequest(room=made.name))


async def test_a_refused_token_is_not_repeated(room: MediaRoom, caplog: pytest.LogCaptureFixture) -> None:
    token = room.token("alice", secret="x" * 40)
    with pytest.raises(ParticipantError) as caught:
        async with join(room.server.url, token):
            pass
    assert "did not let the participant in" in str(caught.value)
    signature = token.rsplit(".", 1)[1]
    assert signature not in str(caught.value)
    assert signature not in caplog.text


async def test_a_ping_that_nobody_answers_is_said_so(room: MediaRoom) -> None:
    async with join(room.server.url, room.token("alice")) as alice:
        with pytest.raises(ParticipantError, match=r"no test-response came within 0\.5 s"):
            await alice.ping(timeout_s=0.5, every_s=0.2)


async def test_a_pong_is_timed_also_when_the_worker_comes_late(room: MediaRoom) -> None:
    worker = rtc.Room()
    answers: set[asyncio.Task[None]] = set()

    def answer(packet: rtc.DataPacket) -> None:
        if packet.topic == PING_TOPIC:
            sending = worker.local_participant.publish_data(b"pong", topic=PONG_TOPIC)
            answers.add(asyncio.ensure_future(sending))

    worker.on("data_received", answer)
    async with join(room.server.url, room.token("alice")) as alice:
        pinging = asyncio.create_task(alice.ping(timeout_s=10, every_s=0.2))
        await asyncio.sleep(0.5)
        await worker.connect(room.server.url, room.token("pong"))
        assert 0 < await pinging < 1_000
        await worker.disconnect()


@pytest.mark.media
async def test_another_participant_sees_the_frames_and_hears_the_sound(room: MediaRoom) -> None:
    viewer = rtc.Room()
    seen: list[tuple[int, int]] = []
    heard: list[int] = []
    tasks: list[asyncio.Task[None]] = []

    async def watch(track: rtc.Track) -> None:
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            async for event in rtc.VideoStream(track):
                seen.append((event.frame.width, event.frame.height))
        else:
            async for sound in rtc.AudioStream(track):
                heard.append(sound.frame.samples_per_channel)

    viewer.on("track_subscribed", lambda track, *_: tasks.append(asyncio.create_task(watch(track))))
    await viewer.connect(room.server.url, room.token("viewer"))
    seconds: list[int] = []
    async with join(room.server.url, room.token("alice")) as alice:
        published = await alice.publish(3, on_second=seconds.append)
    for task in tasks:
        task.cancel()
    await viewer.disconnect()
    assert (published.frames, published.audio_s) == (90, 3.0)
    assert seconds == [1, 2, 3]
    assert published.keyframes < 5  # no periodic ones: the first, and what receivers asked for
    assert sum(size == (1280, 720) for size in seen) >= 45
    assert sum(heard) >= 2 * 48_000
