"""Joins a room with the SDK in a process of its own, which is killed when it was seen enough.

A process, because an `rtc.Room` whose participant is removed while it still connects neither fails for 15 s
nor may be cancelled: its library then ends the process. They are forked from one that has loaded the SDK.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from typing import Final

from livekit import rtc

REFUSED: Final = 3  # exit code: LiveKit did not let it in

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload([__name__])


def start(url: str, jwt: str) -> BaseProcess:
    """Start one; it stays until it is killed, or exits with `REFUSED`. Blocks for some ms."""
    process = _forking.Process(target=_stay, args=(url, jwt), daemon=True)
    process.start()
    return process


def end(process: BaseProcess) -> None:
    """Kill it. Blocks for some ms."""
    process.kill()
    process.join(timeout=5)


def _stay(url: str, jwt: str) -> None:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # a device
        os.dup2(nowhere.fileno(), 2)  # LiveKit's library writes tokens there when it is refused
    asyncio.run(_join(url, jwt))


async def _join(url: str, jwt: str) -> None:
    try:
        await rtc.Room().connect(url, jwt, rtc.RoomOptions(auto_subscribe=False))
    except rtc.ConnectError:
        sys.exit(REFUSED)
    await asyncio.Event().wait()
