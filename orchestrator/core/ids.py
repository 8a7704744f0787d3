"""The identifiers of the orchestrator, each its own type so that one is never passed for another."""

from __future__ import annotations

import re
from typing import Final, NewType

SessionId = NewType("SessionId", str)  # uuid4, as the contract promises
ServiceId = NewType("ServiceId", str)  # what a worker offers, by name
WorkerId = NewType("WorkerId", str)  # one running process; "service/worker" in the registry
JobId = NewType("JobId", str)  # "<session_id>-<n>"
RoomName = NewType("RoomName", str)
RoomSid = NewType("RoomSid", str)  # LiveKit's number of one life of a room
ParticipantSid = NewType("ParticipantSid", str)
Identity = NewType("Identity", str)  # a participant's unique name in its room
RecordingId = NewType("RecordingId", str)
CallerId = NewType("CallerId", str)  # who sent a request
InstanceId = NewType("InstanceId", str)  # one start of one orchestrator process

MAX_NAME: Final = 128  # characters of a service id, an identity, a room name
AGENT_PREFIX: Final = "agent:"  # before the name of a LiveKit agent that is asked for as a service
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f#]")
_AGENT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def job_id(session_id: SessionId, number: int) -> JobId:
    """Name the job of a session's ``number``-th service (from 1). Safe as a file name."""
    return JobId(f"{session_id}-{number}")


def identity_of(service_id: ServiceId, attempt: int) -> Identity:
    """Give the identity under which an attempt of a service joins: the plain id first, ``id#2`` later.

    Source: architecture §5.
    """
    return Identity(service_id if attempt == 1 else f"{service_id}#{attempt}")


def second_identity_of(service_id: ServiceId, attempt: int) -> Identity:
    """Give the identity of an attempt's second connection; no client can have it, because of its ``#``."""
    return Identity(f"{service_id}#{attempt}.second")


def name_problem(value: str, *, what: str) -> str | None:
    """Say in one sentence why ``value`` cannot be a service id, identity or room name; None when it can.

    ``#`` separates a service from its attempt, control characters break logs and SSE frames.
    """
    if not value.strip():
        return f"{what} is empty; give a name of 1 to {MAX_NAME} characters"
    if len(value) > MAX_NAME:
        return f"{what} has {len(value)} characters; the limit is {MAX_NAME}"
    if _FORBIDDEN.search(value):
        return f"{what} {value[:40]!r} contains '#' or a control character; leave them out"
    return None


def is_agent(service_id: str) -> bool:
    """Tell whether a service is a LiveKit agent: LiveKit dispatches it, no worker of ours offers it."""
    return service_id.startswith(AGENT_PREFIX)


def agent_name_of(service_id: ServiceId) -> str:
    """Give the name under which the agent of ``agent:NAME`` registers at LiveKit."""
    return service_id.removeprefix(AGENT_PREFIX)


def agent_problem(service_id: str) -> str | None:
    """Say in one sentence why what follows ``agent:`` is no agent's name; None when it is, or no agent."""
    if not is_agent(service_id) or _AGENT_NAME.fullmatch(service_id, len(AGENT_PREFIX)):
        return None
    return (
        f"{service_id[:40]!r} names no agent; after '{AGENT_PREFIX}' give letters, digits, '.', '_' and '-',"
        " a letter or digit first"
    )
