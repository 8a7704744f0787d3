"""Prints what happens, as it happens: all sessions, or one until it is over.

python -m examples.watch_events [--url http://127.0.0.1:8080] [--from-start] [SESSION_ID]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from contextlib import suppress

from greenroom import Client


async def watch(url: str, session_id: str | None, *, from_start: bool) -> None:
    """Print one line per event: its position, its name, its data."""
    async with Client(url) as client:
        async for event in client.events(session_id, from_start=from_start):
            print(event.id or "-", event.event, json.dumps(event.data), flush=True)


def main() -> None:
    """Read the command line and watch until the end of the session, or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("session_id", nargs="?", help="one session; all when left out")
    parser.add_argument("--url", default=os.environ.get("GREENROOM_URL", "http://127.0.0.1:8080"))
    parser.add_argument("--from-start", action="store_true", help="all that is kept, not only what comes")
    options = parser.parse_args()
    if options.session_id and options.from_start:
        parser.error("--from-start is for all sessions: one session is told from its start anyway")
    with suppress(KeyboardInterrupt):
        asyncio.run(watch(options.url, options.session_id, from_start=options.from_start))


if __name__ == "__main__":
    main()
