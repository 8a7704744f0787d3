"""The socket of pull workers: no hello, no frame or too large ends it; and when we stop, jobs are kept."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from orchestrator.core.ids import SessionId, WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.web import worker_sockets
from orchestrator.web.worker_sockets import SocketLine
from sdk.wire import MAX_FRAME_BYTES, Offer, Pong
from tests.fakes.recordings import make_key_ring
from tests.orchestrator.web.world import World, until

CONNECT = "/api/v1/workers/connect"
HELLO = {"t": "hello", "service_id": "asr", "worker_id": "w1"}


async def until_closed(socket: ClientWebSocketResponse) -> tuple[int | None, str]:
    """Give the close code and the reason."""
    while True:
        message = await socket.receive(timeout=5)
        if message.type is WSMsgType.CLOSE:
            return message.data, message.extra or ""
        if message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return socket.close_code, ""


async def connected(client: ClientSession) -> ClientWebSocketResponse:
    """Give a socket that was welcomed."""
    socket: ClientWebSocketResponse = await client.ws_connect(CONNECT)
    await socket.send_json(HELLO)
    assert (await socket.receive_json(timeout=5))["t"] == "welcome"
    return socket


@pytest.mark.parametrize(
    ("first", "word"),
    [
        ('{"t":"ping"}', "must be hello"),
        ('{"t":"new kind"}', "must be hello"),
        ("no json", "malformed"),
        ('{"t":"hello","service_id":"asr"}', "worker_id"),
        ('{"t":"hello","service_id":"a#2","worker_id":"w"}', "service_id"),
        ('{"t":"hello","service_id":"agent:echo","worker_id":"w"}', "service_id"),
        ('{"t":"hello","service_id":"asr","worker_id":""}', "worker_id"),
        ('{"t":"hello","service_id":"asr","worker_id":"w","capacity":0}', "capacity"),
        ("[" * 60_000, ""),
    ],
)
async def test_a_first_frame_that_is_no_hello_is_refused(
    client: ClientSession, first: str, word: str
) -> None:
    async with client.ws_connect(CONNECT) as socket:
        await socket.send_str(first)
        code, reason = await until_closed(socket)
    assert code == 1008
    assert word in reason


async def test_who_says_nothing_is_closed(client: ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_sockets, "HELLO_S", 0.05)
    async with client.ws_connect(CONNECT) as socket:
        assert (await until_closed(socket))[0] == 1008


async def test_a_frame_that_cannot_be_read_ends_the_connection(client: ClientSession) -> None:
    for frame in ('{"t":"accept"}', "{", "[" * 60_000):
        socket = await connected(client)
        await socket.send_str(frame)
        code, reason = await until_closed(socket)
        assert (code, reason[:30]) == (1001, "a frame was not understood: " + reason[28:30])


async def test_frames_of_unknown_kinds_and_bytes_are_ignored(client: ClientSession) -> None:
    socket = await connected(client)
    await socket.send_str('{"t":"from the future","x":1}')
    await socket.send_bytes(b"\x00")
    await socket.send_json({"t": "ping"})
    assert (await socket.receive_json(timeout=5))["t"] == "pong"
    await socket.close()


async def test_a_frame_over_the_limit_closes_with_1009(client: ClientSession) -> None:
    socket = await connected(client)
    await socket.send_json({"t": "ping", "padding": "x" * MAX_FRAME_BYTES})
    assert (await until_closed(socket))[0] == 1009


async def test_a_newer_connection_of_the_same_worker_ends_the_older(client: ClientSession) -> None:
    first = await connected(client)
    second = await connected(client)
    assert await until_closed(first) == (1001, "this worker connected again")
    await second.send_json({"t": "ping"})
    assert (await second.receive_json(timeout=5))["t"] == "pong"
    await second.close()


async def test_a_worker_id_of_another_service_is_not_taken_over(world: World, client: ClientSession) -> None:
    first = await connected(client)
    async with client.ws_connect(CONNECT) as other:
        await other.send_json({**HELLO, "service_id": "tts"})
        code, reason = await until_closed(other)
    assert (code, reason) == (1008, "worker_id 'w1' is registered for service 'asr'; choose another")
    await first.send_json({"t": "ping"})
    assert (await first.receive_json(timeout=5))["t"] == "pong"
    assert [w.registration.service_id for w in world.registry.all()] == ["asr"]
    await first.close()


async def test_a_recorder_with_other_keys_is_refused_and_told_why(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.orchestrator.keys, "_open_ring", make_key_ring)
    recorder = {**HELLO, "service_id": "recorder", "metadata": {"signing_key_id": "0" * 16}}
    async with client.ws_connect(CONNECT) as socket:
        await socket.send_json(recorder)
        code, reason = await until_closed(socket)
    assert code == 1008
    assert reason.startswith(f"recorder signs with key {'0' * 16}, the orchestrator with ")
    assert reason.endswith(": give both the same keys")
    assert world.registry.all() == []


async def hold_job(world: World, client: ClientSession) -> tuple[ClientWebSocketResponse, SessionId]:
    """Have a pull worker that accepted a job."""
    session_id = SessionId((await world.create(client, required_services=["asr"]))["session_id"])
    socket = await connected(client)
    offer = await socket.receive_json(timeout=5)
    await socket.send_json({"t": "accept", "job_id": offer["job_id"], "attempt": offer["attempt"]})
    assert (await socket.receive_json(timeout=5))["t"] == "assign"
    return socket, session_id


def make_impatient(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a closed socket less time to come back."""
    for grace in ("_come_back_s", "_come_back_at_start_s"):
        monkeypatch.setattr(world.orchestrator.pull, grace, 0.01)


async def state_of(world: World, session_id: SessionId) -> JobState:
    return (await world.store.load(session_id)).jobs[0].state


async def test_the_jobs_of_a_closed_socket_are_offered_to_others(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(world, monkeypatch)
    socket, session_id = await hold_job(world, client)
    await socket.close()
    live = world.sessions.live
    await until(lambda: (s := live.get(session_id)) is not None and s.jobs[0].state is JobState.PENDING)


async def test_while_the_orchestrator_stops_workers_keep_their_jobs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_impatient(world, monkeypatch)
    async with ClientSession() as outlasting:
        async with world.running():
            async with ClientSession(world.url) as client:
                session_id = SessionId((await world.create(client, required_services=["asr"]))["session_id"])
            socket = await outlasting.ws_connect(world.url + CONNECT)
            await socket.send_json(HELLO)
            assert (await socket.receive_json(timeout=5))["t"] == "welcome"
            offer = await socket.receive_json(timeout=5)
            await socket.send_json({"t": "accept", "job_id": offer["job_id"], "attempt": 1})
            assert (await socket.receive_json(timeout=5))["t"] == "assign"
            leaving = asyncio.ensure_future(socket.receive_json(timeout=5))
        assert await leaving == {"t": "reconnect", "deadline": 1.0}
        assert (await asyncio.wait_for(until_closed(socket), 1))[0] == 1001
    await asyncio.sleep(0.05)  # longer than a closed socket has to come back
    assert await state_of(world, session_id) is JobState.ACCEPTED


class StuckSocket:
    """A socket whose worker does not read."""

    def __init__(self) -> None:
        self.closed: list[Any] = []
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    async def send_str(self, text: str) -> None:
        await asyncio.Event().wait()

    async def close(self, *, code: int, message: bytes) -> None:
        self.closed.append((code, message))


async def test_a_worker_that_does_not_read_is_cut_by_the_bound_of_its_line() -> None:
    socket = StuckSocket()
    line = SocketLine(socket, socket.abort)  # type: ignore[arg-type]
    for _ in range(300):
        line.send(Pong())
    await asyncio.wait_for(line.write(), 5)
    assert socket.aborted
    assert socket.closed == [(1001, b"it does not read its frames")]


async def test_a_send_that_takes_too_long_cuts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_sockets, "_SEND_S", 0.02)
    socket = StuckSocket()
    line = SocketLine(socket, socket.abort)  # type: ignore[arg-type]
    line.send(Pong())
    await asyncio.wait_for(line.write(), 5)
    assert socket.aborted
    assert socket.closed == [], "the worker would not read that either"


async def test_a_frame_of_exactly_the_limit_is_read(client: ClientSession) -> None:
    socket = await connected(client)
    empty = '{"t":"ping","padding":""}'
    await socket.send_str(empty[:-2] + "x" * (MAX_FRAME_BYTES - len(empty)) + '"}')
    assert (await socket.receive_json(timeout=5))["t"] == "pong"
    await socket.close()


async def test_a_long_reason_is_cut_between_letters(client: ClientSession) -> None:
    async with client.ws_connect(CONNECT) as socket:
        await socket.send_json({**HELLO, "service_id": "#" + "\u00e9" * 100})
        code, reason = await until_closed(socket)
    assert code == 1008
    assert "\u00e9" in reason


async def test_at_the_end_sockets_without_a_hello_are_closed_too(world: World) -> None:
    async with ClientSession() as outlasting:
        async with world.running():
            socket = await outlasting.ws_connect(world.url + CONNECT)
            closed = asyncio.ensure_future(until_closed(socket))
            await asyncio.sleep(0.05)
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 2
        assert await asyncio.wait_for(closed, 1) == (1001, "the orchestrator is going away")


async def test_a_worker_that_speaks_but_does_not_read_is_cut(world: World, client: ClientSession) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]), limit=1)
    writer.write(
        f"GET {CONNECT} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    writer.write(_masked(json.dumps(HELLO)))
    await until(lambda: world.registry.find(WorkerId("w1")) is not None)
    worker = world.registry.get(WorkerId("w1"))
    for _ in range(400):  # what it never reads fills its socket, then its line
        if worker.line is None:
            break
        for _ in range(20):
            worker.line.send(
                Offer(job_id="x" * 20_000, attempt=1, session_id="s", service_id="asr", room_name="r")
            )
        await asyncio.sleep(0.005)
    await until(lambda: worker.line is None, 2)
    writer.close()
    del reader


def _masked(text: str) -> bytes:
    """Write a text frame as a client does; a mask of zeros changes nothing."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text.encode()
