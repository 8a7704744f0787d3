"""The room life's table, cell by cell against architecture §4."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.states import LIVE, TABLE, Cause, RoomStatus, move

S, C = RoomStatus, Cause

# Written out once more, by state, so that a change of the table is a decision and no accident.
EXPECTED: dict[RoomStatus, dict[Cause, RoomStatus]] = {
    S.CREATING: {
        C.ROOM_CREATED: S.READY,
        C.ROOM_CREATED_WAITING: S.WAITING,
        C.CREATE_FAILED: S.TERMINATING,
        C.ROOM_LOST: S.CREATING,
        C.ENDED: S.TERMINATING,
    },
    S.WAITING: {
        C.SERVICES_PRESENT: S.READY,
        C.SERVICES_MISSING: S.READY,
        C.SERVICES_TIMEOUT: S.TERMINATING,
        C.ROOM_LOST: S.WAITING,
        C.ENDED: S.TERMINATING,
    },
    S.READY: {
        C.CLIENT_PRESENT: S.ACTIVE,
        C.CLIENT_TIMEOUT: S.TERMINATING,
        C.SERVICE_GONE: S.READY,
        C.SERVICE_HEALED: S.READY,
        C.SERVICES_TIMEOUT: S.TERMINATING,
        C.ROOM_LOST: S.READY,
        C.ENDED: S.TERMINATING,
    },
    S.ACTIVE: {
        C.CLIENTS_GONE: S.READY,
        C.SERVICE_GONE: S.ACTIVE,
        C.SERVICE_HEALED: S.ACTIVE,
        C.SERVICES_TIMEOUT: S.TERMINATING,
        C.ROOM_LOST: S.ACTIVE,
        C.ENDED: S.TERMINATING,
    },
    S.TERMINATING: {C.CLEANED_UP: S.TERMINATED, C.HARD_LIMIT: S.TERMINATED},
    S.TERMINATED: {},
}


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize("state", RoomStatus)
def test_every_cell(state: RoomStatus, cause: Cause) -> None:
    after = EXPECTED[state].get(cause)
    if after is not None:
        assert move(state, cause) is after
        return
    with pytest.raises(IllegalTransitionError, match=state.value) as caught:
        move(state, cause)
    assert cause.value in str(caught.value)


def test_the_words_are_the_references() -> None:
    words = "Creating WaitingForServices Ready Active Terminating Terminated"
    assert [state.value for state in RoomStatus] == words.split()


@pytest.mark.parametrize("state", RoomStatus)
def test_every_state_can_still_end(state: RoomStatus) -> None:
    reachable = {state}
    while True:
        more = {after for (before, _), after in TABLE.items() if before in reachable} - reachable
        if not more:
            break
        reachable |= more
    assert RoomStatus.TERMINATED in reachable


def test_nothing_leads_back_from_the_end() -> None:
    ended = {S.TERMINATING, S.TERMINATED}
    assert frozenset(RoomStatus) - ended == LIVE
    assert all(after in ended for (before, _), after in TABLE.items() if before in ended)


def test_every_cause_has_a_place() -> None:
    assert {cause for _, cause in TABLE} == set(Cause)
