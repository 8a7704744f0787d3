"""The life of a job and of the connection as a worker sees them: two tables, nothing else.

A pair that is not in its table is illegal and raises `IllegalStepError`. Who calls decides what that means: a
late frame or callback is logged and dropped, the worker's own step is a bug.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class IllegalStepError(Exception):
    """Something happened that this state does not know; late and repeated frames do that."""


class JobState(Enum):
    """Where one attempt of a job stands in this worker."""

    ACCEPTED = "accepted"  # the offer was taken; the assignment is on its way
    JOINING = "joining"  # the room is being joined for the first time
    JOINED = "joined"  # in the room, the author's code runs
    REJOINING = "rejoining"  # the room's connection was lost for good; joining again with a fresh token
    LEAVING = "leaving"  # asked to leave; the author puts things away; ends as DONE
    FAILING = "failing"  # it cannot go on; ends as FAILED
    STOPPING = "stopping"  # another attempt holds the job; ends as STALE, and nothing is reported
    DONE = "done"
    FAILED = "failed"
    STALE = "stale"


class JobStep(Enum):
    """What can happen to a job."""

    ASSIGNED = "assigned"  # token and room have come
    ENTERED = "entered"  # the room is joined, or joined again
    ROOM_LOST = "room_lost"  # the connection is gone, the room may still be there
    ROOM_CLOSED = "room_closed"  # the room was closed or deleted, or the author left it
    REMOVED = "removed"  # thrown out of the room, or replaced by the same identity: never rejoin
    LEAVE = "leave"  # the orchestrator, the author or a drain wants the job to end
    FAIL = "fail"  # the author's code raised or said so, or the room could not be joined
    WITHDRAW = "withdraw"  # stale, or not among the resumed ones
    PUT_AWAY = "put_away"  # nothing of the job is left here


class LeftBecause(Enum):
    """Why a room connection ended that we did not end."""

    LOST = JobStep.ROOM_LOST
    CLOSED = JobStep.ROOM_CLOSED
    REMOVED = JobStep.REMOVED


_J = JobState
_S = JobStep
ENDING: Final = frozenset({_J.LEAVING, _J.FAILING, _J.STOPPING})
ENDED: Final = frozenset({_J.DONE, _J.FAILED, _J.STALE})

JOB_TABLE: Final[dict[tuple[JobState, JobStep], JobState]] = {
    (_J.ACCEPTED, _S.ASSIGNED): _J.JOINING,
    (_J.ACCEPTED, _S.LEAVE): _J.LEAVING,
    (_J.ACCEPTED, _S.FAIL): _J.FAILING,
    (_J.ACCEPTED, _S.WITHDRAW): _J.STOPPING,
    (_J.JOINING, _S.ENTERED): _J.JOINED,
    (_J.JOINING, _S.LEAVE): _J.LEAVING,
    (_J.JOINING, _S.FAIL): _J.FAILING,
    (_J.JOINING, _S.WITHDRAW): _J.STOPPING,
    (_J.JOINED, _S.ROOM_LOST): _J.REJOINING,
    (_J.JOINED, _S.ROOM_CLOSED): _J.LEAVING,
    (_J.JOINED, _S.REMOVED): _J.FAILING,
    (_J.JOINED, _S.LEAVE): _J.LEAVING,
    (_J.JOINED, _S.FAIL): _J.FAILING,
    (_J.JOINED, _S.WITHDRAW): _J.STOPPING,
    (_J.REJOINING, _S.ENTERED): _J.JOINED,
    (_J.REJOINING, _S.LEAVE): _J.LEAVING,
    (_J.REJOINING, _S.FAIL): _J.FAILING,
    (_J.REJOINING, _S.WITHDRAW): _J.STOPPING,
    (_J.LEAVING, _S.LEAVE): _J.LEAVING,
    (_J.LEAVING, _S.FAIL): _J.FAILING,  # what was to be put away was not
    (_J.LEAVING, _S.WITHDRAW): _J.STOPPING,
    (_J.LEAVING, _S.PUT_AWAY): _J.DONE,
    (_J.FAILING, _S.LEAVE): _J.FAILING,
    (_J.FAILING, _S.FAIL): _J.FAILING,
    (_J.FAILING, _S.WITHDRAW): _J.STOPPING,
    (_J.FAILING, _S.PUT_AWAY): _J.FAILED,
    (_J.STOPPING, _S.LEAVE): _J.STOPPING,
    (_J.STOPPING, _S.FAIL): _J.STOPPING,
    (_J.STOPPING, _S.WITHDRAW): _J.STOPPING,
    (_J.STOPPING, _S.PUT_AWAY): _J.STALE,
}


class ConnectionState(Enum):
    """Where the pull connection stands."""

    OFFLINE = "offline"  # waiting before the next try
    DIALLING = "dialling"  # the WebSocket is being opened
    GREETING = "greeting"  # hello is sent, welcome is awaited
    ONLINE = "online"
    CLOSED = "closed"  # for good


class ConnectionStep(Enum):
    """What can happen to the pull connection."""

    DIAL = "dial"
    OPENED = "opened"
    WELCOMED = "welcomed"
    LOST = "lost"  # refused, timed out, cut, silent, or given up by us because our own loop hangs
    CLOSE = "close"


_C = ConnectionState
_E = ConnectionStep

CONNECTION_TABLE: Final[dict[tuple[ConnectionState, ConnectionStep], ConnectionState]] = {
    (_C.OFFLINE, _E.DIAL): _C.DIALLING,
    (_C.OFFLINE, _E.CLOSE): _C.CLOSED,
    (_C.DIALLING, _E.OPENED): _C.GREETING,
    (_C.DIALLING, _E.LOST): _C.OFFLINE,
    (_C.DIALLING, _E.CLOSE): _C.CLOSED,
    (_C.GREETING, _E.WELCOMED): _C.ONLINE,
    (_C.GREETING, _E.LOST): _C.OFFLINE,
    (_C.GREETING, _E.CLOSE): _C.CLOSED,
    (_C.ONLINE, _E.LOST): _C.OFFLINE,
    (_C.ONLINE, _E.CLOSE): _C.CLOSED,
}


def next_job_state(state: JobState, step: JobStep) -> JobState:
    """Look up where a job goes.

    Raises:
        IllegalStepError: the table has no such pair.
    """
    try:
        return JOB_TABLE[state, step]
    except KeyError:
        raise IllegalStepError(f"a job that is {state.value} does not know {step.value!r}") from None


def next_connection_state(state: ConnectionState, step: ConnectionStep) -> ConnectionState:
    """Look up where the connection goes.

    Raises:
        IllegalStepError: the table has no such pair.
    """
    try:
        return CONNECTION_TABLE[state, step]
    except KeyError:
        raise IllegalStepError(f"a connection that is {state.value} does not know {step.value!r}") from None
