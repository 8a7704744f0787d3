"""Event streams: 1,000 readers of 100 events a second, our feed beside the naive way and the machine's floor.

`shared` is the real application on uvloop over SQLite in a process of its own. `naive` awaits `resp.write`
for each reader in turn, over the same store. `floor` has no store and no HTTP: it writes one frame to 1,000
connections, which is what the kernel takes for it. Rounds of the three alternate.

One event a commit is the worst case: each is then a segment to every reader, and the kernel's work for those
is most of what it costs. With `--per-commit 3` the same events come in a third of the segments.

Latency is from the moment the commit is known (on the event loop) to the moment a reader has the frame, by
CLOCK_MONOTONIC, which all processes of a machine share. All readers read; every tenth looks at the clock, on
its own socket event, and the others are drained in slices, so that this process is not what is measured.
That every reader got every event once is checked for all. Source: performance.md.

    python bench/events.py [--readers 1000] [--rate 100] [--seconds 8] [--rounds 3] [--per-commit 1] [--json]
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

SERVERS: Final = "bench._event_servers"
ROOT: Final = Path(__file__).parent.parent
GOAL_P99_MS: Final = 10.0
GOAL_CPU: Final = 0.5  # of a core
MEASURED_EVERY: Final = 10
DRAIN_S: Final = 0.1
WAYS: Final = ("shared", "naive", "floor")
_ID: Final = re.compile(rb"id: \d+:(\d+)\n")


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
            [sys.executable, "-m", SERVERS, way, folder],
            cwd=ROOT,
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
            order = {name: getattr(options, name) for name in ("seconds", "rate", "per_commit")}
            server.stdin.write(json.dumps(order) + "\n")
            server.stdin.flush()
            events = int(options.seconds * options.rate)
            expected = events - events % options.per_commit
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
        **{key: said[key] for key in ("server_cpu", "kernel_cpu", "written_in_s")},
        "reader_cpu": own_cpu,
        "complete": sum(reader.count == expected for reader in readers),
    }


def main() -> int:
    """Run the rounds and report; exit 1 when a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=100, help="events a second")
    parser.add_argument("--per-commit", type=int, default=1, help="events in one commit")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one object")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
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
    result |= {
        "readers": options.readers,
        "rate": options.rate,
        "per_commit": options.per_commit,
        "rounds": rounds,
    }
    if options.json:
        print(json.dumps(result))
    else:
        print(f"median of {options.rounds} rounds; goals: p99 {GOAL_P99_MS:g} ms, {GOAL_CPU:.0%} of a core")
        for way in WAYS:
            print(way.ljust(7), line(result[way]))
        verdict = "met" if result["ok"] else "missed"
        print(f"goals {verdict}; the feed takes {result['cpu_over_floor']:.2f} times the CPU of the floor")
    return 0 if result["ok"] else 1


def line(found: dict[str, Any]) -> str:
    """Give one round's numbers for people."""
    return (
        f"p50 {found['p50_ms']:8.2f} ms  p99 {found['p99_ms']:8.2f} ms  p99.9 {found['p999_ms']:8.2f} ms  "
        f"server {found['server_cpu']:4.0%} of a core (kernel {found['kernel_cpu']:.0%})  "
        f"(readers' process {found['reader_cpu']:.0%}, {found['complete']:.0f} readers got everything)"
    )


if __name__ == "__main__":
    sys.exit(main())
