"""What the embedded engine costs beside livekit-server: CPU of the forwarding server, and time of joins.

One participant publishes 720p30 H.264 at 1.7 Mb/s, pre-encoded, and Opus; 1, 2 and 4 subscribe by LiveKit's
SDK. The CPU is that of the server's process, user and system, while all of them see: a cell counts only when
each decoded 95 of 100 pictures. Then 20 join a room at once. Servers are fresh in every cell and take turns.
Source: dev-engine.md; the goals are issue 6's.

    python -m bench.engine [--seconds S] [--rounds R] [--subscribers N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final, get_args

from livekit import api

from greenroom.embedded_engine import MediaEngine
from greenroom.media_server import MediaServer, prepare

PUBLISHER: Final = "bench._record_cells"
CLIENTS: Final = "bench._engine_clients"
ROOT: Final = Path(__file__).parent.parent
ENGINES: Final[tuple[MediaEngine, ...]] = get_args(MediaEngine)
ROOM: Final = "bench"
SUBSCRIBERS: Final = (1, 2, 4)
JOINS: Final = 20
FPS: Final = 30
LEAST_SEEN: Final = 0.95  # of the pictures that were sent
BEFORE_S: Final = 25.0  # for joins and the first pictures, so long the publisher goes on
CELL_S: Final = 120.0
GOAL_CPU: Final = 1.2  # times the real server's
GOAL_JOINS: Final = 1.0


class CellError(Exception):
    """A cell measured nothing that counts; the message says what went wrong."""


def cpu_of(server: MediaEngine, subscribers: int, folder: Path, *, seconds: float) -> float:
    """Measure one cell; give the server's CPU seconds in each second."""
    with MediaServer(prepare(folder, engine=server)) as media:
        asyncio.run(_create(media))
        (folder / "clip").symlink_to(folder.parent / "clip")
        publisher = _start(
            PUBLISHER,
            "publish",
            media,
            ["camera"],
            seconds=seconds + BEFORE_S,
            more=("--folder", str(folder)),
        )
        names = [f"viewer-{number}" for number in range(subscribers)]
        watching = _start(CLIENTS, "watch", media, names, seconds=seconds)
        try:
            assert watching.stdout is not None
            if watching.stdout.readline() != "ready\n":
                raise CellError(f"{server}: the pictures did not come to {subscribers} subscribers")
            time.sleep(1)
            used, began = _cpu_s(media.pid), time.monotonic()
            time.sleep(seconds)
            cpu = (_cpu_s(media.pid) - used) / (time.monotonic() - began)
            rates = json.loads(watching.communicate(timeout=CELL_S)[0].splitlines()[-1])["pictures_per_s"]
        finally:
            for process in (watching, publisher):
                process.kill()
                process.wait()
    if min(rates) < LEAST_SEEN * FPS:
        raise CellError(f"{server}: a subscriber saw {min(rates):.1f} pictures a second, not {FPS}")
    return cpu


def joins_of(server: MediaEngine, folder: Path) -> float:
    """Give the seconds until the last of 20 is in."""
    with MediaServer(prepare(folder, engine=server)) as media:
        asyncio.run(_create(media))
        joining = _start(CLIENTS, "join", media, [f"guest-{number}" for number in range(JOINS)], seconds=0)
        out, _ = joining.communicate(timeout=CELL_S)
        if joining.returncode:
            raise CellError(f"{server}: {JOINS} could not join at once")
        return float(json.loads(out.splitlines()[-1])["joined_s"])


async def _create(media: MediaServer) -> None:
    async with api.LiveKitAPI(media.url.replace("ws", "http", 1), media.api_key, media.api_secret) as lk:
        await lk.room.create_room(api.CreateRoomRequest(name=ROOM, empty_timeout=60))


def _start(
    module: str,
    role: str,
    media: MediaServer,
    names: list[str],
    *,
    seconds: float,
    more: tuple[str, ...] = (),
) -> subprocess.Popen[str]:
    grants = api.VideoGrants(room_join=True, room=ROOM)
    tokens = [
        api.AccessToken(media.api_key, media.api_secret).with_identity(name).with_grants(grants).to_jwt()
        for name in names
    ]
    return subprocess.Popen(
        [sys.executable, "-m", module, role, "--url", media.url, "--seconds", str(seconds), *more],
        env={**os.environ, "BENCH_TOKENS": " ".join(tokens)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _cpu_s(pid: int) -> float:
    """CPU that a process has used, all its threads, user and system. Source: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(*, subscribers: tuple[int, ...], seconds: float, rounds: int) -> dict[str, Any]:
    """Run all cells, the servers in turns; give the medians and their ratios."""
    cpu: dict[tuple[int, MediaEngine], list[float]] = {}
    joins: dict[MediaEngine, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", PUBLISHER, "clip", "--folder", name], cwd=ROOT, check=True)
        for number in range(rounds):
            for count in subscribers:
                for server in ENGINES:
                    used = cpu_of(server, count, folder / f"{number}-{count}-{server}", seconds=seconds)
                    cpu.setdefault((count, server), []).append(used)
                    what = f"round {number + 1}, {count} subscribers"
                    print(f"  {what}, {server:<8} {used * 100:5.2f} % of a core", file=sys.stderr)
            for server in ENGINES:
                joined_s = joins_of(server, folder / f"{number}-joins-{server}")
                joins.setdefault(server, []).append(joined_s)
                print(f"  round {number + 1}, {JOINS} joins, {server:<8} {joined_s:5.2f} s", file=sys.stderr)
    found: dict[str, Any] = {}
    for count in subscribers:
        real, ours = (median(cpu[count, server]) for server in ("livekit", "embedded"))
        found |= {
            f"cpu_{count}_livekit": round(real, 4),
            f"cpu_{count}_embedded": round(ours, 4),
            f"cpu_{count}_ratio": round(ours / real, 2),
        }
    real, ours = median(joins["livekit"]), median(joins["embedded"])
    return found | {
        "joins_s_livekit": round(real, 2),
        "joins_s_embedded": round(ours, 2),
        "joins_ratio": round(ours / real, 2),
    }


def main() -> int:
    """Measure, print, and tell by the exit code whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--subscribers", type=int, help="only so many; else 1, 2 and 4")
    parser.add_argument("--seconds", type=float, default=10, help="measured in each cell")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="only the object on the last line")
    options = parser.parse_args()
    subscribers = (options.subscribers,) if options.subscribers else SUBSCRIBERS
    try:
        found = measure(subscribers=subscribers, seconds=options.seconds, rounds=options.rounds)
    except CellError as error:
        print(f"bench.engine: {error}", file=sys.stderr)
        return 1
    ratios = [found[f"cpu_{count}_ratio"] for count in subscribers]
    if not options.json:
        for name, value in found.items():
            print(f"{name:<18} {value}")
    print(json.dumps(found))
    return 0 if max(ratios) <= GOAL_CPU and found["joins_ratio"] <= GOAL_JOINS else 1


if __name__ == "__main__":
    sys.exit(main())
