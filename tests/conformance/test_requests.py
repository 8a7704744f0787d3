"""What clients ask for that our SDKs rarely do, spoken by hand: it is done, or refused with a reason."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import aioice.ice
import pytest
from aiortc import AudioStreamTrack, RTCPeerConnection
from livekit import api
from livekit.protocol import models, rtc

from tests.conformance.stage import Stage
from tests.conformance.test_malformed import crashes
from tests.conformance.wrapping import CountedTrack, announced
from tests.engine.sessions import Signals, join_request

pytestmark = pytest.mark.integration

V0 = "/rtc?protocol=16"
HELD: dict[str, Any] = {"metadata": "of the token", "attributes": {"a": "token", "b": "token"}}


@asynccontextmanager
async def speaking(
    stage: Stage, identity: str, path: str = V0, *, token: str = "", **given: Any
) -> AsyncIterator[Signals]:
    """Join without media."""
    headers = {"Authorization": f"Bearer {token or stage.token(identity, **given)}"}
    url = f"{stage.engine.url}{path}"
    async with aiohttp.ClientSession() as http, http.ws_connect(url, headers=headers) as socket:
        yield Signals(socket)


async def refused(stage: Stage, path: str, **given: Any) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with speaking(stage, "ada", path, **given):
            pass
    return refusal.value.status


def v1(**said: Any) -> str:
    text = join_request(**said)
    return f"/rtc/v1?join_request={text}{'=' * (-len(text) % 4)}"  # LiveKit wants it whole


def v0_attributes(**attributes: str) -> str:
    return f"{V0}&attributes={base64.urlsafe_b64encode(json.dumps(attributes).encode()).decode()}"


async def test_metadata_and_attributes_come_along_with_a_join(stage: Stage) -> None:
    brought = {"metadata": "brought", "participant_attributes": {"a": "brought", "b": "", "c": "brought"}}
    settings = rtc.ConnectionSettings(auto_subscribe=True)
    single = v1(connection_settings=settings, **brought)
    merged = {"a": "brought", "b": "token", "c": "brought"}
    double = v0_attributes(a="brought", b="", c="brought")
    for path, metadata in ((single, "brought"), (double, "of the token")):
        async with speaking(stage, "ada", path, can_update_own_metadata=True, **HELD) as ada:
            me = (await ada.hear("join")).join.participant
        assert (me.metadata, dict(me.attributes)) == (metadata, merged)


@pytest.mark.parametrize(
    "brought", [{"metadata": "brought"}, {"participant_attributes": {"c": "brought"}}], ids=list
)
async def test_who_may_not_change_them_may_not_bring_them_along(
    stage: Stage, brought: dict[str, Any]
) -> None:
    async with speaking(stage, "ada", **HELD) as here:
        await here.hear("join")
        assert await refused(stage, v1(**brought), **HELD) == 401
        assert await refused(stage, v0_attributes(a="brought"), **HELD) == 401
        await here.say(ping=1)  # it was put out by nobody
        await here.hear("pong")


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have aiortc offer no other address."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])


async def told(bob: Signals, sid: str) -> models.TrackInfo:
    """Give what somebody hears next of a track."""
    while True:
        for participant in (await bob.hear("update")).update.participants:
            for track in participant.tracks:
                if track.sid == sid:
                    return track


@pytest.mark.usefixtures("loopback")
async def test_a_publisher_says_what_its_pictures_are_by_now(stage: Stage) -> None:
    connection, track = RTCPeerConnection(), CountedTrack()
    connection.addTrack(track)
    h264 = [rtc.SimulcastCodec(codec="h264", cid=track.id)]
    add = rtc.AddTrackRequest(
        cid=track.id, type=models.VIDEO, source=models.CAMERA, width=640, height=360, simulcast_codecs=h264
    )
    async with speaking(stage, "bob") as bob, announced(stage, "ada", connection, add) as ada:
        first = await told(bob, ada.sid)
        assert (first.mime_type, first.width) == ("video/H264", 640), "the codec that it wants"
        change = rtc.UpdateLocalVideoTrack(track_sid=ada.sid, width=320, height=240)
        await ada.socket.send_bytes(rtc.SignalRequest(update_video_track=change).SerializeToString())
        now = await told(bob, ada.sid)
        assert (now.width, now.height) == (320, 240)
        wrong = rtc.UpdateLocalAudioTrack(track_sid=ada.sid, features=[models.TF_STEREO])
        await ada.socket.send_bytes(rtc.SignalRequest(update_audio_track=wrong).SerializeToString())
        now = await told(bob, ada.sid)
        assert (now.width, now.stereo, list(now.audio_features)) == (320, False, [])


@pytest.mark.usefixtures("loopback")
async def test_a_publisher_says_what_its_sound_is_by_now(stage: Stage) -> None:
    connection, track = RTCPeerConnection(), AudioStreamTrack()
    connection.addTrack(track)
    add = rtc.AddTrackRequest(cid=track.id, type=models.AUDIO, source=models.MICROPHONE)
    async with speaking(stage, "bob") as bob, announced(stage, "ada", connection, add) as ada:
        assert not (await told(bob, ada.sid)).stereo
        features = [models.TF_STEREO, models.TF_STEREO, models.TF_NO_DTX, models.TF_NOISE_SUPPRESSION]
        change = rtc.UpdateLocalAudioTrack(track_sid=ada.sid, features=features)
        await ada.socket.send_bytes(rtc.SignalRequest(update_audio_track=change).SerializeToString())
        now = await told(bob, ada.sid)
        assert (now.stereo, now.disable_dtx, list(now.audio_features)) == (True, True, features[1:])
        change = rtc.UpdateLocalAudioTrack(track_sid=ada.sid)
        await ada.socket.send_bytes(rtc.SignalRequest(update_audio_track=change).SerializeToString())
        now = await told(bob, ada.sid)
        assert (now.stereo, now.disable_dtx, list(now.audio_features)) == (False, False, [])


async def test_what_cannot_be_published_or_changed_is_said_in_a_reason(stage: Stage) -> None:
    async with speaking(stage, "ada") as ada:
        for message, reason in (
            ({"update_audio_track": rtc.UpdateLocalAudioTrack(track_sid="TR_x")}, "NOT_FOUND"),
            ({"update_video_track": rtc.UpdateLocalVideoTrack(track_sid="TR_x")}, "NOT_FOUND"),
            ({"add_track": rtc.AddTrackRequest(cid="d", type=models.DATA)}, "UNSUPPORTED_TYPE"),
        ):
            await ada.say(**message)
            answer = (await ada.hear("request_response")).request_response
            assert rtc.RequestResponse.Reason.Name(answer.reason) == reason
            assert answer.WhichOneof("request") == next(iter(message))


async def test_a_token_that_may_create_rooms_joins_one_that_is_not_there(stage: Stage) -> None:
    new = f"{stage.name}-new"
    assert await refused(stage, V0, room=new) == 404
    async with speaking(stage, "ada", room=new, room_create=True) as ada:
        assert (await ada.hear("join")).join.room.name == new
        await stage.rooms.delete_room(api.DeleteRoomRequest(room=new))


async def test_who_leaves_may_say_why(stage: Stage) -> None:
    async with speaking(stage, "ada") as ada:
        await ada.hear("join")
        await ada.say(leave=rtc.LeaveRequest(reason=models.AGENT_ERROR))
        *_, left = await stage.noticed("room_started", "participant_connection_aborted")
    assert left.says["participant"]["disconnectReason"] == "AGENT_ERROR"


async def test_a_token_of_forty_kilobytes_is_let_in_and_one_beyond_the_limit_is_not(stage: Stage) -> None:
    large = {"a": "x" * 40_000}
    await stage.join("bob", attributes=large)
    assert (await stage.participants())["bob"].attributes == large
    async with speaking(stage, "ada", attributes=large) as ada:
        assert (await ada.hear("join")).join.participant.attributes == large
    token = stage.token("ada", attributes=large)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{stage.engine.url}{V0}&access_token={token}") as socket,
    ):
        assert (await Signals(socket).hear("join")).join.participant.attributes == large
    token = "x" * 1_200_000
    assert 400 <= await refused(stage, V0, token=token) < 500
    assert 400 <= await refused(stage, f"{V0}&access_token={token}") < 500
    log = stage.engine.log_path.read_text(encoding="utf-8", errors="replace")
    assert crashes(log) == []
    assert "xxxxxxxxxx" not in log
