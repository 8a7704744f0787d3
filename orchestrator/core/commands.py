"""What is to be done outside, as durable rows: each may be carried out more than once, and so is idempotent.

Offers are not among them: a pending job is itself the durable word that somebody must be asked
(docs/decisions/0001-offers-are-not-commands.md).
"""

from __future__ import annotations

from msgspec import Struct


class CreateRoom(Struct, frozen=True, kw_only=True, tag="CreateRoom"):
    """Ask LiveKit for the session's room. Dropped when the session is ending."""

    room_name: str


class DeleteRoom(Struct, frozen=True, kw_only=True, tag="DeleteRoom"):
    """Delete the room (a missing one is deleted). Repeated until LiveKit confirms; outlives Terminated."""

    room_name: str


class RemoveParticipant(Struct, frozen=True, kw_only=True, tag="RemoveParticipant"):
    """Put an identity out of the room (a missing one is out), unless who has it by then may be there."""

    room_name: str
    identity: str
    reason: str


class LeaveJob(Struct, frozen=True, kw_only=True, tag="LeaveJob"):
    """Tell a worker to leave; ``is_stale`` when a newer attempt exists."""

    job_id: str
    attempt: int
    worker_id: str
    room_name: str
    reason: str
    is_stale: bool = False


class ControlRecording(Struct, frozen=True, kw_only=True, tag="ControlRecording"):
    """Send the recorder an operation; done when a report shows its number or the job has moved on."""

    job_id: str
    attempt: int
    worker_id: str
    n: int
    op: str


class DispatchAgent(Struct, frozen=True, kw_only=True, tag="DispatchAgent"):
    """Have LiveKit dispatch the agent of a job's attempt; those of earlier attempts are deleted first."""

    job_id: str
    attempt: int


class DeleteDispatch(Struct, frozen=True, kw_only=True, tag="DeleteDispatch"):
    """Delete the dispatches of a job up to this attempt (missing ones are deleted); the agent is told so."""

    job_id: str
    attempt: int


Command = (
    CreateRoom | DeleteRoom | RemoveParticipant | LeaveJob | ControlRecording | DispatchAgent | DeleteDispatch
)
