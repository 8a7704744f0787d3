"""What each role may do in a room: the content of a token before it is signed.

Source: architecture §4 (room and token policy), contracts §5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from orchestrator.core.ids import Identity, RoomName, ServiceId, SessionId, identity_of, second_identity_of
from orchestrator.core.triggers import Role

# Beside the attributes that workers read too (`sdk.wire`), these are signed into tokens: what an old token
# is known by. LiveKit signs them again into every token that it renews.
ATTRIBUTE_SESSION: Final = "greenroom.session"
ATTRIBUTE_GRANT: Final = "greenroom.grant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the record keeps of an identity whose earlier tokens no longer count.

    Attributes:
        number: a token minted with a lower grant number is useless; who has no standing is at 0.
        role: the one that tokens were last minted for.
        is_barred: gets no token any more.
    """

    number: int
    role: Literal["client", "operator"] = "client"
    is_barred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Permissions of one participant in one room.

    Attributes:
        kind: LiveKit's participant kind; a hidden recorder must be an agent, else it keeps rooms open.
        session_id: signed into the token: a room name can be used again by another session.
        number: grant number of the identity, signed into tokens of clients and operators (`Standing`).
    """

    room_name: RoomName
    identity: Identity
    name: str
    role: Role
    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    hidden: bool = False
    recorder: bool = False
    kind: Literal["standard", "agent"] = "standard"
    service_id: ServiceId | None = None
    attempt: int = 0
    session_id: SessionId | None = None
    number: int = 0


def client_grant(
    room_name: RoomName,
    identity: Identity,
    name: str,
    *,
    session_id: SessionId | None = None,
    number: int = 0,
) -> Grant:
    """Let a client publish, subscribe and send data."""
    return Grant(
        room_name=room_name,
        identity=identity,
        name=name,
        role="client",
        session_id=session_id,
        number=number,
    )


def operator_grant(
    room_name: RoomName,
    identity: Identity,
    name: str,
    *,
    session_id: SessionId | None = None,
    number: int = 0,
) -> Grant:
    """Let an operator look and listen, unseen and without publishing."""
    return Grant(
        room_name=room_name,
        identity=identity,
        name=name,
        role="operator",
        session_id=session_id,
        number=number,
        can_publish=False,
        can_publish_data=False,
        hidden=True,
    )


def worker_grant(
    room_name: RoomName, service_id: ServiceId, attempt: int, *, session_id: SessionId | None = None
) -> Grant:
    """Let an attempt of a service publish, subscribe and send data, under its attempt's identity."""
    return Grant(
        room_name=room_name,
        identity=identity_of(service_id, attempt),
        name=service_id,
        role="worker",
        service_id=service_id,
        attempt=attempt,
        session_id=session_id,
    )


def recorder_grant(
    room_name: RoomName,
    service_id: ServiceId,
    attempt: int,
    *,
    session_id: SessionId | None = None,
    is_second: bool = False,
) -> Grant:
    """Let an attempt of the recorder subscribe, hidden, as an agent; it lights the recording indicator.

    ``is_second``: for a connection beside the first, because LiveKit lets an identity in only once.
    """
    named = second_identity_of if is_second else identity_of
    return Grant(
        room_name=room_name,
        identity=named(service_id, attempt),
        name=service_id,
        role="recorder",
        can_publish=False,
        can_publish_data=False,
        hidden=True,
        recorder=True,
        kind="agent",
        service_id=service_id,
        attempt=attempt,
        session_id=session_id,
    )
