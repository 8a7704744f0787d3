"""create-session, durable, against the floor: a bare handler that does CreateRoom and signs a token.

Both are aiohttp on uvloop, in a process of their own, asked by the same client over kept connections. The
bare handler has no auth, no checks, no state, no log: it is what the call costs when nothing is promised.
Rounds alternate between the two; every cell has a fresh media server, because idle rooms cost LiveKit CPU.
`service` asks for one required service, which a pull worker in a process of its own takes at once.
The disk's own fsync is measured beside them, in the same run. Source: performance.md.

    python bench/create_session.py [--rounds 5] [--calls 300] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp import web

from greenroom import free_ports
from greenroom.media_server import MediaServer, prepare
from sdk.wire import Accept, Hello, Offer, Ping, decode_orchestrator_frame, encode_frame

HERE: Final = Path(__file__).parent
WARM_UP: Final = 40
GOAL_P50: Final = 1.6  # of the floor's, at 1 and at 16 callers
GOAL_P99: Final = 2.0
GOAL_SERVICE: Final = 1.15  # p50 with one required service, of that without


@dataclass(frozen=True, slots=True)
class Cell:
    """Latencies of one cell, milliseconds."""

    p50: float
    p99: float


async def ask(port: int, body: bytes, path: str, *, calls: int, callers: int) -> list[float]:
    """POST ``body`` over kept connections; give every call's milliseconds."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    took: list[float] = []
    left = calls

    async def caller() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            started = time.perf_counter()
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the server answered {answer[:60]!r}")
            length = next(
                int(line.split(b":")[1])
                for line in answer.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            await reader.readexactly(length)
            took.append((time.perf_counter() - started) * 1000)
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())
    return took


def serve_bare(port: int) -> None:
    """Be the floor: CreateRoom over a kept connection, admin token signed once, and a client token."""
    import aiohttp
    from livekit import api
    from livekit.protocol.room import CreateRoomRequest

    url = os.environ["LIVEKIT_SERVER_URL"].replace("ws", "http", 1) + "/twirp/livekit.RoomService/CreateRoom"
    key, secret = os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"]
    admin = api.AccessToken(key, secret).with_grants(api.VideoGrants(room_create=True)).to_jwt()
    headers = {"Authorization": f"Bearer {admin}", "Content-Type": "application/protobuf"}

    async def create(request: web.Request) -> web.Response:
        name = f"room-{os.urandom(16).hex()}"
        await request.read()
        async with request.app["http"].post(
            url, data=CreateRoomRequest(name=name).SerializeToString(), headers=headers
        ) as answer:
            assert answer.status == 200
            await answer.read()
        grants = api.VideoGrants(room_join=True, room=name)
        token = api.AccessToken(key, secret).with_identity("anna").with_grants(grants).to_jwt()
        return web.json_response({"room_name": name, "access_token": token})

    async def http(app: web.Application) -> Any:
        app["http"] = aiohttp.ClientSession()
        yield
        await app["http"].close()

    app = web.Application()
    app.router.add_post("/create", create)
    app.cleanup_ctx.append(http)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=lambda *_: None)


async def until_up(port: int) -> None:
    """Wait for a server's first answer."""
    deadline = time.monotonic() + 20
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


async def serve_worker(url: str) -> None:
    """Be a pull worker that takes every job; it joins nothing, so that LiveKit's cost stays the same."""
    import aiohttp

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
        beating.cancel()


async def until_registered(port: int) -> None:
    """Wait until the worker's service has somebody."""
    deadline = time.monotonic() + 20
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/v1/microservices HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        if b'"echo"' in answer:
            return
        if time.monotonic() > deadline:
            raise RuntimeError("the worker did not register")
        await asyncio.sleep(0.05)


async def cell(variant: str, folder: Path, *, calls: int, callers: int) -> Cell:
    """Measure one variant on a media server of its own."""
    port = free_ports.free_port()
    webhook = f"http://127.0.0.1:{port}/api/v1/livekit/webhook"
    with MediaServer(prepare(folder, webhook_urls=[webhook] if variant != "bare" else [])) as media:
        environment = {
            **os.environ,
            "LIVEKIT_SERVER_URL": media.url,
            "LIVEKIT_API_KEY": media.api_key,
            "LIVEKIT_API_SECRET": media.api_secret,
            "SERVER_PORT": str(port),
            "STORE_URL": f"sqlite:///{folder / 'greenroom.db'}",
            "LOG_LEVEL": "warning",
            "CONFIG_PATH": "",
        }
        argv = (
            [sys.executable, __file__, "--serve-bare", str(port)]
            if variant == "bare"
            else [sys.executable, "-m", "orchestrator"]
        )
        server = subprocess.Popen(argv, env=environment, cwd=HERE.parent)
        worker = None
        try:
            await until_up(port)
            body: dict[str, Any] = {"user_identity": "anna", "required_services": []}
            if variant == "service":
                argv = [sys.executable, __file__, "--serve-worker", f"http://127.0.0.1:{port}"]
                worker = subprocess.Popen(argv, cwd=HERE.parent)
                await until_registered(port)
                body["required_services"] = ["echo"]
            path = "/create" if variant == "bare" else "/api/v1/create-session"
            encoded = json.dumps(body).encode()
            await ask(port, encoded, path, calls=WARM_UP, callers=callers)
            took = sorted(await ask(port, encoded, path, calls=calls, callers=callers))
            return Cell(statistics.median(took), took[int(len(took) * 0.99)])
        finally:
            if worker is not None:
                worker.terminate()
                worker.wait(timeout=15)
            server.terminate()
            server.wait(timeout=15)


def fsync_ms(folder: Path, *, writes: int = 300) -> Cell:
    """Measure the disk: 12 kB appended and fsynced."""
    took = []
    with (folder / "fsync-probe").open("wb", buffering=0) as file:
        for _ in range(writes):
            started = time.perf_counter()
            file.write(b"x" * 12_288)
            os.fsync(file.fileno())
            took.append((time.perf_counter() - started) * 1000)
    took.sort()
    return Cell(statistics.median(took), took[int(len(took) * 0.99)])


async def measure(*, rounds: int, calls: int) -> dict[str, Any]:
    """Run all cells, interleaved."""
    result: dict[str, Any] = {"rounds": rounds, "calls": calls, "callers": {}}
    with tempfile.TemporaryDirectory() as name:
        disk = fsync_ms(Path(name))
        result["fsync_ms"] = {"p50": round(disk.p50, 3), "p99": round(disk.p99, 3)}
        for callers in (1, 16):
            cells: dict[str, list[Cell]] = {"bare": [], "plain": [], "service": []}
            for number in range(rounds):
                for variant, found in cells.items():
                    folder = Path(name) / f"{callers}-{number}-{variant}"
                    folder.mkdir()
                    count = calls if callers == 1 else calls * 4
                    found.append(await cell(variant, folder, calls=count, callers=callers))
                    print(
                        f"  {callers:>2} callers, round {number + 1}, {variant:<8}"
                        f" p50 {found[-1].p50:6.2f} ms  p99 {found[-1].p99:6.2f} ms",
                        file=sys.stderr,
                    )
            result["callers"][str(callers)] = summary(cells)
    return result


def summary(cells: dict[str, list[Cell]]) -> dict[str, Any]:
    """Give medians over the rounds, and the median of each round's ratio to its own floor."""
    out: dict[str, Any] = {}
    for variant, found in cells.items():
        out[variant] = {
            "p50_ms": round(statistics.median(c.p50 for c in found), 3),
            "p99_ms": round(statistics.median(c.p99 for c in found), 3),
        }
        if variant != "bare":
            pairs = list(zip(found, cells["bare"], strict=True))
            out[variant]["p50_ratio"] = round(statistics.median(c.p50 / f.p50 for c, f in pairs), 2)
            out[variant]["p99_ratio"] = round(statistics.median(c.p99 / f.p99 for c, f in pairs), 2)
    pairs = list(zip(cells["service"], cells["plain"], strict=True))
    out["service"]["of_plain"] = round(statistics.median(c.p50 / f.p50 for c, f in pairs), 2)
    plain = out["plain"]
    out["ok"] = (
        plain["p50_ratio"] <= GOAL_P50
        and plain["p99_ratio"] <= GOAL_P99
        and out["service"]["of_plain"] <= GOAL_SERVICE
    )
    return out


def main() -> int:
    """Measure and print; exit 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=300, help="per cell at one caller; four times at 16")
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    parser.add_argument("--serve-bare", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--serve-worker", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_worker:
        uvloop.run(serve_worker(options.serve_worker))
        return 0
    if options.serve_bare:
        serve_bare(options.serve_bare)
        return 0
    result = uvloop.run(measure(rounds=options.rounds, calls=options.calls))
    result["ok"] = all(found["ok"] for found in result["callers"].values())
    if options.json:
        print(json.dumps(result))
        return 0 if result["ok"] else 1
    print(f"disk: 12 kB + fsync p50 {result['fsync_ms']['p50']} ms, p99 {result['fsync_ms']['p99']} ms")
    for callers, found in result["callers"].items():
        print(f"{callers} caller(s): bare p50 {found['bare']['p50_ms']} ms, p99 {found['bare']['p99_ms']} ms")
        for variant, what in (("plain", "create-session"), ("service", "with one required service")):
            row = found[variant]
            print(
                f"  {what}: p50 {row['p50_ms']} ms = {row['p50_ratio']} x, "
                f"p99 {row['p99_ms']} ms = {row['p99_ratio']} x"
            )
        print(f"  with the service {found['service']['of_plain']} x without: {_verdict(found['ok'])}")
    print(f"goals: p50 {GOAL_P50} x, p99 {GOAL_P99} x the floor, with a service {GOAL_SERVICE} x without")
    return 0 if result["ok"] else 1


def _verdict(is_ok: bool) -> str:
    return "met" if is_ok else "missed"


if __name__ == "__main__":
    sys.exit(main())
