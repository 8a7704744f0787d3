"""What publishers do in a real room: layers, mutes, silence, publishing again, many at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from urllib.parse import urlsplit

import numpy as np
import pytest
from livekit import rtc

from recorder.core.units import AccessUnit
from recorder.ports import SourceTrackId
from tests.integration.servers import SharedLiveKit
from tests.invariants.real.tcp_proxy import TcpProxy
from tests.recorder.adapters.passthrough.test_tracks import captured
from tests.recorder.publishers import Publisher, Room, make_room, until

pytestmark = [pytest.mark.integration, pytest.mark.media]

AUDIO_HZ, VIDEO_HZ = 48_000, 90_000


@pytest.fixture
async def room(livekit_server: SharedLiveKit) -> AsyncIterator[Room]:
    async with make_room(livekit_server) as made:
        yield made


async def publish_film(alice: Publisher, *, width: int, height: int, name: str, simulcast: bool) -> str:
    """Publish moving grain, 15 pictures a second."""
    source = rtc.VideoSource(width, height)
    options = rtc.TrackPublishOptions(
        source=rtc.TrackSource.SOURCE_SCREENSHARE if name == "screen" else rtc.TrackSource.SOURCE_CAMERA,
        simulcast=simulcast,
        video_codec=rtc.VideoCodec.VP8,
    )
    track = rtc.LocalVideoTrack.create_video_track(name, source)
    published = await alice.room.local_participant.publish_track(track, options)
    grain = np.random.default_rng(5).integers(0, 30, width * height * 3, dtype=np.uint8)

    async def film() -> None:
        number = 0
        while True:
            number += 1
            data = grain[number * 97 % (width * height) :][: width * height * 3 // 2].tobytes()
            source.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, data))
            await asyncio.sleep(1 / 15)

    alice.tasks.append(asyncio.create_task(film()))
    return published.sid


async def publish_sound(alice: Publisher, *, dtx: bool, level: int) -> tuple[rtc.LocalAudioTrack, str]:
    """Publish a hum of some level, 0 for silence; give the track and its SID."""
    source = rtc.AudioSource(AUDIO_HZ, 1, queue_size_ms=0)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=dtx, red=True)
    published = await alice.room.local_participant.publish_track(track, options)
    block = (np.sin(np.arange(480) * 2 * np.pi / 120) * level).astype(np.int16).tobytes()

    async def hum() -> None:
        began, number = time.monotonic(), 0
        while True:  # in step with the clock: the stream's time counts samples
            await source.capture_frame(rtc.AudioFrame(block, AUDIO_HZ, 1, 480))
            number += 1
            await asyncio.sleep(max(0.0, began + number * 0.01 - time.monotonic()))

    alice.tasks.append(asyncio.create_task(hum()))
    return track, published.sid


def longest_silence(units: list[AccessUnit]) -> tuple[AccessUnit, AccessUnit]:
    """The two units with the longest time between their arrivals."""
    return max(pairwise(units), key=lambda pair: pair[1].arrival_us - pair[0].arrival_us)


async def test_of_several_layers_the_top_one_is_taken(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, _):
        camera = await publish_film(alice, width=640, height=360, name="camera", simulcast=True)
        await until(lambda: len(sink.of(camera)) > 0 and sink.of(camera)[-1].setup.width == 640)
        count = len(sink.of(camera))
        await until(lambda: len(sink.of(camera)) >= count + 10)
        assert {unit.setup.width for unit in sink.of(camera)[count:]} == {640}
        for before, after in pairwise(sink.of(camera)):
            assert after.setup == before.setup or after.is_keyframe


async def test_after_a_mute_sound_and_picture_go_on_in_their_place(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, _):
        track, microphone = await publish_sound(alice, dtx=False, level=8000)
        camera = await alice.publish_camera()
        await until(lambda: len(sink.of(microphone)) >= 30 and len(sink.of(camera)) >= 10)
        tracks = alice.room.local_participant.track_publications
        film = tracks[camera].track
        assert isinstance(film, rtc.LocalVideoTrack)
        track.mute()
        film.mute()
        await asyncio.sleep(0.8)
        track.unmute()
        film.unmute()
        counts = len(sink.of(microphone)), len(sink.of(camera))
        await until(
            lambda: len(sink.of(microphone)) >= counts[0] + 50 and len(sink.of(camera)) >= counts[1] + 20
        )
        assert len(sink.tracks) == 2
        for sid, rate in ((microphone, AUDIO_HZ), (camera, VIDEO_HZ)):
            before, after = longest_silence(sink.of(sid))
            silent_us = after.arrival_us - before.arrival_us
            assert silent_us > 500_000 or sid == microphone  # of a muted one a second of silence is sent
            assert (after.rtp_time - before.rtp_time) / rate == pytest.approx(silent_us / 1e6, abs=0.4)


async def test_silence_that_is_not_sent_leaves_the_rest_in_its_place(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, _):
        _, microphone = await publish_sound(alice, dtx=True, level=0)
        await until(lambda: len(sink.of(microphone)) >= 12)
        units = sink.of(microphone)[4:]
        steps = [later.rtp_time - unit.rtp_time for unit, later in pairwise(units)]
        assert max(steps) > 5 * 960  # nothing for more than 0.1 s
        took_s = (units[-1].arrival_us - units[0].arrival_us) / 1e6
        assert (units[-1].rtp_time - units[0].rtp_time) / AUDIO_HZ == pytest.approx(took_s, abs=0.2)


async def test_a_camera_and_a_screen_of_one_participant_are_two_tracks(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, _):
        camera = await alice.publish_camera()
        screen = await publish_film(alice, width=320, height=180, name="screen", simulcast=False)
        await until(lambda: min(len(sink.of(camera)), len(sink.of(screen))) >= 3)
        found = {(one.identity, one.name) for one in sink.tracks.values()}
        assert found == {("alice", "camera"), ("alice", "screen")}
        assert {unit.setup.width for unit in sink.of(screen)} == {320}


async def test_a_track_that_is_published_again_begins_again_and_leaves_no_tiny_pictures(room: Room) -> None:
    async with room.publisher("alice") as alice, captured(room) as (sink, _):
        sids = []
        for codec in (rtc.VideoCodec.VP8, rtc.VideoCodec.H264, rtc.VideoCodec.VP8):
            sids.append(await alice.publish_camera(codec))
            await until(lambda: len(sink.of(sids[-1])) >= 8)
            await alice.room.local_participant.unpublish_track(sids[-1])
            await until(lambda: not sink.live)
        assert {(one.identity, one.name) for one in sink.tracks.values()} == {("alice", "camera")}
        assert [sink.of(sid)[0].setup.codec for sid in sids] == ["vp8", "h264", "vp8"]
        for sid in sids:
            assert sink.of(sid)[0].is_keyframe
            assert {unit.setup.width for unit in sink.of(sid)} == {160}


async def test_ten_tracks_at_once_are_all_taken_and_do_not_wait_for_sender_reports(room: Room) -> None:
    async with AsyncExitStack() as stack:
        people = [await stack.enter_async_context(room.publisher(f"p{number}")) for number in range(5)]
        sink, _ = await stack.enter_async_context(captured(room))
        sids = []
        for one in people:
            sids += [await one.publish_camera(), await one.publish_microphone()]
        await until(lambda: all(len(sink.of(sid)) >= 15 for sid in sids))
        assert len(sink.live) == 10
        for sid in sids:
            times = [unit.rtp_time for unit in sink.of(sid)]
            assert times == sorted(set(times))
        assert any(not sink.reports[SourceTrackId(sid)] for sid in sids)  # the first comes after seconds


async def test_cut_signalling_is_made_again_and_media_goes_on(room: Room) -> None:
    async with TcpProxy(urlsplit(room.server.url).port or 0) as proxy:
        through = Room(replace(room.server, url=proxy.url.replace("http", "ws", 1)), room.name)
        async with room.publisher("alice") as alice, captured(through) as (sink, capturing):
            camera = await alice.publish_camera()
            await until(lambda: len(sink.of(camera)) >= 10)
            before = sink.of(camera)
            proxy.reset()
            await until(lambda: sink.of(camera) is not before and len(sink.of(camera)) >= 10)
            assert sink.of(camera)[0].is_keyframe
            assert not capturing.done()
            assert proxy.accepted == 2


async def test_an_encrypted_track_is_left_out_and_the_others_are_taken(room: Room) -> None:
    left: list[Mapping[SourceTrackId, str]] = []
    secret = rtc.Room()
    key = rtc.KeyProviderOptions(shared_key=b"a key that the recorder does not have")
    options = rtc.RoomOptions(encryption=rtc.E2EEOptions(key_provider_options=key))
    async with room.publisher("bob") as bob, captured(room, left.append) as (sink, _):
        await secret.connect(room.server.url, room.token("alice", {}), options)
        alice = Publisher(secret)
        hidden = await alice.publish_microphone()
        microphone = await bob.publish_microphone()
        await until(lambda: bool(left) and len(sink.of(microphone)) >= 10)
        assert left[-1] == {hidden: "is end-to-end encrypted"}
        assert set(sink.tracks) == {microphone}
        for task in alice.tasks:
            task.cancel()
        await asyncio.wait(alice.tasks)
        await secret.disconnect()
