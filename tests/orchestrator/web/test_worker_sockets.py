"""The socket of pull workers: no hello, no frame or too large ends it; and when we stop, jobs are kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from orchestrator.core.ids import SessionId
from orchestrator.core.jobs import JobState
from orchestrator.web import worker_sockets
from orchestrator.web.worker_sockets import SocketLine
from sdk.wire import MAX_FRAME_BYTES, Pong
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
    async with world.running() as client:
        socket, session_id = await hold_job(world, client)
        closed = asyncio.ensure_future(until_closed(socket))
    await closed
    await asyncio.sleep(0.05)  # longer than a closed socket has to come back
    assert await state_of(world, session_id) is JobState.ACCEPTED


class StuckSocket:
    """A socket whose worker does not read."""

    def __init__(self) -> None:
        self.closed: list[Any] = []

    async def send_str(self, text: str) -> None:
        await asyncio.Event().wait()

    async def close(self, *, code: int, message: bytes) -> None:
        self.closed.append((code, message))


async def test_a_worker_that_does_not_read_is_cut_by_the_bound_of_its_line() -> None:
    socket = StuckSocket()
    line = SocketLine(socket)  # type: ignore[arg-type]
    for _ in range(300):
        line.send(Pong())
    await asyncio.wait_for(line.write(), 5)
    assert socket.closed == [(1001, b"it does not read its frames")]


async def test_a_send_that_takes_too_long_cuts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_sockets, "_SEND_S", 0.02)
    socket = StuckSocket()
    line = SocketLine(socket)  # type: ignore[arg-type]
    line.send(Pong())
    await asyncio.wait_for(line.write(), 5)
    assert socket.closed == [(1001, b"TimeoutError")]
