"""The breaker of one worker: who fails several times in a row is left alone for a while, then asked once.

A failure is an offer that did not bring the worker into the room: refused, unreachable, silent, or lost
before it joined. Leaving is no part of it. Kept in memory by the one instance that a SQLite store has: after
a start everybody is asked again. Source: architecture §5, docs/decisions/0011-breakers-and-drains.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from orchestrator.core.ids import JobId

FAILURES: Final = 3  # in a row open it
FIRST_REST_S: Final = 1.0  # doubled each time that the probe fails too
_MAX_DOUBLINGS: Final = 20

BreakerState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """How a worker did lately.

    Attributes:
        failures: in a row.
        openings: in a row.
        rests_until: monotonic seconds; None while it is closed.
        probe: the one job that is offered after the rest.
    """

    failures: int = 0
    openings: int = 0
    rests_until: float | None = None
    probe: JobId | None = None

    def state(self, now_s: float) -> BreakerState:
        """Give the state at a moment."""
        if self.rests_until is None:
            return "closed"
        return "open" if now_s < self.rests_until else "half_open"

    def rests_s(self, now_s: float) -> float | None:
        """Give for how long nothing may be offered: None: now it may; 0: until the probe is decided."""
        if self.rests_until is None:
            return None
        if now_s < self.rests_until:
            return self.rests_until - now_s
        return None if self.probe is None else 0.0


def asked(breaker: Breaker, job_id: JobId, now_s: float) -> Breaker:
    """Note an offer: after the rest it is the probe, and nothing else is offered until it is decided."""
    if breaker.state(now_s) == "half_open" and breaker.probe is None:
        return replace(breaker, probe=job_id)
    return breaker


def failed(breaker: Breaker, job_id: JobId, now_s: float, *, max_rest_s: float) -> Breaker:
    """Note that an offer came to nothing."""
    state = breaker.state(now_s)
    failures = breaker.failures + 1
    is_opening = failures >= FAILURES if state == "closed" else breaker.probe == job_id
    if not is_opening:
        # While it is open, what was offered before fails as well; that opens it no further.
        return replace(breaker, failures=failures)
    rest_s = min(FIRST_REST_S * 2 ** min(breaker.openings, _MAX_DOUBLINGS), max_rest_s)
    return Breaker(failures=failures, openings=breaker.openings + 1, rests_until=now_s + rest_s)


def joined(breaker: Breaker) -> Breaker:
    """Note that the worker is in a room: it works, whatever was before."""
    return Breaker() if breaker.failures or breaker.rests_until is not None else breaker


def withdrawn(breaker: Breaker, job_id: JobId) -> Breaker:
    """Note that an offer was neither taken nor refused, its session ended: another one may be the probe."""
    return replace(breaker, probe=None) if breaker.probe == job_id else breaker


def told_to_wait(breaker: Breaker, seconds: float, now_s: float, *, max_rest_s: float) -> Breaker:
    """Note a `Retry-After`: the worker says itself for how long it is to be left alone."""
    until = now_s + min(seconds, max_rest_s)
    if seconds <= 0 or (breaker.rests_until is not None and breaker.rests_until >= until):
        return breaker
    return replace(breaker, rests_until=until, probe=None)


def registered_anew(breaker: Breaker, now_s: float) -> Breaker:
    """Note that the worker started again: it may be mended, so the rest is over; one probe shows it."""
    if breaker.state(now_s) == "closed":
        return Breaker()
    return replace(breaker, rests_until=now_s, probe=None)
