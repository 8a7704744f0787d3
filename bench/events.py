"""Event streams: 1,000 readers of 100 events a second, our feed beside the naive way and the machine's floor.

`shared` is the real application on uvloop over SQLite in a process of its own, one event a commit. `naive`
awaits `resp.write` for each reader in turn, over the same store. `floor` has no store and no HTTP: it writes
one frame to 1,000 connections, which is what the kernel takes for it. Rounds of the three alternate.

Latency is from the moment the commit is known (on the event loop) to the moment a reader has the frame, by
CLOCK_MONOTONIC, which all processes of a machine share. All readers read; every tenth looks at the clock, on
its own socket event, and the others are drained in slices, so that this process is not what is measured.
That every reader got every event once is checked for all. Source: performance.md.

    python bench/events.py [--readers 1000] [--rate 100] [--seconds 8] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any, ClassVar, Final, cast

import uvloop
from aiohttp import web

from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.adapters.system import SystemClock
from orchestrator.core.events import ClientJoined, Position
from orchestrator.core.grants import Grant
from orchestrator.core.ids import Identity, InstanceId, RoomName, SessionId
from orchestrator.core.session import Session
from orchestrator.core.step import Opening, open_session
from orchestrator.core.triggers import Participant
from orchestrator.ports import CallOutcome, Change, Notice, Room, Token
from orchestrator.service.feed import encode_frame, sse_frame
from orchestrator.settings import Settings
from orchestrator.web.app import build_app
from orchestrator.web.server import EdgeRunner
from orchestrator.wiring import Orchestrator, Parts

GOAL_P99_MS: Final = 10.0
GOAL_CPU: Final = 0.5  # of a core
MEASURED_EVERY: Final = 10
DRAIN_S: Final = 0.1
WAYS: Final = ("shared", "naive", "floor")
_ID: Final = re.compile(rb"id: \d+:(\d+)\n")


# --- the server ---


class Outside:
    """LiveKit, tokens and workers of a server whose sessions are never joined: nothing is asked of them."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def create_room(self, name: RoomName, session_id: SessionId) -> Room:
        raise NotImplementedError

    async def list_rooms(self, names: tuple[RoomName, ...] = ()) -> list[Room]:
        return []

    async def delete_room(self, name: RoomName) -> None: ...

    async def list_participants(self, name: RoomName) -> list[Participant]:
        return []

    async def remove_participant(self, name: RoomName, identity: Identity) -> None: ...

    def mint(self, grant: Grant) -> Token:
        raise NotImplementedError

    async def join_room(self, endpoint: str, request: object) -> CallOutcome:
        raise NotImplementedError

    async def leave_room(self, endpoint: str, request: object) -> CallOutcome:
        raise NotImplementedError

    async def is_healthy(self, endpoint: str) -> bool:
        return True

    def verify(self, body: bytes, authorization: str) -> Notice:
        raise NotImplementedError


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
        known_at[head] = time.monotonic_ns()
        for listener in listeners:
            listener(head)

    store = SqliteSessionStore(folder / "bench.db", clock=clock, instance_id=instance, on_commit=on_commit)
    await store.open()
    outside = Outside()
    parts = Parts(
        store=store,
        rooms=outside,
        tokens=outside,
        caller=outside,
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
        app = build_app(orchestrator.services(outside))
        listeners.append(orchestrator.feed.notify)
        running = asyncio.ensure_future(orchestrator.run())
    runner = EdgeRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    order = json.loads(await asyncio.to_thread(sys.stdin.readline))
    session = await begin_session(store, clock)
    known_at.clear()
    cpu, started = time.process_time(), time.perf_counter()
    for number in range(int(order["seconds"] * order["rate"])):
        await asyncio.sleep(max(0.0, started + number / order["rate"] - time.perf_counter()))
        session = await commit_one(store, session, number)
    took_s = time.perf_counter() - started
    cpu_share = (time.process_time() - cpu) / took_s
    print(json.dumps({"known_at": known_at, "cpu": cpu_share, "took_s": took_s}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # closed by the other side when it has read everything
    running.cancel()
    os._exit(0)  # the naive streams would be waited for


async def serve_floor() -> None:
    """Be the floor: print the port, wait for `go`, write at the asked rate, print what was measured."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", 0, backlog=2048)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    order = json.loads(await asyncio.to_thread(sys.stdin.readline))
    known_at: dict[int, int] = {}
    cpu, started = time.process_time(), time.perf_counter()
    for number in range(int(order["seconds"] * order["rate"])):
        await asyncio.sleep(max(0.0, started + number / order["rate"] - time.perf_counter()))
        data = f'{{"type":"ClientJoined","session_id":"{"0" * 36}","user_identity":"user-{number}"}}'
        frame = sse_frame("client_joined", data.encode(), position=Position(f"1795262400:{number}"))
        known_at[number] = time.monotonic_ns()
        for connection in Floor.connections:
            connection.write(frame)
    took_s = time.perf_counter() - started
    report = {"known_at": known_at, "cpu": (time.process_time() - cpu) / took_s, "took_s": took_s}
    print(json.dumps(report), flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def begin_session(store: SqliteSessionStore, clock: SystemClock) -> Session:
    """Commit a session, without its events, to write events of."""
    session_id = SessionId(clock.new_id())
    opening = Opening(
        session_id=session_id, room_name=RoomName(f"room-{session_id}"), user_identity=Identity("u")
    )
    session = open_session(opening, clock.now()).session
    await store.commit(Change(session=session))
    return session


async def commit_one(store: SqliteSessionStore, session: Session, number: int) -> Session:
    """Commit one event."""
    session = replace(session, version=session.version + 1, events=session.events + 1)
    event = ClientJoined(session_id=session.id, user_identity=f"user-{number}")
    await store.commit(Change(session=session, events=(event,)))
    return session


# --- the readers ---


@dataclass(slots=True, eq=False)
class BenchReader:
    """One connection; ``seen`` are (number, moment) of a measured one."""

    connection: socket.socket
    is_measured: bool
    count: int = 0
    seen: list[tuple[int, int]] = field(default_factory=list)
    rest: bytes = b""

    def read(self) -> None:
        """Take what is there."""
        try:
            data = self.connection.recv(262_144)
        except BlockingIOError:
            return
        now = time.monotonic_ns()
        data = self.rest + data
        end = data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0
        self.rest = data[end:]
        found = _ID.findall(data, 0, end)
        self.count += len(found)
        if self.is_measured:
            self.seen.extend((int(seq), now) for seq in found)


def connect(port: int, count: int) -> list[BenchReader]:
    """Open all streams and wait until each has begun."""
    readers = []
    for number in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        connection.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: bench\r\n\r\n")
        readers.append(BenchReader(connection, number % MEASURED_EVERY == 0))
    for reader in readers:
        begun = b""
        while b"\n\n" not in begun.partition(b"\r\n\r\n")[2]:
            begun += reader.connection.recv(65536)
        reader.connection.setblocking(False)
    return readers


def read_all(readers: list[BenchReader], expected: int, deadline: float) -> None:
    """Read until every reader has every event, or the deadline."""
    selector = selectors.DefaultSelector()
    others = [reader for reader in readers if not reader.is_measured]
    for reader in readers:
        if reader.is_measured:
            selector.register(reader.connection, selectors.EVENT_READ, reader)
    slices, turn = max(1, int(DRAIN_S / 0.002)), 0
    next_drain = time.monotonic()
    while time.monotonic() < deadline:
        for key, _ in selector.select(timeout=0.002):
            key.data.read()
        if time.monotonic() >= next_drain:  # a slice of the others, so that no drain takes long
            for reader in others[turn::slices]:
                reader.read()
            turn, next_drain = (turn + 1) % slices, time.monotonic() + DRAIN_S / slices
            if turn == 0 and all(reader.count >= expected for reader in readers):
                return


def measure(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one round of one way."""
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", way, "--folder", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port = json.loads(server.stdout.readline())["port"]
            readers = connect(port, options.readers)
            own_cpu, started = time.process_time(), time.monotonic()
            server.stdin.write(json.dumps({"seconds": options.seconds, "rate": options.rate}) + "\n")
            server.stdin.flush()
            expected = int(options.seconds * options.rate)
            read_all(readers, expected, started + 3 * options.seconds + 10)
            own_cpu = (time.process_time() - own_cpu) / (time.monotonic() - started)
            said = json.loads(server.stdout.readline())
        finally:
            server.kill()
            server.wait()
    known_at = {int(seq): at for seq, at in said["known_at"].items()}
    took = [(at - known_at[seq]) / 1e6 for reader in readers for seq, at in reader.seen if seq in known_at]
    for reader in readers:
        reader.connection.close()
    cuts = quantiles(took, n=1000)
    return {
        "p50_ms": cuts[499],
        "p99_ms": cuts[989],
        "p999_ms": cuts[998],
        "server_cpu": said["cpu"],
        "written_in_s": said["took_s"],
        "reader_cpu": own_cpu,
        "complete": sum(reader.count == expected for reader in readers),
    }


def main() -> int:
    """Run the rounds and report; exit 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=100, help="events a second, one a commit")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--serve", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve:
        uvloop.run(serve_floor() if options.serve == "floor" else serve(options.serve, options.folder))
        return 0
    rounds: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            rounds[way].append(measure(way, options))
            if not options.json:
                print(way.ljust(7), line(rounds[way][-1]), flush=True)
    result: dict[str, Any] = {
        way: {key: median(found[key] for found in rounds[way]) for key in rounds[way][0]} for way in WAYS
    }
    ours = result["shared"]
    result["ok"] = (
        ours["p99_ms"] <= GOAL_P99_MS
        and ours["server_cpu"] <= GOAL_CPU
        and all(found["complete"] == options.readers for found in rounds["shared"])
    )
    result["cpu_over_floor"] = ours["server_cpu"] / result["floor"]["server_cpu"]
    result |= {"readers": options.readers, "rate": options.rate, "rounds": rounds}
    if options.json:
        print(json.dumps(result))
    else:
        print(f"median of {options.rounds} rounds; goals: p99 {GOAL_P99_MS:g} ms, {GOAL_CPU:.0%} of a core")
        for way in WAYS:
            print(way.ljust(7), line(result[way]))
        print(f"the feed takes {result['cpu_over_floor']:.2f} times the CPU of the floor")
    return 0 if result["ok"] else 1


def line(found: dict[str, Any]) -> str:
    """Give one round's numbers for people."""
    return (
        f"p50 {found['p50_ms']:8.2f} ms  p99 {found['p99_ms']:8.2f} ms  p99.9 {found['p999_ms']:8.2f} ms  "
        f"server {found['server_cpu']:4.0%} of a core  (readers' process {found['reader_cpu']:.0%}, "
        f"{found['complete']:.0f} readers got everything)"
    )


if __name__ == "__main__":
    sys.exit(main())
