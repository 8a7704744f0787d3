"""The clients of bench/engine.py: who watches, and who joins with many at once; tokens in BENCH_TOKENS."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from typing import Final

import uvloop
from livekit import rtc

MEDIA_WITHIN_S: Final = 20.0
ROLES: Final = ("watch", "join")


async def watch(url: str, tokens: list[str], seconds: float) -> None:
    """Subscribe once for each token; print "ready" when all see, then how many pictures a second each saw."""
    tracks: list[rtc.Track] = []

    def subscribed(track: rtc.Track, *_: object) -> None:
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            tracks.append(track)

    rooms = [rtc.Room() for _ in tokens]
    for room, token in zip(rooms, tokens, strict=True):
        room.on("track_subscribed", subscribed)
        await room.connect(url, token)
    async with asyncio.timeout(MEDIA_WITHIN_S):
        while len(tracks) < len(tokens) or 0 in [await _pictures(track) for track in tracks]:  # noqa: ASYNC110 - statistics tell nobody
            await asyncio.sleep(0.1)
    print("ready", flush=True)
    await asyncio.sleep(1)
    before = [await _pictures(track) for track in tracks]
    began = time.monotonic()
    await asyncio.sleep(seconds)
    took_s = time.monotonic() - began
    rates = [(await _pictures(track) - seen) / took_s for track, seen in zip(tracks, before, strict=True)]
    print(json.dumps({"pictures_per_s": rates}), flush=True)
    os._exit(0)  # the media SDK sometimes aborts while it is torn down


async def _pictures(track: rtc.Track) -> int:
    """How many pictures of a track were decoded so far."""
    for stats in await track.get_stats():
        if stats.WhichOneof("stats") == "inbound_rtp":
            return int(stats.inbound_rtp.inbound.frames_decoded)
    return 0


async def join(url: str, tokens: list[str]) -> None:
    """Join as one participant for each token, all at once; print how long it took until the last was in."""
    rooms = [rtc.Room() for _ in tokens]
    began = time.monotonic()
    await asyncio.gather(*(room.connect(url, token) for room, token in zip(rooms, tokens, strict=True)))
    print(json.dumps({"joined_s": time.monotonic() - began}), flush=True)
    os._exit(0)


def main() -> None:
    """Be one of the processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--url", required=True)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    tokens = os.environ["BENCH_TOKENS"].split()
    if options.role == "watch":
        uvloop.run(watch(options.url, tokens, options.seconds))
    else:
        uvloop.run(join(options.url, tokens))


if __name__ == "__main__":
    main()
