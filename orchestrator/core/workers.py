"""Who gets a job: the registration of a worker, and the choice among them.

Source: architecture §5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from orchestrator.core.ids import ServiceId, WorkerId

# Jobs that one worker with a capacity may be joining at once. All of a long queue at once, and on a busy
# machine none of them is in its room in time: all attempts are lost, and the next ones begin together again.
JOINING_LIMIT: Final = 10

ServiceStatus = Literal["Registered", "Joining", "Ready", "Disconnected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A worker as it registered; durable, so that it survives a restart of the orchestrator.

    Attributes:
        worker_id: unique among all workers: the plain service id when the registration named none.
        endpoint: where a push worker is called; None for a pull worker.
        capacity: how many jobs at once; None means no limit.
        seen_at: when it was last heard; noted every hour, and when it is given up.
        drain_by: it takes nothing new, and what it still holds then is handed over; None: it was not asked
            to drain.
    """

    worker_id: WorkerId
    service_id: ServiceId
    endpoint: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    capabilities: dict[str, str] = field(default_factory=dict)
    capacity: int | None = None
    in_default: bool = True
    registered_at: datetime
    seen_at: datetime
    drain_by: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A worker as the choice sees it: alive, not draining, its breaker not open.

    ``offers`` is what it registered of itself: its capabilities, and its metadata where they say nothing.
    ``joining`` of its ``jobs`` are not in their room yet.
    """

    worker_id: WorkerId
    capacity: int | None
    jobs: int
    joining: int = 0
    load: float = 0.0
    offers: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_room(self) -> bool:
        """Whether it can take one more job."""
        return self.capacity is None or self.jobs < self.capacity

    @property
    def may_join(self) -> bool:
        """Whether it may begin to join one more room now; who names no capacity has no limit."""
        return self.capacity is None or self.joining < JOINING_LIMIT

    def has_all(self, asked: Mapping[str, str]) -> bool:
        """Whether it offers everything that is asked for, each value exactly."""
        return all(self.offers.get(name) == value for name, value in asked.items())


def choose(
    candidates: Iterable[Candidate],
    *,
    refused_by: tuple[WorkerId, ...] = (),
    asked: Mapping[str, str] | None = None,
) -> Candidate | None:
    """Choose who is asked: of those who match, who has not refused, then the least loaded with room.

    Args:
        candidates: workers of the service.
        refused_by: workers that said no to this job: asked only when nobody else has room.
        asked: capabilities that the worker must have.

    Returns:
        The candidate, or None when nobody can take the job now.
    """
    fitting = [one for one in candidates if one.has_room and one.may_join and one.has_all(asked or {})]
    return min(
        fitting,
        key=lambda c: (
            c.worker_id in refused_by,
            c.jobs / c.capacity if c.capacity else 0.0,
            c.jobs,
            c.load,
            c.worker_id,
        ),
        default=None,
    )
