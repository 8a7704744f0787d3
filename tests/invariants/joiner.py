"""A process that joins a room with the SDK, the token on its standard input, until it is killed.

A process, because an `rtc.Room` whose participant is removed while it still connects neither fails for 15 s
nor may be cancelled: its library then ends the process.
"""

from __future__ import annotations

import asyncio
import sys

from livekit import rtc


async def main() -> None:
    """Say `ready`, join, say `joined` or `refused`, and stay."""
    print("ready", flush=True)
    url, jwt = (await asyncio.to_thread(sys.stdin.readline)).split()
    room = rtc.Room()
    try:
        await room.connect(url, jwt, rtc.RoomOptions(auto_subscribe=False))
    except rtc.ConnectError:
        print("refused", flush=True)
        return
    print("joined", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
