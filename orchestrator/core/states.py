"""The room life of a session: one table of (state, cause) -> state. A pair that is not in it is illegal.

`docs/STATES.md` is printed from this table. Source: architecture §4.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from orchestrator.core.errors import IllegalTransitionError


class RoomStatus(Enum):
    """Where the room life of a session stands."""

    CREATING = "Creating"  # LiveKit is being asked for a room
    WAITING = "WaitingForServices"  # the room exists, required workers are still joining
    READY = "Ready"  # whoever must be there is there (or named as missing), no client yet
    ACTIVE = "Active"  # a client is present
    TERMINATING = "Terminating"  # tokens are refused; capture, workers and room come to their end
    TERMINATED = "Terminated"  # final within one room life


class Cause(Enum):
    """Why the room life moves."""

    ROOM_CREATED = "room created, nothing required"
    ROOM_CREATED_WAITING = "room created, services required"
    CREATE_FAILED = "room cannot be created within its deadline, or the caller was told 502"
    SERVICES_PRESENT = "every required service present"
    SERVICES_MISSING = "join deadline under `degrade`"
    SERVICES_TIMEOUT = "join deadline or service timeout under `strict`"
    CLIENT_PRESENT = "first client present"
    CLIENTS_GONE = "last client gone"
    SERVICE_GONE = "required worker gone"
    SERVICE_HEALED = "required worker back"
    ROOM_LOST = "LiveKit lost the room"
    CLIENT_TIMEOUT = "client deadline"
    ENDED = "terminate call, delete, max_duration, expires_at, room_finished of this SID"
    CLEANED_UP = "participants out and room deleted"
    HARD_LIMIT = "hard limit of the ending"


_S, _C = RoomStatus, Cause

LIVE: Final = frozenset({_S.CREATING, _S.WAITING, _S.READY, _S.ACTIVE})

TABLE: Final[dict[tuple[RoomStatus, Cause], RoomStatus]] = {
    (_S.CREATING, _C.ROOM_CREATED): _S.READY,
    (_S.CREATING, _C.ROOM_CREATED_WAITING): _S.WAITING,
    (_S.CREATING, _C.CREATE_FAILED): _S.TERMINATING,
    (_S.WAITING, _C.SERVICES_PRESENT): _S.READY,
    (_S.WAITING, _C.SERVICES_MISSING): _S.READY,
    (_S.WAITING, _C.SERVICES_TIMEOUT): _S.TERMINATING,
    (_S.READY, _C.CLIENT_PRESENT): _S.ACTIVE,
    (_S.READY, _C.CLIENT_TIMEOUT): _S.TERMINATING,
    (_S.ACTIVE, _C.CLIENTS_GONE): _S.READY,
    **{(state, _C.SERVICE_GONE): state for state in (_S.READY, _S.ACTIVE)},
    **{(state, _C.SERVICE_HEALED): state for state in (_S.READY, _S.ACTIVE)},
    **{(state, _C.SERVICES_TIMEOUT): _S.TERMINATING for state in (_S.READY, _S.ACTIVE)},
    **{(state, _C.ROOM_LOST): state for state in (_S.CREATING, _S.WAITING, _S.READY, _S.ACTIVE)},
    **{(state, _C.ENDED): _S.TERMINATING for state in (_S.CREATING, _S.WAITING, _S.READY, _S.ACTIVE)},
    (_S.TERMINATING, _C.CLEANED_UP): _S.TERMINATED,
    (_S.TERMINATING, _C.HARD_LIMIT): _S.TERMINATED,
}


def move(state: RoomStatus, cause: Cause) -> RoomStatus:
    """Give the state that follows.

    Raises:
        IllegalTransitionError: the table has no such pair.
    """
    try:
        return TABLE[state, cause]
    except KeyError:
        raise IllegalTransitionError(
            f"a session that is {state.value} cannot move by: {cause.value}"
        ) from None
