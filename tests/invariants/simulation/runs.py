"""What a worker of the simulation is like, and what it has of one attempt of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sdk.wire import Report
from tests.invariants.simulation.livekit import Connection

REJOIN_FOR_S: Final = 15.0  # the SDK gives up after this


@dataclass(eq=False, slots=True, kw_only=True)
class Run:
    """One attempt of a job as the worker has it."""

    job_id: str
    attempt: int
    token: str = ""
    connection: Connection | None = None
    lost_at: float | None = None
    report: Report | None = None  # the last word, repeated until it is certain that it arrived
    is_ready: bool = False  # with `manual_ready`: it has said so
    is_trying: bool = False  # the next try to join is planned
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Temper:
    """How a worker behaves: probabilities and seconds."""

    refuses: float = 0.0
    silent: float = 0.0
    slow_s: float = 0.3
    manual_ready: bool = False
    capacity: int | None = 2
