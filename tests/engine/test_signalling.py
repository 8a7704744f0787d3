"""One client's WebSocket: what it may say, what ends it, and that nobody else is touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from livekit.protocol import models, rtc

from engine import signalling, transport
from engine.joining import LARGEST_MESSAGE
from tests.engine.sessions import RunningEngine, Signals, join_request, offer, running_engine, section


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine() as running:
        yield running


async def left(engine: RunningEngine, identity: str) -> models.DisconnectReason:
    """Wait until somebody is gone; give the reason."""
    async with asyncio.timeout(30):
        while True:
            for event in engine.world.events:
                if event.event.startswith("participant_") and event.participant.identity == identity:
                    return event.participant.disconnect_reason
            await asyncio.sleep(0.01)


async def test_v0_is_greeted_offered_data_and_answered(
    engine: RunningEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalling, "GOODBYE_S", 120.0)
    monkeypatch.setattr(signalling, "SEND_S", 120.0)
    ada = await engine.connect("ada")
    join = (await ada.hear("join")).join
    assert (join.participant.identity, join.subscriber_primary, join.ping_timeout) == ("ada", True, 15)
    assert "webrtc-datachannel" in (await ada.hear("offer")).offer.sdp
    await ada.say(ping_req=rtc.Ping(timestamp=7))
    assert (await ada.hear("pong_resp")).pong_resp.last_ping_timestamp == 7
    await ada.say(offer=offer(section("application", "0")))
    assert (await ada.hear("answer")).answer.type == "answer"
    await ada.say(leave=rtc.LeaveRequest())
    # She never answers the end of the WebSocket, and nobody waits for that.
    assert await left(engine, "ada") == models.CLIENT_INITIATED


async def test_v1_brings_its_offer_along(engine: RunningEngine) -> None:
    said = join_request(publisher_offer=offer(section("application", "0")))
    ada = await engine.connect("ada", f"/rtc/v1?join_request={said}")
    assert not (await ada.hear("join")).join.subscriber_primary
    assert "a=ice-lite" in (await ada.hear("answer")).answer.sdp


@pytest.mark.parametrize(
    "message",
    [
        b"\xff\xff\xff",
        rtc.SignalRequest(offer=rtc.SessionDescription(sdp="nonsense")).SerializeToString(),
        rtc.SignalRequest(answer=rtc.SessionDescription(sdp="m=x 1 2 3", id=1)).SerializeToString(),
    ],
    ids=["bytes", "offer", "answer"],
)
async def test_nonsense_ends_its_client_and_nobody_else(engine: RunningEngine, message: bytes) -> None:
    bob = await engine.connect("bob")
    ada = await engine.connect("ada")
    await ada.socket.send_bytes(message)
    leave = (await ada.hear("leave")).leave
    assert (leave.reason, leave.action) == (models.STATE_MISMATCH, rtc.LeaveRequest.DISCONNECT)
    assert await left(engine, "ada") == models.STATE_MISMATCH
    await bob.say(ping_req=rtc.Ping(timestamp=1))
    await bob.hear("pong_resp")


async def test_text_and_oversized_messages_end_their_client(engine: RunningEngine) -> None:
    ada, bob = await engine.connect("ada"), await engine.connect("bob")
    await ada.socket.send_str("{}")
    await ada.hear("leave")
    await bob.socket.send_bytes(bytes(LARGEST_MESSAGE + 1))
    while (heard := await bob.socket.receive(timeout=30)).type is aiohttp.WSMsgType.BINARY:
        pass
    assert (heard.type, bob.socket.close_code) == (
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSCloseCode.MESSAGE_TOO_BIG,
    )
    for name in ("ada", "bob"):
        await left(engine, name)


async def test_who_says_nothing_is_put_out_and_may_come_back(
    engine: RunningEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalling, "SILENCE_S", 0.05)
    ada = await engine.connect("ada")
    leave = (await ada.hear("leave")).leave
    assert (leave.reason, leave.action) == (models.CONNECTION_TIMEOUT, rtc.LeaveRequest.RECONNECT)
    assert await left(engine, "ada") == models.CONNECTION_TIMEOUT


async def test_who_only_signals_is_put_out(engine: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "CONNECT_S", 0.0)
    monkeypatch.setattr(signalling, "LEAVE_S", 0.0)
    ada = await engine.connect("ada")  # never answers the offer
    assert await left(engine, "ada") == models.CONNECTION_TIMEOUT
    assert (await ada.hear("leave")).leave.action == rtc.LeaveRequest.RECONNECT


async def test_who_reads_nothing_is_put_out(engine: RunningEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signalling, "MOST_WAITING", 5)
    await engine.connect("ada")
    room = engine.world.rooms.get("tea")
    assert room is not None
    connection = room.participants["ada"].connection
    for _ in range(20):  # in one turn of the loop: nothing is written in between
        connection.send(rtc.SignalResponse(pong=1))
    assert await left(engine, "ada") == models.STATE_MISMATCH


async def test_the_same_identity_ends_the_older_client(engine: RunningEngine) -> None:
    one = await engine.connect("ada")
    other = await engine.connect("ada")
    assert (await one.hear("leave")).leave.reason == models.DUPLICATE_IDENTITY
    await other.say(ping=1)
    await other.hear("pong")


async def test_a_resume_becomes_a_full_rejoin(engine: RunningEngine) -> None:
    ada = await engine.connect("ada", "/rtc?reconnect=1&sid=PA_x")
    leave = (await ada.hear("leave")).leave
    assert leave.action == rtc.LeaveRequest.RECONNECT
    assert engine.world.names() == ["room_started"]


async def refused(ada: Signals) -> rtc.RequestResponse:
    return (await ada.hear("request_response")).request_response


async def test_what_is_not_allowed_or_not_done_is_said_at_once(engine: RunningEngine) -> None:
    ada = await engine.connect("ada", can_publish=False)
    await ada.say(add_track=rtc.AddTrackRequest(cid="cam", source=models.CAMERA))
    answer = await refused(ada)
    assert (answer.reason, answer.add_track.cid) == (rtc.RequestResponse.NOT_ALLOWED, "cam")
    await ada.say(update_metadata=rtc.UpdateParticipantMetadata(metadata="x", request_id=5))
    answer = await refused(ada)
    assert (answer.reason, answer.request_id) == (rtc.RequestResponse.NOT_ALLOWED, 5)
    not_done: list[dict[str, Any]] = [
        {"publish_data_track_request": rtc.PublishDataTrackRequest(name="x")},
        {"sync_state": rtc.SyncState()},
        {"update_layers": rtc.UpdateVideoLayers(track_sid="TR_x")},
        {"simulate": rtc.SimulateScenario(server_leave=True)},
        {},
    ]
    for message in not_done:
        await ada.say(**message)
        answer = await refused(ada)
        assert answer.reason == rtc.RequestResponse.UNSUPPORTED_TYPE
        assert next(iter(message), "such a message") in answer.message
    await ada.say(update_video_track=rtc.UpdateLocalVideoTrack(track_sid="TR_none"))
    answer = await refused(ada)
    assert (answer.reason, answer.update_video_track.track_sid) == (rtc.RequestResponse.NOT_FOUND, "TR_none")
    await ada.say(subscription=rtc.UpdateSubscription(track_sids=["TR_none"], subscribe=True))
    assert (await ada.hear("subscription_response")).subscription_response.track_sid == "TR_none"


async def test_a_lower_layer_is_refused_once(engine: RunningEngine) -> None:
    ada, bob = await engine.connect("ada"), await engine.connect("bob")
    layers = [models.VideoLayer(quality=quality) for quality in (models.LOW, models.HIGH)]
    add = rtc.AddTrackRequest(cid="cam", type=models.VIDEO, source=models.CAMERA, layers=layers)
    await ada.say(add_track=add)
    sid = (await ada.hear("track_published")).track_published.track.sid

    async def refusals(**setting: Any) -> int:
        await bob.say(track_setting=rtc.UpdateTrackSettings(track_sids=["TR_none", sid], **setting))
        await bob.say(ping=1)
        count = 0
        while (heard := await bob.hear()).WhichOneof("message") != "pong":
            answer = heard.request_response
            count += heard.HasField("request_response")
            assert answer.reason in (0, rtc.RequestResponse.UNSUPPORTED_TYPE)
        return count

    assert await refusals(quality=models.HIGH) == 0
    assert await refusals(width=100, height=100, fps=5) == 0
    assert await refusals(disabled=True) == 0
    assert await refusals(quality=models.MEDIUM) == 1
    assert await refusals(quality=models.LOW) == 0


async def test_metadata_is_changed_by_who_may(engine: RunningEngine) -> None:
    ada = await engine.connect("ada", can_update_own_metadata=True)
    for metadata, reason in (
        ("x", rtc.RequestResponse.OK),
        ("x" * 300_000, rtc.RequestResponse.LIMIT_EXCEEDED),
    ):
        await ada.say(update_metadata=rtc.UpdateParticipantMetadata(metadata=metadata, request_id=1))
        assert (await refused(ada)).reason == reason
    room = engine.world.rooms.get("tea")
    assert room is not None
    assert room.participants["ada"].metadata == "x"
