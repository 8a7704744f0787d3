"""The three servers that `bench/events.py` measures, each run as a process of its own: shared, naive, floor.

Each prints its port, waits for one line with the order (seconds, rate, per_commit), writes, prints what it
measured, and goes when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import uvloop
from aiohttp import web

from orchestrator.adapters.livekit_tokens import LivekitTokens
from orchestrator.adapters.livekit_webhooks import LivekitWebhookVerifier
from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.adapters.system import SystemClock
from orchestrator.core.events import ClientJoined, Position
from orchestrator.core.ids import Identity, InstanceId, RoomName, SessionId
from orchestrator.core.session import Session
from orchestrator.core.step import Opening, open_session
from orchestrator.ports import Change
from orchestrator.service.feed import encode_frame, sse_frame
from orchestrator.settings import Settings
from orchestrator.web.app import build_app
from orchestrator.web.server import EdgeRunner
from orchestrator.wiring import Orchestrator, Parts
from tests.fakes.receivers import FakeSender
from tests.fakes.rooms import FakeRooms
from tests.fakes.workers import FakeCaller

KEY, SECRET = "bench", "a-secret-of-benches-with-32-letters-or-more"


class Floor(asyncio.Protocol):
    """A connection to which frames are written as they are."""

    connections: ClassVar[list[asyncio.Transport]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.connections.append(cast(asyncio.Transport, transport))  # uvloop's is none by name
        self.connections[-1].write(b"HTTP/1.1 200 OK\r\n\r\n: here\n\n")


class NaiveStreams:
    """The way that comes to mind: wait for every reader in turn."""

    def __init__(self, store: SqliteSessionStore) -> None:
        self._store = store
        self._readers: list[web.StreamResponse] = []
        self._wake = asyncio.Event()

    def notify(self, head: int) -> None:
        self._wake.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": here\n\n")
        self._readers.append(response)
        await asyncio.Event().wait()
        return response

    async def run(self) -> None:
        after = (await self._store.feed_after(2**60, session_id=None, limit=1)).head_seq
        while True:
            await self._wake.wait()
            self._wake.clear()
            page = await self._store.feed_after(after, session_id=None, limit=256)
            for event in page.events:
                frame = encode_frame(page.generation, event).data
                for reader in self._readers:
                    await reader.write(frame)
                after = event.seq


async def serve(way: str, folder: Path) -> None:
    """Be the server: print the port, wait for `go`, commit at the asked rate, print what was measured."""
    clock, instance = SystemClock(), InstanceId("bench")
    known_at: dict[int, int] = {}
    listeners: list[Any] = []

    def on_commit(head: int) -> None:
        first = max(known_at, default=head - 1) + 1
        known_at.update(dict.fromkeys(range(first, head + 1), time.monotonic_ns()))
        for listener in listeners:
            listener(head)

    store = SqliteSessionStore(folder / "bench.db", clock=clock, instance_id=instance, on_commit=on_commit)
    await store.open()
    # Its sessions are never joined: LiveKit and workers are those of the tests.
    parts = Parts(
        store=store,
        catalog=store.catalog,
        rooms=FakeRooms(deployment_id=await store.deployment_id()),
        tokens=LivekitTokens(api_key=KEY, api_secret=SECRET, ttl_s=300),
        caller=FakeCaller(),
        webhooks=store.webhooks,
        sender=FakeSender(),
        clock=clock,
        instance=instance,
        connect_url="ws://127.0.0.1:1",
    )
    orchestrator = Orchestrator(parts, Settings())
    await orchestrator.open()
    naive = NaiveStreams(store)
    if way == "naive":
        app = web.Application()
        app.router.add_get("/api/v1/events", naive.serve)
        listeners.append(naive.notify)
        running = asyncio.ensure_future(naive.run())
    else:
        app = build_app(orchestrator.services(LivekitWebhookVerifier(KEY, SECRET)))
        listeners.append(orchestrator.feed.notify)
        running = asyncio.ensure_future(orchestrator.run())
    runner = EdgeRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    order = json.loads(await asyncio.to_thread(sys.stdin.readline))
    session = await begin_session(store, clock)
    known_at.clear()
    per_commit = order["per_commit"]
    known_at[(await store.feed_after(2**60, session_id=None, limit=1)).head_seq] = 0
    cpu, started = os.times(), time.perf_counter()
    for number in range(0, expected_of(order), per_commit):
        await asyncio.sleep(max(0.0, started + number / order["rate"] - time.perf_counter()))
        session = await commit_events(store, session, range(number, number + per_commit))
    print(json.dumps({"known_at": known_at, **spent_since(cpu, started)}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # closed by the other side when it has read everything
    running.cancel()
    os._exit(0)  # the naive streams would be waited for


async def serve_floor() -> None:
    """Be the floor: print the port, wait for `go`, write at the asked rate, print what was measured."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", 0, backlog=2048)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    order = json.loads(await asyncio.to_thread(sys.stdin.readline))
    known_at: dict[int, int] = {}
    cpu, started = os.times(), time.perf_counter()
    per_commit = order["per_commit"]
    for number in range(0, expected_of(order), per_commit):
        await asyncio.sleep(max(0.0, started + number / order["rate"] - time.perf_counter()))
        frames = b"".join(floor_frame(n) for n in range(number, number + per_commit))
        known_at.update(dict.fromkeys(range(number, number + per_commit), time.monotonic_ns()))
        for connection in Floor.connections:
            connection.write(frames)
    print(json.dumps({"known_at": known_at, **spent_since(cpu, started)}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # closed by the other side when it has read everything


def floor_frame(number: int) -> bytes:
    """Give a frame as large as the feed's."""
    data = f'{{"type":"ClientJoined","session_id":"{"0" * 36}","user_identity":"user-{number}"}}'
    return sse_frame("client_joined", data.encode(), position=Position(f"1795262400:{number}"))


def spent_since(cpu: os.times_result, started: float) -> dict[str, float]:
    """Give the shares of a core that this process took, and the seconds."""
    took_s, now = time.perf_counter() - started, os.times()
    user, system = now.user - cpu.user, now.system - cpu.system
    return {"server_cpu": (user + system) / took_s, "kernel_cpu": system / took_s, "written_in_s": took_s}


async def begin_session(store: SqliteSessionStore, clock: SystemClock) -> Session:
    """Commit a session, without its events, to write events of."""
    session_id = SessionId(clock.new_id())
    opening = Opening(
        session_id=session_id, room_name=RoomName(f"room-{session_id}"), user_identity=Identity("u")
    )
    session = open_session(opening, clock.now()).session
    await store.commit(Change(session=session))
    return session


async def commit_events(store: SqliteSessionStore, session: Session, numbers: range) -> Session:
    """Commit so many events."""
    session = replace(session, version=session.version + 1, events=session.events + len(numbers))
    events = tuple(ClientJoined(session_id=session.id, user_identity=f"user-{n}") for n in numbers)
    await store.commit(Change(session=session, events=events))
    return session


def expected_of(order: dict[str, Any]) -> int:
    """Give how many events are written: whole commits."""
    events, per_commit = int(order["seconds"] * order["rate"]), int(order["per_commit"])
    return events - events % per_commit


if __name__ == "__main__":
    way, folder = sys.argv[1], Path(sys.argv[2])
    uvloop.run(serve_floor() if way == "floor" else serve(way, folder))
