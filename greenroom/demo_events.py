"""Follows one session's events for the demo, and lets it wait for what they tell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sdk.client import Client, ServerEvent
from sdk.errors import SdkError

RECORDING_ENDED = frozenset({"completed", "failed"})


class FollowedSession:
    """What the events of a session have told so far; made by `following`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.states: list[str] = []
        self.recording_status = ""
        self.ready_at: float | None = None  # monotonic
        self.lost: SdkError | None = None  # why nothing more will come
        self._changed = asyncio.Event()

    def take(self, event: ServerEvent) -> None:
        """Note one event."""
        self.names.append(event.event)
        if event.event == "status_changed":
            state = str(event.data.get("status", ""))
            if self.states[-1:] != [state]:  # told again when only the services changed
                self.states.append(state)
        elif event.event == "session_ready" and self.ready_at is None:
            self.ready_at = time.monotonic()
        elif "recording_status" in event.data:
            self.recording_status = str(event.data["recording_status"])
        self._changed.set()

    def give_up(self, error: SdkError) -> None:
        """Note that the stream ended for good."""
        self.lost = error
        self._changed.set()

    async def wait_for(self, condition: Callable[[FollowedSession], bool], *, within_s: float) -> bool:
        """Wait until the events have told so; False when they did not in time, or no more will come."""
        try:
            async with asyncio.timeout(within_s):
                while not condition(self):
                    if self.lost is not None:
                        return False
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def following(client: Client, session_id: str) -> AsyncIterator[FollowedSession]:
    """Follow a session from its first event until the block is left."""
    session = FollowedSession()

    async def follow() -> None:
        try:
            async for event in client.events(session_id, until_told=True):
                session.take(event)
        except SdkError as error:
            session.give_up(error)

    task = asyncio.create_task(follow(), name=f"events of {session_id}")
    try:
        yield session
    finally:
        task.cancel()
        await asyncio.wait({task})
