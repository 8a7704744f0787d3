"""Why a job waits: the one sentence that an operator would otherwise look for in the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from orchestrator.core.ids import ServiceId, WorkerId
from orchestrator.core.workers import Candidate


class WaitReason(Enum):
    """What a pending job waits for."""

    NO_ROOM = "no_room"  # LiveKit has no room for it yet
    NO_WORKER = "no_worker"  # nobody is registered
    AWAY = "away"  # whoever is registered does not answer
    DRAINING = "draining"  # whoever is there takes nothing new
    NONE_MATCHES = "none_matches"  # nobody has the capabilities that are asked for
    FULL = "full"  # whoever matches has no room
    JOINING = "joining"  # whoever matches is on its way into as many rooms as it may be at once
    RESTING = "resting"  # whoever matches failed several times and is left alone for a while
    REFUSED = "refused"  # whoever could refused this job and is asked again after a pause
    OFFERING = "offering"  # a worker is being asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A registered worker, whether or not it can be asked.

    Attributes:
        candidate: as the choice sees it.
        is_away: not heard, or not connected.
        is_draining: takes nothing new.
        rests_s: its breaker admits nothing for so many seconds; 0 while its one probe is under way, None when
            it may be asked.
    """

    candidate: Candidate
    is_away: bool
    is_draining: bool
    rests_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The reason, for programs and for people."""

    reason: WaitReason
    message: str


def why_waiting(
    service_id: ServiceId,
    workers: Sequence[Standing],
    *,
    asked: Mapping[str, str],
    refused_by: tuple[WorkerId, ...],
) -> Waiting:
    """Say why nobody does a job that could be offered.

    Args:
        service_id: what the job needs.
        workers: everybody who is registered for it.
        asked: capabilities that the worker must have.
        refused_by: who said no lately, if it is not asked again yet.
    """
    if not workers:
        return _because(WaitReason.NO_WORKER, f"no worker is registered for {service_id!r}")
    there = [worker for worker in workers if not worker.is_away]
    if not there:
        return _because(WaitReason.AWAY, f"{_count(workers)} of {service_id!r}: registered, not heard now")
    taking = [worker for worker in there if not worker.is_draining]
    if not taking:
        return _because(WaitReason.DRAINING, f"{_count(there)} of {service_id!r}: draining")
    matching = [worker for worker in taking if worker.candidate.has_all(asked)]
    if not matching:
        named = ", ".join(f"{name}={value}" for name, value in sorted(asked.items()))
        return _because(WaitReason.NONE_MATCHES, f"no worker of {service_id!r} has {named}")
    free = [worker for worker in matching if worker.candidate.has_room]
    if not free:
        taken = sum(worker.candidate.jobs for worker in matching)
        return _because(WaitReason.FULL, f"{_count(matching)} of {service_id!r}: full with {taken} jobs")
    joining = sum(worker.candidate.joining for worker in free)
    free = [worker for worker in free if worker.candidate.may_join]
    if not free:
        return _because(
            WaitReason.JOINING,
            f"{joining} jobs of {service_id!r} are joining their rooms, the next follow",
        )
    awake = [worker.rests_s for worker in free if worker.rests_s is not None]
    if len(awake) == len(free):
        return _because(
            WaitReason.RESTING,
            f"{_count(free)} of {service_id!r}: failed repeatedly, asked again in {min(awake):.0f} s",
        )
    if all(w.candidate.worker_id in refused_by for w in free if w.rests_s is None):
        return _because(
            WaitReason.REFUSED, f"{_count(free)} of {service_id!r}: refused this job lately, asked again soon"
        )
    return _because(WaitReason.OFFERING, f"a worker of {service_id!r} is being asked")


def no_room() -> Waiting:
    """Say that LiveKit has no room that a worker could join."""
    return _because(WaitReason.NO_ROOM, "LiveKit has no room for this session yet")


def agent_pause() -> Waiting:
    """Say that LiveKit is asked for an agent again after a pause."""
    return _because(WaitReason.REFUSED, "no such agent came, LiveKit is asked again after a pause")


def agent_asked() -> Waiting:
    """Say that LiveKit was asked for an agent and none has joined yet."""
    return _because(WaitReason.OFFERING, "LiveKit was asked for this agent; none has joined yet")


def _because(reason: WaitReason, message: str) -> Waiting:
    return Waiting(reason=reason, message=message)


def _count(workers: Sequence[Standing]) -> str:
    return "the one worker" if len(workers) == 1 else f"all {len(workers)} workers"
