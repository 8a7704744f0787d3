"""The session's record: what is durable about one conversation. `step.py` moves it.

Source: architecture §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from orchestrator.core.grants import Standing
from orchestrator.core.ids import Identity, ParticipantSid, RoomName, RoomSid, ServiceId, SessionId, WorkerId
from orchestrator.core.jobs import HELD, Job
from orchestrator.core.recording import RECORDER, Recording
from orchestrator.core.request_keys import KeyScope
from orchestrator.core.states import LIVE, RoomStatus
from orchestrator.core.triggers import Participant

SCHEMA_VERSION: Final = 1  # of the stored record; a change of its fields' meaning raises it

Stage = Literal["", "capture", "leaving", "deleting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Something that must have happened by ``due``. A new arming of the same name ends the old one."""

    arming: int
    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long what may take, in seconds; frozen into the session at its creation. Source: contracts §4."""

    create_s: float = 15.0
    join_s: float = 60.0
    service_s: float = 60.0
    retry_s: float = 30.0
    client_s: float = 300.0
    offer_s: float = 5.0  # a pull worker answers an offer within this (contracts §7)
    rejoin_s: float = 5.0  # a worker that lost the room, not its orchestrator, has this to be back
    termination_s: float = 30.0
    capture_stop_s: float = 2.0
    leave_s: float = 2.5
    ttl_s: float = 86400.0
    recording_s: float = 3600.0  # a recording that nobody reports on after the room's end is given up


@dataclass(frozen=True, kw_only=True)
class Session:
    """One conversation. Without slots, so that `evolve` may copy all fields at once.

    Attributes:
        version: number of the commit that wrote this record, from 1; 0 before the first.
        events: events committed so far: the next one's per-session number is one more.
        room_sid: the SID of the room as last created; None until then, and while LiveKit has lost it.
        is_name_held: nobody else gets this room name until LiveKit has confirmed its deletion.
        stage: where the ending stands, "" before it.
        participants: who is in the room, by SID.
        recording: the newest one.
        earlier_recordings: those before it, as they stood when the next one was started.
        standings: whose earlier tokens no longer count, by identity.
        removed: whom we put out lately, the last at the end: seen again they are put out without a new event.
        deadlines: armed ones, by name.
        armings: how many deadlines were armed so far.
        request_key: the key of the request that opened it; None when it had none.
    """

    id: SessionId
    version: int = 0
    events: int = 0
    room_name: RoomName
    room_sid: RoomSid | None = None
    is_name_held: bool = True
    room_status: RoomStatus = RoomStatus.CREATING
    stage: Stage = ""
    end_reason: str = ""
    degraded: bool = False
    user_identity: Identity
    user_name: str = ""
    livekit_url: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    limits: Limits = field(default_factory=Limits)
    jobs: tuple[Job, ...] = ()
    participants: dict[ParticipantSid, Participant] = field(default_factory=dict)
    standings: dict[Identity, Standing] = field(default_factory=dict)
    removed: tuple[ParticipantSid, ...] = ()
    recording: Recording | None = None
    earlier_recordings: tuple[Recording, ...] = ()
    deadlines: dict[str, Deadline] = field(default_factory=dict)
    armings: int = 0
    request_key: KeyScope | None = None

    @property
    def is_live(self) -> bool:
        """Whether the room life still has a room to come or to keep."""
        return self.room_status in LIVE

    @property
    def is_over(self) -> bool:
        """Whether the room life is over."""
        return self.room_status is RoomStatus.TERMINATED

    @property
    def is_open(self) -> bool:
        """Whether anything may still happen: the room life is not over, or a recorder is not done yet."""
        return (
            self.room_status is not RoomStatus.TERMINATED
            or (self.recording is not None and self.recording.is_running)
            or any(job.state in HELD for job in self.jobs)
        )

    @property
    def next_due(self) -> datetime | None:
        """When the next deadline is due; None when none is armed."""
        return min((deadline.due for deadline in self.deadlines.values()), default=None)

    @property
    def missing_services(self) -> tuple[ServiceId, ...]:
        """Required services that are not there, in the order they were asked for."""
        return tuple(job.service_id for job in self.jobs if job.is_missing)

    @property
    def clients(self) -> tuple[Participant, ...]:
        """Participants that count as clients."""
        return tuple(p for p in self.participants.values() if p.role == "client")

    def job(self, job_id: str) -> Job | None:
        """Give the job of this id, or None."""
        return next((job for job in self.jobs if job.job_id == job_id), None)

    def job_of(self, service_id: str) -> Job | None:
        """Give the job of this service, or None."""
        return next((job for job in self.jobs if job.service_id == service_id), None)

    def is_recorder(self, job: Job) -> bool:
        """Whether this job is the one that records: it needs no room to finish, and outlives it."""
        return job.service_id == RECORDER and self.recording is not None

    def jobs_of(self, worker_id: WorkerId) -> tuple[Job, ...]:
        """Give the jobs that this worker was offered or holds."""
        return tuple(job for job in self.jobs if job.worker_id == worker_id and job.state in HELD)


def evolve(session: Session, changes: dict[str, Any]) -> Session:
    """Do what `dataclasses.replace` does, in a fifth of its time: a step evolves its record a dozen times."""
    evolved = object.__new__(Session)
    evolved.__dict__.update(session.__dict__)
    evolved.__dict__.update(changes)
    return evolved


def freed_key(before: Session, after: Session) -> KeyScope | None:
    """Give the request key that is free again because its session got no room: a repeat may try anew."""
    is_failed = before.room_status is RoomStatus.CREATING and after.end_reason == "create_failed"
    return after.request_key if is_failed else None


def due_in(now: datetime, seconds: float) -> datetime:
    """Give the moment ``seconds`` after ``now``."""
    return now + timedelta(seconds=seconds)


def with_job(jobs: tuple[Job, ...], changed: Job) -> tuple[Job, ...]:
    """Replace the job of the same id."""
    return tuple(changed if job.job_id == changed.job_id else job for job in jobs)


def without(deadlines: Mapping[str, Deadline], name: str) -> dict[str, Deadline]:
    """Disarm: the deadlines but the one of this name."""
    return {key: deadline for key, deadline in deadlines.items() if key != name}
