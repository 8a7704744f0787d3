"""One fault of one worker: how long until every job it held runs elsewhere, and what its zombie does."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from orchestrator.core.ids import ServiceId, identity_of
from tests.invariants.real.fleet import WorkerProcess
from tests.invariants.real.join_floor import join_floor
from tests.invariants.real.real_system import RealSystem

Fault = Literal["kill", "freeze"]

GIVE_UP_S: Final = 30.0  # a job that is nowhere by then counts as lost
JOIN_S: Final = 1.0  # of the limits, this much is for LiveKit's own join
ZOMBIE_S: Final = 2.0  # limit of an old attempt's stay after it is back (I5)
_WATCH_S: Final = 2.6  # after SIGCONT; longer than the limit, so that a zombie that stays is seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A job as it stood when its worker was struck."""

    session_id: str
    room_name: str
    job_id: str
    service_id: ServiceId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one fault did.

    Attributes:
        healed_s: for each job held, seconds from the fault until LiveKit lists a newer attempt; None: never.
        floor_s: the longest that a plain join of LiveKit took meanwhile.
        zombie_s: the longest that an old attempt was listed after SIGCONT, from when it was first seen.
        wrong: what must not be, in words; empty when all is well.
    """

    worker_id: str
    is_push: bool
    fault: Fault
    healed_s: tuple[float | None, ...]
    floor_s: float
    zombie_s: float = 0.0
    wrong: tuple[str, ...] = ()

    @property
    def ours_s(self) -> list[float]:
        """What the hand-overs took, without what LiveKit took for a join beyond what is planned for it."""
        excess_s = max(0.0, self.floor_s - JOIN_S)
        return [seconds - excess_s for seconds in self.healed_s if seconds is not None]


async def held_by(running: RealSystem, worker_id: str, session_ids: Sequence[str]) -> list[Held]:
    """Give the jobs that a worker holds in these sessions."""
    sessions = [await running.system.session(session_id) for session_id in session_ids]
    return [
        Held(
            session_id=session["session_id"],
            room_name=session["room_name"],
            job_id=job["job_id"],
            service_id=ServiceId(job["service_id"]),
            attempt=job["attempt"],
        )
        for session in sessions
        for job in session["jobs"]
        if job["worker_id"] == worker_id and job["state"] == "joined"
    ]


async def strike(
    running: RealSystem, worker: WorkerProcess, fault: Fault, session_ids: Sequence[str]
) -> tuple[Trial, list[Held]]:
    """Kill or freeze a worker and wait until LiveKit lists a newer attempt of each job it held."""
    held = await held_by(running, worker.worker_id, session_ids)
    struck_at = time.monotonic()
    if fault == "kill":
        worker.kill()
    else:
        worker.freeze()
    until = struck_at + GIVE_UP_S
    async with join_floor(running) as floor:
        there = await asyncio.gather(*(_next_attempt_there(running, job, until) for job in held))
        trial = Trial(
            worker_id=worker.worker_id,
            is_push=worker.is_push,
            fault=fault,
            healed_s=tuple(None if at is None else at - struck_at for at in there),
            floor_s=floor.longest_s,
        )
    return trial, held


async def wake(running: RealSystem, worker: WorkerProcess, trial: Trial, held: Sequence[Held]) -> Trial:
    """Let a frozen worker go on: its old attempts must leave the rooms and have no say in the jobs."""
    before = {job.job_id: await _job(running, job) for job in held}
    worker.wake()
    zombie_s = max(
        await asyncio.gather(*(_watch(running, job) for job in held)),
        default=0.0,
    )
    wrong = [
        f"{job.job_id}: {change}"
        for job in held
        for change in await _changes(running, before[job.job_id], job)
    ]
    return replace(trial, zombie_s=zombie_s, wrong=tuple(wrong))


async def _next_attempt_there(running: RealSystem, job: Held, until: float) -> float | None:
    """Wait until LiveKit lists any newer attempt; one may be passed over, for instance by a slow answer."""
    newer = [identity_of(job.service_id, job.attempt + more) for more in range(1, 6)]
    while time.monotonic() < until:
        present = await running.eye.identities(job.room_name) or frozenset()
        if any(identity in present for identity in newer):
            return time.monotonic()
        await asyncio.sleep(0.05)
    return None


async def _watch(running: RealSystem, job: Held) -> float:
    """Give how long the old attempt was listed, from when it was first seen after SIGCONT."""
    old = identity_of(job.service_id, job.attempt)
    until = time.monotonic() + _WATCH_S
    first: float | None = None
    last = 0.0
    while time.monotonic() < until:
        if old in (await running.eye.identities(job.room_name) or ()):
            last = time.monotonic()
            first = last if first is None else first
        await asyncio.sleep(0.1)
    return 0.0 if first is None else last - first


async def _job(running: RealSystem, held: Held) -> dict[str, Any]:
    session = await running.system.session(held.session_id)
    found: dict[str, Any] = next(job for job in session["jobs"] if job["job_id"] == held.job_id)
    return found


async def _changes(running: RealSystem, was: dict[str, Any], held: Held) -> list[str]:
    """Say what a zombie's return changed in a job that is another's."""
    now = await _job(running, held)
    wrong = [
        f"{held.job_id}: {name} was {was[name]!r} and is {now[name]!r}"
        for name in ("attempt", "worker_id")
        if was[name] != now[name]
    ]
    if now["state"] != "joined":  # it may have been `accepted`: LiveKit's list is ahead of what we are told
        wrong.append(f"{held.job_id} is {now['state']}")
    return wrong


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least ``share`` (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
