"""The older signalling (two connections, the server offers) by our recorder's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import av
import av.video
import pytest
from livekit import api, rtc

from greenroom.synthetic_picture import read_counter
from greenroom.synthetic_reading import luma_of
from recorder.adapters.passthrough.tracks import PassthroughTracks
from recorder.adapters.system_clock import SystemClock
from recorder.core.errors import RemovedFromRoomError
from recorder.core.units import AccessUnit
from recorder.ports import Picture, Sound, SourceTrack, SourceTrackId
from sdk.ports import Grant
from tests.conformance.cameras import Codec, Publisher, publishing
from tests.conformance.stage import Stage, until

pytestmark = pytest.mark.integration


@dataclass
class Kept:
    """A `FrameSink` that keeps all."""

    started: dict[str, SourceTrack] = field(default_factory=dict)
    units: dict[str, list[AccessUnit]] = field(default_factory=dict)
    reports: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)

    def track_started(self, track: SourceTrack) -> None:
        self.started[track.track_id] = track
        self.units.setdefault(track.track_id, [])

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        raise AssertionError("nothing is decoded")

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        raise AssertionError("nothing is decoded")

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        self.units[track_id].append(unit)

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        self.reports.setdefault(track_id, []).append((rtp_time, ntp_us))

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        raise AssertionError(f"{packets} packets of {track_id} were lost")

    def opened(self, identity: str, *, is_opened: bool) -> None:
        raise AssertionError(f"nothing of {identity} is encrypted")

    def track_ended(self, track_id: SourceTrackId) -> None:
        self.ended.append(track_id)


@asynccontextmanager
async def recording(stage: Stage) -> AsyncIterator[tuple[Kept, asyncio.Task[None]]]:
    """Have a hidden recorder in the room, as ours is."""

    async def grant() -> Grant:
        given: dict[str, Any] = {"hidden": True, "recorder": True, "can_publish": False}
        return Grant(
            livekit_url=stage.engine.url, access_token=stage.token("recorder", kind="agent", **given)
        )

    kept = Kept()
    tracks = PassthroughTracks(grant, SystemClock(), keyframe_interval_s=4.0)
    capturing = asyncio.create_task(tracks.capture(kept))
    try:
        yield kept, capturing
    finally:
        capturing.cancel()
        await asyncio.wait({capturing})


def counters(units: list[AccessUnit]) -> list[int | None]:
    """Decode pictures and read what they say."""
    codec = av.CodecContext.create(units[0].setup.codec, "r")
    assert isinstance(codec, av.VideoCodecContext)
    read = []
    for unit in units:
        data = unit.data
        if unit.setup.codec == "h264":
            data = annex_b(data)
            if unit.is_keyframe:
                data = b"".join(b"\0\0\0\1" + nal for nal in unit.setup.parameters) + data
        read += [read_counter(luma_of(frame)) for frame in codec.decode(av.Packet(data))]
    return read


def annex_b(data: bytes) -> bytes:
    """Turn NAL units behind their lengths into NAL units behind start codes."""
    made = b""
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        made, data = made + b"\0\0\0\1" + data[4:end], data[end:]
    return made


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_encoded_media_and_its_clock_arrive(stage: Stage, codec: Codec) -> None:
    async with (
        recording(stage) as (kept, _),
        publishing(await stage.join("alice")) as alice,
    ):
        camera, microphone = await alice.film(codec=codec, first=1_000), await alice.hum()
        await until(
            lambda: (
                len(kept.units.get(camera.sid, [])) >= 30 and len(kept.units.get(microphone.sid, [])) >= 60
            ),
            lambda: {sid: len(units) for sid, units in kept.units.items()},
        )
        await until(lambda: {camera.sid, microphone.sid} <= kept.reports.keys(), lambda: kept.reports)
    assert (kept.started[camera.sid].identity, kept.started[camera.sid].name) == ("alice", "camera")
    assert kept.started[camera.sid].is_encoded
    read = counters(kept.units[camera.sid])
    assert None not in read
    assert all(later == earlier + 1 for earlier, later in pairwise(map(int, filter(None, read))))
    sound = kept.units[microphone.sid]
    assert {unit.setup.codec for unit in sound} == {"opus"}
    assert all(later.rtp_time > unit.rtp_time for unit, later in pairwise(sound))
    (rtp_time, ntp_us), *_ = kept.reports[camera.sid]
    first = kept.units[camera.sid][0]
    assert abs(rtp_time - first.rtp_time) < 90_000 * 10, "a report is on the time of its own track"
    assert ntp_us > 0


async def publish_for_a_while(alice: Publisher, kept: Kept) -> None:
    sid = (await alice.film()).sid
    await until(lambda: len(kept.units.get(sid, [])) >= 5, lambda: list(kept.started))
    await alice.stop()
    await alice.room.local_participant.unpublish_track(sid)
    await until(lambda: sid in kept.ended)


async def test_a_track_that_is_taken_back_ends_and_another_begins(stage: Stage) -> None:
    async with (
        recording(stage) as (kept, _),
        publishing(await stage.join("alice")) as alice,
    ):
        for number in range(2):
            await publish_for_a_while(alice, kept)
            assert len(kept.ended) == number + 1
    assert len(kept.started) == 2


async def test_a_recorder_hears_the_end_of_its_room_and_its_own_removal(stage: Stage) -> None:
    await stage.join("alice")
    async with recording(stage) as (_, capturing):
        await stage.here("alice", "recorder")
        await stage.rooms.remove_participant(
            api.RoomParticipantIdentity(room=stage.name, identity="recorder")
        )
        with pytest.raises(RemovedFromRoomError):
            await asyncio.wait_for(capturing, 10)
    async with recording(stage) as (_, capturing):
        await stage.here("alice", "recorder")
        await stage.rooms.delete_room(api.DeleteRoomRequest(room=stage.name))
        await asyncio.wait_for(capturing, 10)


async def test_both_kinds_of_signalling_meet_in_one_room(stage: Stage) -> None:
    one = rtc.RoomOptions(single_peer_connection=True)
    async with (
        recording(stage) as (kept, _),
        publishing(await stage.join("alice", options=one)) as alice,
        publishing(await stage.join("bob", options=rtc.RoomOptions(single_peer_connection=False))) as bob,
    ):
        first, second = await alice.film(first=100), await bob.film(first=50_000, codec="vp8")
        await until(
            lambda: all(len(kept.units.get(track.sid, [])) >= 10 for track in (first, second)),
            lambda: list(kept.started),
        )
    assert counters(kept.units[first.sid])[0] in range(100, 1_000)
    assert counters(kept.units[second.sid])[0] in range(50_000, 51_000)
