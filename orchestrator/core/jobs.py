"""The life of a job (one service of one session): one table, and the record that moves along it.

Every offer is an attempt with a number of its own, which fences: what an older attempt says is refused.
Source: architecture §5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.ids import Identity, JobId, ServiceId, WorkerId, identity_of


class JobState(Enum):
    """Where a job stands."""

    PENDING = "pending"  # nobody has it; it waits in the queue
    OFFERED = "offered"  # one worker was asked
    ACCEPTED = "accepted"  # that worker took it and is joining (or joining again)
    JOINED = "joined"  # LiveKit lists the worker in the room
    DONE = "done"  # the worker left as agreed
    FAILED = "failed"  # given up with a reason: the session ended before anybody did it
    LOST = "lost"  # only in events: the worker is gone, the job goes back to pending


class JobCause(Enum):
    """Why a job moves."""

    OFFER = "offered to a worker"
    ACCEPT = "the worker took it"
    REFUSE = "the worker refused, or was silent"
    PRESENT = "LiveKit lists the worker in the room"
    ABSENT = "LiveKit no longer lists the worker"
    LOSE = "the worker is gone or did not come"
    FINISH = "the worker is done"
    GIVE_UP = "the session ended without it"
    REOPEN = "another recording begins"


_S, _C = JobState, JobCause

TABLE: Final[dict[tuple[JobState, JobCause], JobState]] = {
    (_S.PENDING, _C.OFFER): _S.OFFERED,
    (_S.PENDING, _C.GIVE_UP): _S.FAILED,
    (_S.OFFERED, _C.ACCEPT): _S.ACCEPTED,
    (_S.OFFERED, _C.REFUSE): _S.PENDING,
    # A push worker may be in the room before its answer is here.
    (_S.OFFERED, _C.PRESENT): _S.JOINED,
    (_S.OFFERED, _C.LOSE): _S.PENDING,
    (_S.OFFERED, _C.GIVE_UP): _S.FAILED,
    (_S.ACCEPTED, _C.PRESENT): _S.JOINED,
    (_S.ACCEPTED, _C.LOSE): _S.PENDING,
    (_S.ACCEPTED, _C.FINISH): _S.DONE,
    (_S.ACCEPTED, _C.GIVE_UP): _S.FAILED,
    (_S.JOINED, _C.ABSENT): _S.ACCEPTED,
    (_S.JOINED, _C.LOSE): _S.PENDING,
    (_S.JOINED, _C.FINISH): _S.DONE,
    (_S.JOINED, _C.GIVE_UP): _S.DONE,
    # Of the recorder alone: its job is done again, as a next attempt, whatever the one before still says.
    **{(state, _C.REOPEN): _S.PENDING for state in (_S.OFFERED, _S.ACCEPTED, _S.JOINED, _S.DONE, _S.FAILED)},
}

HELD: Final = frozenset({_S.OFFERED, _S.ACCEPTED, _S.JOINED})
OVER: Final = frozenset({_S.DONE, _S.FAILED})


def move(state: JobState, cause: JobCause) -> JobState:
    """Give the state that follows.

    Raises:
        IllegalTransitionError: the table has no such pair.
    """
    try:
        return TABLE[state, cause]
    except KeyError:
        raise IllegalTransitionError(f"a job that is {state.value} cannot move by: {cause.value}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One service of one session.

    Attributes:
        attempt: number of the current (or last) offer; 0 before the first.
        required: holds Ready back and counts as missing while absent.
        strict: its absence ends the session after the service timeout.
        priority: order in the queue, higher first.
        capabilities: what a worker must offer to get it, each value exactly.
        worker_id: who was asked or holds it; None while pending, and always for ``agent:NAME``.
        manual_ready: presence is not enough, the worker says itself that it is ready.
        said_ready: it did.
        refused_by: workers that refused, were silent or were lost lately: asked last, until the pause ends.
        refusals: how often that happened in a row; the pause before the same worker is asked again grows.
        detail: the last reason, one sentence, ours.
        agent: for ``agent:NAME``: under which identity the agent of this attempt was last seen.
        former_agents: those of the last few attempts before it: they are out for good.
        has_joined: this attempt was in the room once; what happens to it later is not its worker's refusal.
    """

    job_id: JobId
    service_id: ServiceId
    attempt: int = 0
    state: JobState = JobState.PENDING
    required: bool = True
    strict: bool = False
    priority: int = 0
    capabilities: dict[str, str] = field(default_factory=dict)
    worker_id: WorkerId | None = None
    manual_ready: bool = False
    said_ready: bool = False
    refused_by: tuple[WorkerId, ...] = ()
    refusals: int = 0
    detail: str = ""
    agent: Identity | None = None
    former_agents: tuple[Identity, ...] = ()
    has_joined: bool = False

    @property
    def identity(self) -> Identity:
        """The identity under which the current attempt joins (of an agent: has joined)."""
        return self.agent or identity_of(self.service_id, max(self.attempt, 1))

    @property
    def is_ready(self) -> bool:
        """Whether LiveKit lists the worker and (with ``manual_ready``) it said that it is ready."""
        return self.state is JobState.JOINED and (self.said_ready or not self.manual_ready)

    @property
    def is_missing(self) -> bool:
        """Whether the session must say that this service is not there."""
        return self.required and not self.is_ready and self.state is not JobState.DONE
