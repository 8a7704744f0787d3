"""What recording costs: passthrough with custody, beside decoding and encoding again, and decoding alone.

720p30 H.264 at 1.7 Mb/s and Opus, published pre-encoded with a long GOP by a process of its own; the CPU is
that of the recording process, all its threads, in milliseconds for each second of a stream (a camera and its
microphone). Rounds of the ways alternate. Every recording is verified, exported and decoded again: no error,
rising pts, and in passthrough frames within 1 % of those sent. Source: recording.md §1.

    python -m bench.record [--streams N] [--seconds S] [--rounds R] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import av
from livekit import api

from greenroom.media_server import MediaServer, prepare
from vault.adapters.key_files import KeyFiles
from vault.export import export_recording
from vault.verification import verify_recording

CELLS: Final = "bench._record_cells"
ROOT: Final = Path(__file__).parent.parent
SETTLE_S: Final = 3.0
GOAL_RATIO: Final = 35.0
MANY: Final = 8
MAX_MISSING: Final = 0.01  # of the frames sent


def token(media: MediaServer, room: str, identity: str, **grants: Any) -> str:
    """Sign a room token."""
    video = api.VideoGrants(room_join=True, room=room, **grants)
    made = api.AccessToken(media.api_key, media.api_secret).with_identity(identity).with_grants(video)
    return made.to_jwt()


def cell(way: str, streams: int, folder: Path, *, seconds: float) -> dict[str, Any]:
    """Measure one way on a media server of its own."""
    folder.mkdir()
    (folder / "clip").symlink_to(folder.parent / "clip")
    with MediaServer(prepare(folder / "livekit", webhook_urls=[])) as media:
        room = "bench"
        _create(media, room)
        publishing = _start(
            "publish",
            folder,
            media.url,
            [token(media, room, f"camera-{number}") for number in range(streams)],
            SETTLE_S + seconds + 4,
        )
        hidden = {"hidden": True, "can_publish": False}
        recording = _start(way, folder, media.url, [token(media, room, "recorder", **hidden)], seconds)
        found = _result(recording)
        _result(publishing)
    found["ms"] = found["cpu"] * 1000 / streams
    if "recording" in found:
        is_exact = way == "passthrough"  # decoded pictures are placed by when they came
        videos = {"composite": 1, "audio": 0}.get(way, streams)
        _check(found, folder, streams=videos, seconds=seconds, is_exact=is_exact)
    return found


def _create(media: MediaServer, room: str) -> None:
    import asyncio

    async def create() -> None:
        async with api.LiveKitAPI(media.url.replace("ws", "http", 1), media.api_key, media.api_secret) as lk:
            await lk.room.create_room(api.CreateRoomRequest(name=room, empty_timeout=60))

    asyncio.run(create())


def _start(role: str, folder: Path, url: str, tokens: list[str], seconds: float) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", CELLS, role, "--url", url, "--folder", str(folder)]
    environment = {**os.environ, "BENCH_TOKENS": " ".join(tokens)}
    return subprocess.Popen(
        [*argv, "--seconds", str(seconds)],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _result(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=180)
    if process.returncode:
        raise RuntimeError(f"a process of the bench ended with {process.returncode}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def _check(found: dict[str, Any], folder: Path, *, streams: int, seconds: float, is_exact: bool) -> None:
    """Verify, export and decode what was recorded."""
    keys = KeyFiles.open(folder / "keys")
    path = folder / "recordings" / found["recording"]
    report = verify_recording(path, keys.public_key)
    if report.exit_code != 0:
        raise RuntimeError(f"the recording does not verify: {report.status}")
    out = folder / "out.mp4"
    export_recording(path, keys, out)
    found["frames"], found["errors"] = [], 0
    with av.open(str(out)) as file:
        count = len(file.streams.video)
    if count != streams:
        raise RuntimeError(f"{count} video streams in the file, {streams} were recorded")
    for index in range(streams):
        frames, span_s = _decode(out, index)
        expected = span_s * 30 + 1
        if is_exact and abs(frames - expected) > max(1, MAX_MISSING * expected):
            raise RuntimeError(f"stream {index}: {frames} frames in {span_s:.2f} s")
        if span_s < seconds - 1:
            raise RuntimeError(f"stream {index} holds {span_s:.2f} s of {seconds} s")
        found["frames"].append(frames)


def _decode(path: Path, index: int) -> tuple[int, float]:
    """Decode one stream; give its frames and the seconds from the first to the last."""
    with av.open(str(path)) as file:
        stream = file.streams.video[index]
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"err_detect": "explode"}
        times = [frame.time for frame in file.decode(stream)]
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise RuntimeError(f"stream {index}: pts do not rise")
    return len(times), times[-1] - times[0]


def measure(*, streams: tuple[int, ...], seconds: float, rounds: int) -> dict[str, Any]:
    """Run all cells, interleaved; give medians."""
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", CELLS, "clip", "--folder", name], cwd=ROOT, check=True)
        for number in range(rounds):
            for count in streams:
                for way in ("passthrough", "decoded", "decode_only"):
                    if count == MANY and way != "passthrough":
                        continue
                    one = cell(way, count, folder / f"{number}-{count}-{way}", seconds=seconds)
                    found.setdefault((way, count), []).append(one["ms"])
                    print(
                        f"  round {number + 1}, {count} streams, {way:<12} {one['ms']:7.1f} ms",
                        file=sys.stderr,
                    )
    return {f"{way}_{count}": round(median(values), 2) for (way, count), values in found.items()}


def main() -> int:
    """Measure, print, and tell by the exit code whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--streams", type=int, help="only so many streams at once; else 1, 2 and 8")
    parser.add_argument("--seconds", type=float, default=10, help="measured in each cell")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="only the object on the last line")
    options = parser.parse_args()
    streams = (options.streams,) if options.streams else (1, 2, MANY)
    cells = measure(streams=streams, seconds=options.seconds, rounds=options.rounds)
    judged = options.streams or 2
    passthrough, decoded = cells[f"passthrough_{judged}"], cells.get(f"decoded_{judged}")
    verdict = {
        "passthrough_ms": passthrough,
        "decoded_ms": decoded,
        "decode_only_ms": cells.get(f"decode_only_{judged}"),
        "ratio": round(decoded / passthrough, 1) if decoded else None,
        "streams_per_core": round(1000 / cells[f"passthrough_{max(streams)}"], 1),
    }
    if not options.json:
        for name, value in cells.items():
            print(f"{name:<16} {value:7.1f} ms of CPU in a stream-second")
    print(json.dumps(verdict))
    return 0 if decoded is None or decoded / passthrough >= GOAL_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
