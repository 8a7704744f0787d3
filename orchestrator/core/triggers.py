"""What can happen to a session: the inputs of `step`. Truth from LiveKit comes as lists, never as hearsay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.core.ids import Identity, JobId, ParticipantSid, RecordingId, RoomSid, ServiceId, WorkerId
from orchestrator.core.recording import Manner, Operation, RecordingStatus

Role = Literal["client", "operator", "worker", "recorder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody in a room, as LiveKit lists them.

    Attributes:
        role: from the signed attribute that we minted; ``client`` when there is none.
        service_id, attempt: from the signed attributes of workers; None and 0 for others. A LiveKit agent has
            the service ``agent:NAME``, and attempt 0 until LiveKit has said which dispatch it came by.
        grant: from the signed attribute of clients and operators; 0 when there is none.
        session_id: which session the token was minted for; "" when we did not mint it.
        is_assumed: in a session's record: its attempt is taken for the current one, LiveKit has not said so.
    """

    identity: Identity
    sid: ParticipantSid
    role: Role = "client"
    service_id: ServiceId | None = None
    attempt: int = 0
    grant: int = 0
    session_id: str = ""
    is_assumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomCreated:
    """LiveKit answered CreateRoom (the first time, or after it had lost the room)."""

    sid: RoomSid


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomCreateFailed:
    """The room could not be created and the caller is being told so."""

    detail: str
    is_foreign: bool = False  # the name is a stranger's room: never deleted by us


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomLost:
    """Two lists of LiveKit did not show the room, nobody deleted it and no `room_finished` of it came."""

    sid: RoomSid | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomFinished:
    """LiveKit says that the room of this SID ended."""

    sid: RoomSid


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomDeleted:
    """LiveKit confirmed that the room is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParticipantsSeen:
    """Who is in the room (any of them), and which SIDs are certainly not (absent twice, or by webhook)."""

    present: tuple[Participant, ...] = ()
    gone: frozenset[ParticipantSid] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOffered:
    """A worker is about to be asked. ``is_push``: the offer carries the token and may take effect unseen."""

    job_id: JobId
    worker_id: WorkerId
    is_push: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAccepted:
    """The worker took the offer."""

    job_id: JobId
    attempt: int
    manual_ready: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRefused:
    """The worker refused the offer or answered with an error; ask the next one.

    ``retry_after_s``: this worker is not asked again before so many seconds, the retry interval at most
    (None: after a pause that grows); others are asked at once.
    """

    job_id: JobId
    attempt: int
    detail: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReady:
    """The worker says that it is ready (counts with ``manual_ready``)."""

    job_id: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDone:
    """The worker left as agreed."""

    job_id: JobId
    attempt: int
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLost:
    """The worker is dead, gave up, or no longer knows of the job: offer it again."""

    job_id: JobId
    attempt: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminateAsked:
    """A caller ends the session."""

    reason: str = "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalAsked:
    """A caller wants somebody out of the room: with ``is_barred`` for good, else until a new token."""

    identity: Identity
    is_barred: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAsked:
    """A token of this role is about to be minted for somebody."""

    identity: Identity
    role: Literal["client", "operator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineReached:
    """A deadline is due; it does nothing when its arming is over."""

    name: str
    arming: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingReported:
    """The recorder's `recording` frame."""

    job_id: JobId
    attempt: int
    n: int
    status: RecordingStatus
    tree_size: int
    root: str
    checkpoint: str
    store: str
    stats: dict[str, float]
    op: int
    closes: tuple[dict[str, Any], ...]
    detail: str
    gaps: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingStartAsked:
    """A caller wants the session recorded.

    ``recording_id``: of the recording that begins, if one does; what ``manner`` does not say is as in
    ``default``, or as it is; ``refusal``: why none may begin now, "" when one may; ``e2ee``:
    sealed key of the room's end-to-end encryption.
    """

    recording_id: RecordingId
    manner: Manner = field(default_factory=Manner)
    default: Manner = field(default_factory=Manner)
    e2ee: str = field(default="", repr=False)
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingControlAsked:
    """A caller wants the recording paused, resumed or stopped."""

    op: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingDeletionDone:
    """Nothing of a recording's media is left; ``cause``: asked, retention or quota."""

    recording_id: RecordingId
    cause: str


Trigger = (
    RoomCreated
    | RoomCreateFailed
    | RoomLost
    | RoomFinished
    | RoomDeleted
    | ParticipantsSeen
    | JobOffered
    | JobAccepted
    | JobRefused
    | JobReady
    | JobDone
    | JobLost
    | TerminateAsked
    | RemovalAsked
    | RoleAsked
    | DeadlineReached
    | RecordingReported
    | RecordingStartAsked
    | RecordingControlAsked
    | RecordingDeletionDone
)
