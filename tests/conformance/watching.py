"""Watches what somebody sees for freezes: times in which no new picture comes that can be read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from tests.conformance.cameras import Viewer

FREEZE_S: Final = 2.0  # what a person calls one


@dataclass
class Watch:
    """How long the longest one was so far."""

    longest_s: float = 0.0


@asynccontextmanager
async def watching_for_freezes(seen: Viewer, sid: str) -> AsyncIterator[Watch]:
    """Watch a track of which pictures were seen already."""
    watch = Watch()

    async def look() -> None:
        changed, last = time.monotonic(), seen.read(sid)[-1]
        while True:
            if (newest := seen.read(sid)[-1]) != last:
                changed, last = time.monotonic(), newest
            watch.longest_s = max(watch.longest_s, time.monotonic() - changed)
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    try:
        yield watch
    finally:
        looking.cancel()
        await asyncio.wait({looking})
