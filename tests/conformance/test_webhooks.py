"""What is reported by webhook: names and order, what each holds, the signature, and what is sent again."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import jwt
import pytest
from livekit import api
from livekit.protocol import rtc

from orchestrator.adapters.livekit_webhooks import LivekitWebhookVerifier
from orchestrator.core.errors import WebhookRefusedError
from tests.conformance.cameras import publishing
from tests.conformance.stage import Stage, until

pytestmark = pytest.mark.integration

WHOLE_LIFE = (
    "room_started",
    "participant_joined",
    "track_published",
    "track_unpublished",
    "participant_left",
    "room_finished",
)


async def test_a_room_s_life_is_told_in_order(stage: Stage) -> None:
    alice = await stage.join(
        "alice", name="Alice", kind="agent", metadata="m", attributes={"greenroom.role": "worker"}
    )
    (info,) = (await stage.here("alice")).values()
    async with publishing(alice) as publisher:
        track = await publisher.hum()
        await stage.noticed(*WHOLE_LIFE[:3])
        await alice.local_participant.unpublish_track(track.sid)
        await stage.noticed(*WHOLE_LIFE[:4])
    await alice.disconnect()
    await stage.noticed(*WHOLE_LIFE[:5])
    await stage.rooms.delete_room(api.DeleteRoomRequest(room=stage.name))
    notices = await stage.noticed(*WHOLE_LIFE)
    assert len({notice.says["id"] for notice in notices}) == len(WHOLE_LIFE)
    assert {notice.says["room"]["sid"] for notice in notices} == {notices[0].says["room"]["sid"]}
    for notice in notices:
        assert abs(int(notice.says["createdAt"]) - time.time()) < 60
    joined, published, unpublished, left = (notice.says for notice in notices[1:5])
    who = joined["participant"]
    assert (who["sid"], who["identity"], who["kind"]) == (info.sid, "alice", "AGENT")
    assert (who["name"], who["metadata"], who["attributes"]) == ("Alice", "m", {"greenroom.role": "worker"})
    assert who["state"] == "ACTIVE"
    assert (left["participant"]["sid"], left["participant"]["attributes"]) == (info.sid, who["attributes"])
    assert (left["participant"]["state"], left["participant"]["disconnectReason"]) == (
        "DISCONNECTED",
        "CLIENT_INITIATED",
    )
    for says in (published, unpublished):
        assert (says["track"]["sid"], says["track"]["source"]) == (track.sid, "MICROPHONE")
        assert says["participant"]["identity"] == "alice"


async def test_the_room_is_told_as_it_was_made(stage: Stage) -> None:
    room = await stage.make_room(metadata='{"greenroom":{}}')
    (started,) = await stage.noticed("room_started", room=room.name)
    assert (started.says["room"]["sid"], started.says["room"]["metadata"]) == (room.sid, '{"greenroom":{}}')


async def test_each_is_signed_over_its_own_bytes(stage: Stage) -> None:
    (notice,) = await stage.noticed("room_started")
    key, secret = stage.engine.api_key, stage.engine.api_secret
    read = LivekitWebhookVerifier(key, secret).verify(notice.body, notice.authorization)
    assert (read.event, read.room_name, read.id) == ("room_started", stage.name, notice.says["id"])
    receiver = api.WebhookReceiver(api.TokenVerifier(key, secret))
    assert receiver.receive(notice.body.decode(), notice.authorization).room.name == stage.name
    claims = jwt.decode(notice.authorization.removeprefix("Bearer "), secret, algorithms=["HS256"], leeway=60)
    assert claims["sha256"] == base64.b64encode(hashlib.sha256(notice.body).digest()).decode()
    assert claims["iss"] == key
    assert claims["exp"] > time.time()
    with pytest.raises(WebhookRefusedError):
        LivekitWebhookVerifier(key, secret).verify(notice.body + b" ", notice.authorization)
    with pytest.raises(WebhookRefusedError):
        LivekitWebhookVerifier(key, "a-secret-of-somebody-else-of-32-letters").verify(
            notice.body, notice.authorization
        )


async def test_a_hidden_participant_is_told_too(stage: Stage) -> None:
    recorder = await stage.join("recorder", hidden=True, recorder=True, kind="agent")
    notices = await stage.noticed("room_started", "participant_joined")
    assert notices[1].identity == "recorder"
    assert notices[1].says["participant"]["permission"]["hidden"] is True
    await recorder.disconnect()
    await stage.noticed("room_started", "participant_joined", "participant_left")


async def test_who_only_signals_is_listed_and_told_by_a_webhook_when_that_ends(stage: Stage) -> None:
    headers = {"Authorization": f"Bearer {stage.token('silent')}"}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{stage.engine.url}/rtc?protocol=16", headers=headers) as socket,
    ):
        assert (
            rtc.SignalResponse.FromString(await socket.receive_bytes()).join.participant.identity == "silent"
        )
        await stage.join("alice")
        notices = await stage.noticed("room_started", "participant_joined")
        assert notices[1].identity == "alice"
        states = {identity: info.state for identity, info in (await stage.participants()).items()}
        assert states["silent"] in (api.ParticipantInfo.State.JOINING, api.ParticipantInfo.State.JOINED)
        await socket.send_bytes(rtc.SignalRequest(leave=rtc.LeaveRequest()).SerializeToString())
    *_, aborted = await stage.noticed("room_started", "participant_joined", "participant_connection_aborted")
    assert aborted.identity == "silent"
    await stage.here("alice")


async def test_who_is_replaced_leaves_and_the_newer_one_has_its_own_sid(stage: Stage) -> None:
    older = await stage.join("alice")
    await stage.noticed("room_started", "participant_joined")
    newer = await stage.join("alice")
    await until(lambda: len(stage.notices()) >= 4, stage.notices)
    notices = stage.notices()[2:]
    assert {notice.event for notice in notices} == {"participant_left", "participant_joined"}
    told = {notice.event: notice.says["participant"] for notice in notices}
    assert told["participant_left"]["sid"] == older.local_participant.sid
    assert told["participant_left"]["disconnectReason"] == "DUPLICATE_IDENTITY"
    assert told["participant_joined"]["sid"] == newer.local_participant.sid


async def test_a_room_deleted_and_made_again_at_once_has_two_sids(stage: Stage) -> None:
    alice = await stage.join("alice")
    await stage.noticed("room_started", "participant_joined")
    await stage.rooms.delete_room(api.DeleteRoomRequest(room=stage.name))
    await stage.make_room(stage.name)
    await until(lambda: len(stage.notices()) == 5, stage.notices)
    notices = stage.notices()
    started = [notice.says["room"]["sid"] for notice in notices if notice.event == "room_started"]
    (finished,) = [notice.says["room"]["sid"] for notice in notices if notice.event == "room_finished"]
    (left,) = [notice for notice in notices if notice.event == "participant_left"]
    assert finished == started[0] != started[1]
    assert left.says["room"]["sid"] == finished
    assert left.says["participant"]["disconnectReason"] == "ROOM_DELETED"
    await until(lambda: not alice.isconnected())


class Receiver:
    """Answers with the next of some statuses, then with 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.got: list[tuple[str, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.headers.get("Content-Type", ""), body))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.mark.parametrize(("status", "times"), [(503, 2), (404, 1), (200, 1)])
async def test_what_failed_is_sent_again_and_what_was_refused_is_not(
    stage: Stage, receiver: Receiver, status: int, times: int
) -> None:
    await stage.noticed("room_started")
    receiver.statuses = [status]
    stage.engine.webhooks.target = receiver.url
    alice = await stage.join("alice")

    def got() -> list[bytes]:
        return [body for _, body in receiver.got if b"participant_joined" in body]

    await until(lambda: len(got()) == times, lambda: receiver.got)
    await alice.disconnect()
    await until(lambda: b"participant_left" in receiver.got[-1][1], lambda: receiver.got)
    joined = got()
    assert len(joined) == times
    assert len(set(joined)) == 1, "the same event, with the same id"
    assert {kind for kind, _ in receiver.got} == {"application/webhook+json"}
