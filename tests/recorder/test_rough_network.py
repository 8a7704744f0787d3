"""Passthrough over a network that loses packets, and over a media server that is started again."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from livekit import api, rtc

from recorder.adapters.passthrough.transport import MediaTransport
from recorder.core.reordering import PacketOrder
from tests.integration.servers import LiveKitFactory, SharedLiveKit, WebhookRelay
from tests.recorder.publishers import Room, make_room
from tests.recorder.recorded_room import RecordedRoom
from tests.recorder.room_world import until

pytestmark = [pytest.mark.integration, pytest.mark.media]

LOSS = 0.05


def lose_packets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the recorder's network lose some of what it is sent; gives a list that grows with each."""
    chance, lost = random.Random(1), []
    plain = MediaTransport._divert

    def lossy(self: MediaTransport, protocol: Any) -> None:
        plain(self, protocol)
        received = protocol.datagram_received

        def some(data: bytes, addr: Any) -> None:
            if 127 < data[0] < 192 and chance.random() < LOSS:
                lost.append(len(data))
            else:
                received(data, addr)

        protocol.datagram_received = some

    monkeypatch.setattr(MediaTransport, "_divert", lossy)
    return lost


@pytest.mark.parametrize("asks", [True, False], ids=["asks again", "control: never asks"])
async def test_lost_packets_freeze_nothing_and_break_no_picture(
    livekit_server: SharedLiveKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, asks: bool
) -> None:
    lost = lose_packets(monkeypatch)
    if not asks:
        monkeypatch.setattr(PacketOrder, "to_ask_for", lambda *_: [])
    async with make_room(livekit_server) as room, room.publisher("alice") as alice:
        recorded = RecordedRoom(room, tmp_path)
        await alice.publish_camera(rtc.VideoCodec.H264)
        await alice.publish_microphone()
        await until(lambda: recorded.stats.get("audio_s", 0) > 3 and len(lost) > 10, within_s=20)
        packets_lost = recorded.stats["packets_lost"]  # what is missing at the very end is not waited for
        await recorded.end()
    if asks:
        assert packets_lost <= 1  # a packet is sent again three times at most
        assert (await asyncio.to_thread(recorded.pictures)).longest_s <= 2
    else:
        assert packets_lost > 3


async def test_a_media_server_that_is_started_again_begins_new_runs_and_the_gap_is_declared(
    fresh_livekit_server: LiveKitFactory, tmp_path: Path
) -> None:
    server = fresh_livekit_server()
    shared = SharedLiveKit(
        url=server.url, api_key=server.api_key, api_secret=server.api_secret, webhooks=WebhookRelay()
    )
    async with make_room(shared) as room:
        recorded = RecordedRoom(room, tmp_path)
        async with room.publisher("alice") as alice:
            await alice.publish_camera(rtc.VideoCodec.H264)
            await alice.publish_microphone()
            await until(lambda: recorded.stats.get("audio_s", 0) > 1.5, within_s=15)
            await asyncio.to_thread(server.kill)
            before_s = recorded.stats["audio_s"]
            await asyncio.to_thread(server.start)
            await create_again(room)
            await until(lambda: recorded.stats["audio_s"] > before_s + 2, within_s=40)
            manifest = await recorded.end()
    assert len(manifest.tracks) == 2
    for track in manifest.tracks:
        (gap,) = [gap for gap in track.gaps if gap.end_us - gap.start_us > 500_000]
        # Before it and after it; more than one of them where a busy publisher's clock had to be corrected.
        before = [run for run in track.runs if run.end_us <= gap.start_us]
        after = [run for run in track.runs if gap.end_us <= run.start_us]
        assert before
        assert after
        assert before + after == list(track.runs)


async def create_again(room: Room) -> None:
    """Create the room that went with the server, as the orchestrator does."""
    url = room.server.url.replace("ws", "http", 1)
    async with api.LiveKitAPI(url, room.server.api_key, room.server.api_secret) as rooms:
        await rooms.room.create_room(api.CreateRoomRequest(name=room.name, empty_timeout=60))
