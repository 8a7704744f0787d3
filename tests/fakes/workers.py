"""Workers that live in the test: a caller that answers as it is told, and a line that keeps its frames."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from orchestrator.ports import CallOutcome
from sdk.wire import JoinRoom, LeaveRoom, OrchestratorFrame

_F = TypeVar("_F")

YES = CallOutcome(answer="yes")
NO = CallOutcome(answer="no", detail="the worker answered /join-room with status 500")
UNKNOWN = CallOutcome(answer="unknown", detail="the worker did not answer in time")


class FakeCaller:
    """Implements `WorkerCaller`.

    Attributes:
        answers: outcomes of the next join calls, in order; then always yes.
        joins, leaves: what was asked, with the endpoint.
        slow_leave: while it is set to an event, a worker leaves only after it.
        healthy: endpoints that answer their probe; None means all.
    """

    def __init__(self) -> None:
        self.answers: list[CallOutcome] = []
        self.joins: list[tuple[str, JoinRoom]] = []
        self.leaves: list[tuple[str, LeaveRoom]] = []
        self.slow_leave: asyncio.Event | None = None
        self.healthy: set[str] | None = None

    async def join_room(self, endpoint: str, request: JoinRoom) -> CallOutcome:
        """Keep the request, give the next answer."""
        self.joins.append((endpoint, request))
        return self.answers.pop(0) if self.answers else YES

    async def leave_room(self, endpoint: str, request: LeaveRoom) -> CallOutcome:
        """Keep the request; everybody leaves."""
        self.leaves.append((endpoint, request))
        if self.slow_leave is not None:
            await self.slow_leave.wait()
        return YES

    async def is_healthy(self, endpoint: str) -> bool:
        """Answer for the endpoints that are up."""
        return self.healthy is None or endpoint in self.healthy


class FakeLine:
    """Implements `Line`."""

    def __init__(self) -> None:
        self.frames: list[OrchestratorFrame] = []
        self.closed = ""

    def send(self, frame: OrchestratorFrame) -> None:
        """Keep the frame."""
        self.frames.append(frame)

    def close(self, reason: str) -> None:
        """Keep the reason."""
        self.closed = reason

    def last(self, kind: type[_F]) -> _F:
        """Give the last frame of a kind."""
        return next(frame for frame in reversed(self.frames) if isinstance(frame, kind))

    def count(self, kind: type[object]) -> int:
        """Count the frames of a kind."""
        return sum(isinstance(frame, kind) for frame in self.frames)
