"""From the request to the worker that has the job: a pull worker of ours, and LiveKit's own agent dispatch.

Ours is create-session with one required service, from the request to the worker's `assign`: a durable
session, a room, a counted attempt, an offer and its acceptance. LiveKit's is CreateDispatch into a room that
is there already, until the agent is asked (`asked`, what counts here) and until its entrypoint begins
(`begun`). Neither joins. Both use the same livekit-server; the rounds take turns, one request after the other
and 100 at once.

    python -m bench.dispatch [--rounds 5] [--calls 30] [--at-once 100] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final
from uuid import uuid4

import aiohttp
import uvloop
from livekit import api

from greenroom import free_ports
from greenroom.media_binary import LIVEKIT_VERSION
from greenroom.media_server import MediaServer, clean_environment, prepare
from scripts.agents_environment import LOCK, ensure
from sdk.wire import (
    Accept,
    Assign,
    Hello,
    Leave,
    Offer,
    Ping,
    Report,
    decode_orchestrator_frame,
    encode_frame,
)

ROOT: Final = Path(__file__).resolve().parent.parent
AGENT: Final = ROOT / "tests" / "integration" / "agent.py"
STAY_OUT: Final = "stay out"  # what the agent ends its job for at once
ARRIVE_S: Final = 60.0  # a job that has not arrived by then is lost
SETTLE_S: Final = 3.0  # after LiveKit's cells: what it still does for 100 ended jobs slows its next dispatch
WARM_UP: Final = 5
GOAL_P50: Final = 1 / 20  # of LiveKit's
GOAL_P99: Final = 1 / 8


@dataclass(slots=True)
class Arrivals:
    """When what arrived at a worker's process, by kind and job (ours) or room (LiveKit's)."""

    at: dict[tuple[str, str], float] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    log: list[str] = field(default_factory=list)

    async def read(self, lines: asyncio.StreamReader) -> None:
        """Take the process's lines until it ends."""
        async for raw in lines:
            line = raw.decode(errors="replace")
            if line.startswith('{"at"'):
                said = json.loads(line)
                self.at.setdefault((said["what"], said["key"]), said["at"])
            else:
                self.log.append(line)
            self.changed.set()

    async def until(self, condition: Callable[[], bool], within_s: float) -> bool:
        """Wait until something holds, or the time is over."""
        deadline = time.monotonic() + within_s
        while not condition():
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), deadline - time.monotonic())
            except TimeoutError:
                return condition()
        return True


@asynccontextmanager
async def process(*argv: str, **environment: str) -> AsyncIterator[Arrivals]:
    """Run a worker's process, and read what it says."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        cwd=ROOT,
        env={**clean_environment(os.environ), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    arrivals = Arrivals()
    reading = asyncio.gather(arrivals.read(child.stdout), arrivals.read(child.stderr))
    try:
        yield arrivals
    finally:
        child.kill()  # an agent would wait for its jobs
        await child.wait()
        await reading


async def serve_worker(url: str) -> None:
    """Be a pull worker that takes every job and says when it has it."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/api/v1/workers/connect") as socket:
        await socket.send_str(encode_frame(Hello(service_id="echo", worker_id="echo-1", capacity=None)))

        async def beat() -> None:
            while True:
                await asyncio.sleep(2)
                await socket.send_str(encode_frame(Ping()))

        beating = asyncio.create_task(beat())
        async for message in socket:
            frame = decode_orchestrator_frame(message.data)
            if isinstance(frame, Offer):
                await socket.send_str(encode_frame(Accept(job_id=frame.job_id, attempt=frame.attempt)))
            elif isinstance(frame, Assign):
                line = {"at": time.monotonic(), "what": "assign", "key": frame.job_id}
                print(json.dumps(line), flush=True)
            elif isinstance(frame, Leave):
                done = Report(job_id=frame.job_id, attempt=frame.attempt, state="done")
                await socket.send_str(encode_frame(done))
        beating.cancel()


class Greenroom:
    """Asks the orchestrator for sessions."""

    def __init__(self, url: str, http: aiohttp.ClientSession, arrivals: Arrivals) -> None:
        self._url = url
        self._http = http
        self._arrivals = arrivals
        self._open: list[str] = []

    async def registered(self) -> None:
        """Wait until the worker can be asked."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                async with self._http.get(f"{self._url}/api/v1/microservices") as answer:
                    if '"echo"' in await answer.text():
                        return
            except aiohttp.ClientError:
                pass  # it is still starting
            await asyncio.sleep(0.05)
        raise RuntimeError(f"the worker did not register: {self._arrivals.log[-5:]}")

    async def ask(self) -> dict[str, float]:
        """Ask for one session; gives the milliseconds until its job was with the worker."""
        body = {"user_identity": "anna", "required_services": ["echo"]}
        started = time.monotonic()
        async with self._http.post(f"{self._url}/api/v1/create-session", json=body) as answer:
            created = await answer.json()
            assert answer.status == 200, created
        self._open.append(created["session_id"])
        key = ("assign", f"{created['session_id']}-1")
        arrived = await self._arrivals.until(lambda: key in self._arrivals.at, ARRIVE_S)
        return {"assign": (self._arrivals.at[key] - started) * 1000} if arrived else {}

    async def rest(self) -> None:
        """End what was asked for, so that the next cell meets an idle server."""
        urls = [f"{self._url}/api/v1/sessions/{session_id}" for session_id in self._open]
        for url in urls:
            async with self._http.post(f"{url}/terminate", json={}) as answer:
                await answer.read()
        for url in urls:
            async with asyncio.timeout(60):
                while await self._status(url) != "Terminated":  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(0.05)
        self._open.clear()

    async def _status(self, url: str) -> str:
        async with self._http.get(url) as answer:
            return str((await answer.json())["room_status"])


class LiveKit:
    """Asks LiveKit for dispatches."""

    def __init__(self, livekit: api.LiveKitAPI, arrivals: Arrivals) -> None:
        self._livekit = livekit
        self._arrivals = arrivals
        self._free: list[str] = []
        self._used: list[str] = []

    async def make_rooms(self, count: int) -> None:
        """Make rooms ahead: only the dispatch is measured."""
        for _ in range(count):
            name = f"bench-{uuid4()}"
            await self._livekit.room.create_room(api.CreateRoomRequest(name=name, empty_timeout=600))
            self._free.append(name)

    async def ask(self) -> dict[str, float]:
        """Ask for one dispatch; gives the milliseconds until the agent was asked, and until it began."""
        room = self._free.pop()
        self._used.append(room)
        request = api.CreateAgentDispatchRequest(agent_name="echo", room=room, metadata=STAY_OUT)
        started = time.monotonic()
        await self._livekit.agent_dispatch.create_dispatch(request)
        at = self._arrivals.at
        await self._arrivals.until(lambda: ("begun", room) in at, ARRIVE_S)
        return {what: (at[what, room] - started) * 1000 for what in ("asked", "begun") if (what, room) in at}

    async def rest(self) -> None:
        """Delete the rooms that were used."""
        for room in self._used:
            await self._livekit.room.delete_room(api.DeleteRoomRequest(room=room))
        self._used.clear()
        await asyncio.sleep(SETTLE_S)


Found = dict[str, list[float]]


async def cell(ask: Callable[[], Awaitable[dict[str, float]]], *, calls: int, is_at_once: bool) -> Found:
    """Ask so many times; gives the milliseconds by kind."""
    if is_at_once:
        answers = await asyncio.gather(*(ask() for _ in range(calls)))
    else:
        answers = [await ask() for _ in range(calls)]
    found: Found = {}
    for answer in answers:
        for what, took in answer.items():
            found.setdefault(what, []).append(took)
    return found


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all rounds; gives the summary of each cell."""
    loads: dict[str, list[Found]] = {"sequential": [], "at_once": []}
    sizes = {"sequential": options.calls, "at_once": options.at_once}
    with tempfile.TemporaryDirectory() as name:
        port = free_ports.free_port()
        url = f"http://127.0.0.1:{port}"
        setup = prepare(Path(name), webhook_urls=[f"{url}/api/v1/livekit/webhook"])
        with MediaServer(setup) as media:
            keys = {
                "LIVEKIT_URL": media.url,
                "LIVEKIT_SERVER_URL": media.url,
                "LIVEKIT_API_KEY": media.api_key,
                "LIVEKIT_API_SECRET": media.api_secret,
            }
            ours = {
                "SERVER_PORT": str(port),
                "STORE_URL": f"sqlite:///{name}/greenroom.db",
                "LOG_LEVEL": "warning",
                "CONFIG_PATH": "",
            }
            limit = aiohttp.TCPConnector(limit=0)
            async with (
                process(sys.executable, "-m", "orchestrator", **keys, **ours),
                process(str(ensure()), str(AGENT), "echo", "start", **keys, PYTHONPATH="") as agent,
                api.LiveKitAPI(media.url, media.api_key, media.api_secret) as livekit,
                aiohttp.ClientSession(connector=limit) as http,
            ):
                assert await agent.until(lambda: any("registered worker" in x for x in agent.log), 30)
                await until_up(http, url)
                async with process(sys.executable, "-m", "bench.dispatch", "--serve-worker", url) as worker:
                    greenroom = Greenroom(url, http, worker)
                    peer = LiveKit(livekit, agent)
                    await greenroom.registered()
                    await peer.make_rooms(WARM_UP)
                    for ask in (greenroom.ask, peer.ask):
                        await cell(ask, calls=WARM_UP, is_at_once=False)
                    for number in range(options.rounds):
                        for load, rounds in loads.items():
                            await peer.make_rooms(sizes[load])
                            rounds.append({})
                            for who in (greenroom, peer):
                                found = await cell(who.ask, calls=sizes[load], is_at_once=load == "at_once")
                                await who.rest()
                                rounds[-1].update(found)
                                for what, took in found.items():
                                    say_round(number, load, what, took)
    return {load: summary(rounds, sizes[load]) for load, rounds in loads.items()}


async def until_up(http: aiohttp.ClientSession, url: str) -> None:
    """Wait for the orchestrator's first answer."""
    deadline = time.monotonic() + 20
    while True:
        try:
            async with http.get(f"{url}/health"):
                return
        except aiohttp.ClientError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def say_round(number: int, load: str, what: str, took: list[float]) -> None:
    """Say how a round went, to whoever waits."""
    p50, p99 = cuts(took)
    line = f"  round {number + 1}, {load:<10} {what:<6} p50 {p50:8.2f} ms  p99 {p99:8.2f} ms  ({len(took)})"
    print(line, file=sys.stderr)


def cuts(took: list[float]) -> tuple[float, float]:
    """Give p50 and p99."""
    found = quantiles(took, n=100, method="inclusive")
    return found[49], found[98]


def summary(rounds: list[Found], asked: int) -> dict[str, Any]:
    """Give medians over the rounds, the worst round, and the median of each round's ratio to LiveKit."""
    out: dict[str, Any] = {}
    of_rounds = [{what: cuts(took) for what, took in found.items()} for found in rounds]
    for what in ("assign", "asked", "begun"):
        found = [of_round[what] for of_round in of_rounds]
        out[what] = {
            "p50_ms": round(median(p50 for p50, _ in found), 2),
            "p99_ms": round(median(p99 for _, p99 in found), 2),
            "worst_p99_ms": round(max(p99 for _, p99 in found), 2),
            "lost": sum(asked - len(took[what]) for took in rounds),
        }
    for index, cut in enumerate(("p50", "p99")):
        ratios = [of_round["assign"][index] / of_round["asked"][index] for of_round in of_rounds]
        out[f"{cut}_ratio"] = round(median(ratios), 4)
    out["ok"] = out["p50_ratio"] <= GOAL_P50 and out["p99_ratio"] <= GOAL_P99 and out["assign"]["lost"] == 0
    return out


def main() -> int:
    """Measure and print; exit 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=30, help="one after the other, in each round")
    parser.add_argument("--at-once", type=int, default=100, help="in each round")
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    parser.add_argument("--serve-worker", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_worker:
        uvloop.run(serve_worker(options.serve_worker))
        return 0
    agents = re.search(r"^livekit-agents==(\S+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    peers = f"livekit-server {LIVEKIT_VERSION}, livekit-agents {agents[1] if agents else '?'}"
    result = uvloop.run(measure(options))
    is_ok = all(found["ok"] for found in result.values())
    if options.json:
        rest = {"rounds": options.rounds, "cores": os.cpu_count(), "peers": peers, "ok": is_ok}
        print(json.dumps({**result, **rest}))
        return 0 if is_ok else 1
    print(f"{os.cpu_count()} cores shared by all; {peers}; {options.rounds} rounds")
    for load, found in result.items():
        for what in ("assign", "asked", "begun"):
            row = found[what]
            print(
                f"{load:<10} {what:<6} p50 {row['p50_ms']:8.2f} ms  p99 {row['p99_ms']:8.2f} ms"
                f" (worst round {row['worst_p99_ms']:.2f} ms), {row['lost']} lost"
            )
        print(
            f"{load:<10} ours is {found['p50_ratio']:.4f} of LiveKit's p50 (goal {GOAL_P50:g}) and"
            f" {found['p99_ratio']:.4f} of its p99 (goal {GOAL_P99:g}): {'met' if found['ok'] else 'missed'}"
        )
    return 0 if is_ok else 1


if __name__ == "__main__":
    sys.exit(main())
