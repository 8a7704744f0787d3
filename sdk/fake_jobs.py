"""The jobs of a `FakeOrchestrator`: who holds which attempt, and what its holder still has to be told."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from sdk.wire import (
    Accept,
    Assign,
    Control,
    HeldJob,
    Leave,
    OrchestratorFrame,
    RecordingReport,
    Refuse,
    Report,
    TokenWanted,
)

JobWord = Accept | Refuse | Report | RecordingReport | TokenWanted


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeJob:
    """A job that the fake gives out."""

    job_id: str
    attempt: int
    session_id: str
    room_name: str
    identity: str

    @property
    def held(self) -> HeldJob:
        """The job as `resuming` lists it."""
        return HeldJob(job_id=self.job_id, attempt=self.attempt)


@dataclass(slots=True)
class _Holding:
    job: FakeJob
    worker_id: str
    recording_id: str = ""
    assign: Assign | None = None  # until the worker has joined
    control: Control | None = None  # until a report shows it
    leave: Leave | None = None


class FakeJobs:
    """Attempts by job and number, each with the worker that it was offered to."""

    def __init__(self) -> None:
        self._held: dict[HeldJob, _Holding] = {}

    def offer(self, job: FakeJob, worker_id: str) -> None:
        """Have a worker hold an attempt, from its offer to its end."""
        self._held[job.held] = _Holding(job, worker_id)

    def tell(self, frame: Assign | Control | Leave) -> None:
        """Note what a worker is told, to say it again when it comes back without having done it."""
        holding = self._held.get(HeldJob(job_id=frame.job_id, attempt=frame.attempt))
        if holding is None:
            return
        match frame:
            case Assign():
                holding.assign = frame
                if frame.recording is not msgspec.UNSET:
                    holding.recording_id = frame.recording.recording_id
            case Control():
                holding.control = frame
            case Leave():
                holding.leave = frame

    def of(self, worker_id: str, held: HeldJob) -> FakeJob | None:
        """Give the job if this worker holds this attempt."""
        holding = self._held.get(held)
        return holding.job if holding is not None and holding.worker_id == worker_id else None

    def is_recording(self, held: HeldJob) -> bool:
        """Whether this attempt was assigned a recording."""
        holding = self._held.get(held)
        return holding is not None and holding.recording_id != ""

    def hear(self, worker_id: str, word: JobWord) -> FakeJob | None:
        """Take a worker's word about a job; None when it has none: it is stale."""
        held = HeldJob(job_id=word.job_id, attempt=word.attempt)
        job = self.of(worker_id, held)
        if job is None:
            return None
        holding = self._held[held]
        match word:
            case Refuse() | Report(state="done" | "failed"):
                del self._held[held]
            case Report(state="joined" | "ready"):
                holding.assign = None
            case RecordingReport():
                if word.recording_id != holding.recording_id:
                    return None
                if holding.control is not None and word.op >= holding.control.n:
                    holding.control = None
        return job

    def take(self, held: HeldJob) -> None:
        """Take an attempt from whoever holds it."""
        self._held.pop(held, None)

    def keep_only(self, worker_id: str, kept: list[HeldJob]) -> None:
        """Take everything from a worker but these."""
        for held, holding in list(self._held.items()):
            if holding.worker_id == worker_id and held not in kept:
                del self._held[held]

    def unheard(self, held: HeldJob) -> list[OrchestratorFrame]:
        """Give what its holder may have missed."""
        holding = self._held[held]
        return [frame for frame in (holding.assign, holding.control, holding.leave) if frame is not None]
