"""What happened in a run, written down outside of the system under test; the checkers read this alone.

Times (`at`) are virtual seconds since the start; `store_at` is what the store's clock showed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from orchestrator.core.commands import Command
from orchestrator.core.events import SessionEvent
from orchestrator.core.session import Session
from tests.invariants.outgoing_records import Delivered, Subscribed


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The limits that this run was configured with, in seconds, as the checkers need them."""

    rooms_interval_s: float = 1.0
    participants_interval_s: float = 5.0
    retry_s: float = 4.0
    webhooks: bool = True  # whether webhooks arrive once everything is healed


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A caller's request went out."""

    at: float
    call: int
    who: str
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replied:
    """What the caller saw: ``ok``, ``refused`` (an error of ours) or ``lost`` (no answer)."""

    at: float
    call: int
    what: str
    outcome: str
    instance: str = ""
    subject: str = ""  # the session or worker that the answer is about
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """One atomic operation of the store that moved a session. ``op`` numbers operations."""

    at: float
    store_at: datetime
    op: int
    instance: str
    session: Session
    events: tuple[SessionEvent, ...] = ()
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An operation that the store refused: nothing of it may show."""

    at: float
    op: int
    instance: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """An event stands in the feed since operation ``op``."""

    at: float
    op: int
    position: str
    seq: int
    session_id: str | None
    number: int
    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSaved:
    """A registration is durable (or, ``is_gone``, forgotten); ``drains``: on its operator's word."""

    at: float
    op: int
    worker: str
    is_gone: bool = False
    drains: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """An instance holds a command row until ``until`` by the store's time."""

    at: float
    store_at: datetime
    instance: str
    row: int
    fence: int
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A claim ended: the row was finished or postponed."""

    at: float
    store_at: datetime
    row: int
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A worker received a frame or a call about a job."""

    at: float
    worker: str
    what: str
    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """A worker works on an attempt from here on; `Drops` ends it."""

    at: float
    worker: str
    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drops:
    """A worker no longer works on an attempt."""

    at: float
    worker: str
    job_id: str
    attempt: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerUp:
    """A worker process runs, is registered as far as it knows, and takes jobs (None: any number)."""

    at: float
    worker: str
    service_id: str
    is_push: bool
    capacity: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDown:
    """A worker process is dead, frozen, cut off or draining."""

    at: float
    worker: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An event stream began. ``after``: the position that it resumed from, "" for none.

    ``begins``: the position that it was told to stand at.
    """

    at: float
    reader: str
    session_id: str | None
    after: str
    begins: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A reader received an event."""

    at: float
    reader: str
    position: str
    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomMade:
    """LiveKit has a new room. ``deployment_id`` "" is a stranger's."""

    at: float
    name: str
    sid: str
    deployment_id: str
    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomGone:
    """LiveKit no longer has it; ``by`` is who saw to that: us, livekit."""

    at: float
    name: str
    sid: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """LiveKit lists a participant from here on."""

    at: float
    room: str
    sid: str
    identity: str
    role: str
    service_id: str = ""
    attempt: int = 0
    grant: int = 0  # the number in the token


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """LiveKit no longer lists a participant."""

    at: float
    room: str
    sid: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """An orchestrator serves. ``skew_s``: how far the store's time is off."""

    at: float
    instance: str
    skew_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """An orchestrator is gone, and holds the store no longer."""

    at: float
    instance: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something was broken on purpose."""

    at: float
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """From here on nothing is broken any more."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run is over."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """How much an orchestrator holds after so many sessions."""

    at: float
    sessions: int
    tasks: int
    objects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhandled:
    """The product raised what nobody expected."""

    at: float
    instance: str
    what: str


Record = (
    Called
    | Replied
    | Committed
    | Refused
    | Appended
    | WorkerSaved
    | Claimed
    | Released
    | Told
    | Holds
    | Drops
    | WorkerUp
    | WorkerDown
    | Reading
    | Seen
    | RoomMade
    | RoomGone
    | Joined
    | Left
    | Started
    | Stopped
    | Fault
    | Healed
    | Ended
    | Sampled
    | Unhandled
    | Subscribed
    | Delivered
)
_R = TypeVar("_R")


class History:
    """The records of one run, in the order they were made."""

    def __init__(self, records: tuple[Record, ...] = (), bounds: Bounds | None = None) -> None:
        self._records: list[Record] = list(records)
        self.bounds = bounds or Bounds()
        self.is_closed = False

    def add(self, record: Record) -> None:
        """Write down, unless the run is over."""
        if not self.is_closed:
            self._records.append(record)

    def insert(self, place: int, record: Record) -> None:
        """Write down before what its own operation already wrote."""
        if not self.is_closed:
            self._records.insert(place, record)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def of(self, kind: type[_R]) -> Iterator[_R]:
        """Give the records of one kind."""
        return (record for record in self._records if isinstance(record, kind))

    @property
    def healed_at(self) -> float:
        """When the last fault was over; the start when there was none."""
        return next((record.at for record in self.of(Healed)), 0.0)

    @property
    def ended_at(self) -> float:
        """When the run ended: at the latest record when nobody said so."""
        return max((record.at for record in self._records), default=0.0)

    def digest(self) -> str:
        """Give a hash of everything, by which two runs are compared."""
        digest = hashlib.sha256()
        for record in self._records:
            digest.update(repr(record).encode())
        return digest.hexdigest()
