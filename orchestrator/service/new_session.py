"""What a caller asks for when it creates a session, what the settings make of it, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from orchestrator.core.ids import Identity, RecordingId, RoomName, ServiceId, SessionId
from orchestrator.core.recording import Manner
from orchestrator.core.session import Limits, Session
from orchestrator.core.step import Opening, Wanted
from orchestrator.ports import CommandRow, Room, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """How one service of a new session is treated; ``policy`` None takes the session's."""

    required: bool = True
    policy: Literal["degrade", "strict"] | None = None
    priority: int = 0
    capabilities: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """What a caller asks for; the edge has checked names and ranges.

    Attributes:
        required_services: None = every default service that has a worker now, () = none.
        record: None = as the setting `[recording] auto` says.
        wait_s: how long the caller waits for Ready; None does not wait.
    """

    user_identity: str
    user_name: str = ""
    room_name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    required_services: tuple[str, ...] | None = None
    services: dict[str, ServiceOptions] = field(default_factory=dict)
    policy: Literal["degrade", "strict"] = "degrade"
    record: bool | None = None
    expires_in_s: float | None = None
    max_duration_s: float | None = None
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """What the settings say of every session."""

    livekit_url: str
    limits: Limits
    record_auto: bool = False
    record_manner: Manner = field(default_factory=Manner)
    max_duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedSession:
    """A session as its creator gets it: the record, and the client's token."""

    session: Session
    token: Token
    livekit_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A session whose intent is committed; ``calling`` when its room was asked for already."""

    session: Session
    row: CommandRow
    calling: asyncio.Future[Room] | None = None


class ServiceDirectory(Protocol):
    """Who is there to be asked."""

    def default_services(self) -> tuple[ServiceId, ...]:
        """Give the services that sessions get by default and that have a worker now."""


def opening_of(
    request: NewSession,
    policy: SessionPolicy,
    *,
    new_id: Callable[[], str],
    default_services: Callable[[], tuple[ServiceId, ...]],
) -> Opening:
    """Give everything the new session is made of.

    Args:
        request: what the caller asks for.
        policy: what the settings say of every session.
        new_id: gives a uuid4.
        default_services: asked when the request names no services.
    """
    session_id = SessionId(new_id())
    limits = policy.limits
    if request.expires_in_s is not None:
        limits = replace(limits, ttl_s=request.expires_in_s)
    is_recorded = policy.record_auto if request.record is None else request.record
    named = default_services() if request.required_services is None else request.required_services
    return Opening(
        session_id=session_id,
        room_name=RoomName(request.room_name or f"room-{session_id}"),
        user_identity=Identity(request.user_identity),
        user_name=request.user_name,
        livekit_url=policy.livekit_url,
        metadata=request.metadata,
        services=_wanted(request, named),
        recording_id=RecordingId(new_id()) if is_recorded else None,
        recording_manner=policy.record_manner,
        limits=limits,
        max_duration_s=request.max_duration_s or policy.max_duration_s,
    )


def _wanted(request: NewSession, named: tuple[str, ...]) -> tuple[Wanted, ...]:
    wanted = []
    for name in dict.fromkeys((*named, *request.services)):
        options = request.services.get(name, ServiceOptions())
        wanted.append(
            Wanted(
                service_id=ServiceId(name),
                required=options.required,
                strict=(options.policy or request.policy) == "strict",
                priority=options.priority,
                capabilities=options.capabilities,
            )
        )
    return tuple(wanted)
