"""One job as its author sees it: who asks for it, the joined room, and what can be said about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack

from sdk.errors import JobEndedError, JobStaleError
from sdk.ports import Grant, JobLine
from sdk.wire import RecordingReport, RecordingState, RecordingTask

if TYPE_CHECKING:
    from livekit.rtc import Room

EndReason = Literal["leave", "author", "failed", "removed", "room_closed", "drained", "stale"]
MAX_DETAIL: Final = 500  # characters of a reason that is reported


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What the orchestrator said about a job; ``attempt`` is the fencing number, higher at each hand-over."""

    job_id: str
    attempt: int
    session_id: str
    service_id: str
    room_name: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class RecordingFields(TypedDict, total=False):
    """The fields of a `RecordingReport` that its recorder fills."""

    store: str
    tree_size: int
    root: str
    checkpoint: str
    stats: dict[str, float]
    gaps: list[dict[str, Any]]
    closes: list[dict[str, Any]]
    op: int
    detail: str


class Job:
    """One attempt of one job. The SDK makes it; handlers get it.

    Attributes:
        leaving: set when the job begins to end; the room is still there, except after `stale`.
        closed: set when the room has been left.
    """

    def __init__(
        self,
        facts: JobFacts,
        *,
        line: JobLine,
        room: Room | None,
        recording: RecordingTask | None = None,
        end: Callable[[EndReason, str], None],
    ) -> None:
        """Used by the SDK only."""
        self._facts = facts
        self._line = line
        self._room = room
        self._recording = recording
        self._end = end
        self.end_reason: EndReason | None = None
        self.leaving = asyncio.Event()
        self.closed = asyncio.Event()

    def __repr__(self) -> str:
        facts = self._facts
        return f"Job({facts.job_id!r}, attempt={facts.attempt}, session_id={facts.session_id!r})"

    @property
    def job_id(self) -> str:
        """The job's id; the same over all its attempts."""
        return self._facts.job_id

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._facts.attempt

    @property
    def session_id(self) -> str:
        """The session that the job serves."""
        return self._facts.session_id

    @property
    def service_id(self) -> str:
        """The service that is asked for."""
        return self._facts.service_id

    @property
    def room_name(self) -> str:
        """The name of the session's room."""
        return self._facts.room_name

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the session's creator said about it."""
        return self._facts.metadata

    @property
    def room(self) -> Room:
        """The joined room, the same object for the whole job.

        Raises:
            RuntimeError: the job has no room: a recording that is only to be completed, or a worker with
                `joins_room=False`.
        """
        if self._room is None:
            raise RuntimeError("this job has no room that the SDK joined")
        return self._room

    @property
    def recording(self) -> RecordingTask | None:
        """What a recorder is asked to do; None for every other service."""
        return self._recording

    @property
    def is_stale(self) -> bool:
        """Whether another attempt holds the job; nothing that this one writes is part of it."""
        return self.end_reason == "stale"

    @property
    def last_pong_age_s(self) -> float:
        """Seconds since the sending of the last heartbeat that the orchestrator answered; `inf` before."""
        return self._line.last_pong_age_s

    @property
    def is_in_touch(self) -> bool:
        """Whether the orchestrator counts this worker as alive, as far as can be known here.

        False after three heartbeats without an answer (6 s): the job may have been handed over, so what is
        written now may turn out not to be part of it. Asked at any instant, also right after a frozen process
        wakes, the answer is up to date.
        """
        return self._line.is_in_touch and not self.is_stale

    async def ready(self) -> None:
        """Say that the job is ready; needed with `manual_ready` only, where being in the room is not enough.

        Raises:
            JobEndedError: the job has begun to end.
            UnavailableError: push mode, the orchestrator did not take it; worth trying again.
        """
        self._check()
        await self._line.say_ready()

    async def leave(self) -> None:
        """End the job as done. Returns at once; this handler then has 5 s to return by itself."""
        self._end("author", "")

    async def fail(self, reason: str) -> None:
        """End the job as failed, so that another worker gets it.

        Args:
            reason: a sentence for the operator, without secrets or participants' words; cut at 500 letters.
        """
        self._end("failed", reason[:MAX_DETAIL])

    async def token(self) -> str:
        """Get a fresh token for the job's room, for connections of your own. Never log it.

        `job.room` needs none: the SDK renews by itself.

        Raises:
            JobEndedError: the job has begun to end.
            UnavailableError: no answer in time; worth trying again.
        """
        self._check()
        return (await self._line.fresh_grant()).access_token

    async def grant(self) -> Grant:
        """Get the media server's URL and a fresh token, for a worker that joins rooms itself.

        Raises:
            JobEndedError: the job has begun to end.
            UnavailableError: no answer in time; worth trying again.
        """
        self._check()
        return await self._line.fresh_grant()

    async def report_recording(
        self, state: RecordingState, *, timeout_s: float = 30.0, **fields: Unpack[RecordingFields]
    ) -> None:
        """Tell the orchestrator where the recording stands; returns when that is committed.

        Reports are delivered one after the other, each repeated over lost connections until it is
        acknowledged. One that still waits is replaced by a newer one of the same state (its ``closes`` are
        carried over). It may be called until the job is put away, also while leaving.

        Args:
            state: the recording's state.
            timeout_s: seconds to wait; the report is delivered later also when they run out.
            **fields: the other fields of the `recording` frame; its ``n`` is counted here.

        Raises:
            ValueError: the job has no recording.
            JobStaleError: another attempt holds the job: stop, write nothing more.
            UnavailableError: not acknowledged in time.
        """
        if self._recording is None:
            raise ValueError("this job has no recording to report about")
        if self.is_stale:
            raise JobStaleError(f"{self!r} is held by another attempt")
        report = RecordingReport(
            job_id=self.job_id,
            attempt=self.attempt,
            n=0,
            recording_id=self._recording.recording_id,
            state=state,
            **fields,
        )
        await self._line.record(report, timeout_s=timeout_s)

    def _check(self) -> None:
        if self.is_stale:
            raise JobStaleError(f"{self!r} is held by another attempt")
        if self.leaving.is_set():
            raise JobEndedError(f"{self!r} has begun to end")
