"""A client: asks for a room with the pong worker in it, sends a ping, prints the pong, ends the session.

python -m examples.ask_for_room [--url http://127.0.0.1:8080] [--user ada]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from livekit import rtc

from examples.pong_worker import PING_TOPIC, PONG_TOPIC
from greenroom import Client
from sdk.errors import SdkError
from sdk.room import hide_tokens

if TYPE_CHECKING:
    from livekit.rtc import DataPacket

WAIT_S = 20.0  # for the worker to be there
PONG_S = 10.0


async def ask(url: str, user: str) -> None:
    """Create a session, play one ping, and end the session whatever happens."""
    async with Client(url) as client:
        session = await client.create_session(user, required_services=["pong"], wait_s=WAIT_S)
        print("session", session.session_id, session.status, *session.missing_services, flush=True)
        try:
            await ping(session.livekit_url, session.access_token)
        finally:
            await client.terminate(session.session_id)
            print("terminated", flush=True)


async def ping(livekit_url: str, access_token: str) -> None:
    """Join the room and wait for the answer to a ping, which is repeated each second."""
    hide_tokens()
    room = rtc.Room()
    answered = asyncio.Event()

    def on_data(packet: DataPacket) -> None:
        if packet.topic == PONG_TOPIC:
            answered.set()

    room.on("data_received", on_data)
    await room.connect(livekit_url, access_token)
    try:
        async with asyncio.timeout(PONG_S):
            while not answered.is_set():
                began = time.monotonic()
                await room.local_participant.publish_data(b"ping", topic=PING_TOPIC)
                with suppress(TimeoutError):
                    await asyncio.wait_for(answered.wait(), 1.0)
        print(f"pong after {(time.monotonic() - began) * 1000:.0f} ms", flush=True)
    finally:
        await room.disconnect()


def main() -> None:
    """Read the command line and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=os.environ.get("GREENROOM_URL", "http://127.0.0.1:8080"))
    parser.add_argument("--user", default="ada")
    options = parser.parse_args()
    try:
        asyncio.run(ask(options.url, options.user))
    except TimeoutError:
        raise SystemExit("nobody answered the ping") from None
    except SdkError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None


if __name__ == "__main__":
    main()
