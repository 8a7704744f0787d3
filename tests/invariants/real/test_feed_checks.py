"""The checks complain: each is shown what it must not let pass, beside a history in which all is well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sdk.client import ServerEvent
from tests.invariants.real.feed_checks import (
    Stored,
    check_attempts,
    check_deliveries,
    check_moves,
    check_presence,
    check_reader,
    check_rooms,
    check_store,
)
from tests.invariants.real.fleet import Line


def told(seq: int, name: str, **data: Any) -> ServerEvent:
    return ServerEvent(id=f"7:{seq}", event=name, data={"session_id": "s1", **data})


def job(seq: int, state: str, attempt: int, worker_id: str) -> ServerEvent:
    return told(seq, f"job_{state}", job_id="s1-1", attempt=attempt, worker_id=worker_id)


GOOD = [
    told(1, "session_created"),
    job(2, "offered", 1, "a"),
    told(3, "status_changed", status="WaitingForServices"),
    job(4, "accepted", 1, "a"),
    job(5, "joined", 1, "a"),
    told(6, "status_changed", status="Ready"),
    job(8, "lost", 1, "a"),
    told(9, "status_changed", status="Ready", degraded=True),
    job(10, "offered", 2, "b"),
    job(11, "joined", 2, "b"),
    told(12, "status_changed", status="Terminating"),
    told(13, "status_changed", status="Terminated"),
    told(14, "session_terminated", end_reason="terminated"),
]
STORED = [
    Stored(seq=int(event.id[2:]), session=1, number=number, name=event.event)
    for number, event in enumerate(GOOD, start=1)
]


def test_nobody_complains_of_a_good_history() -> None:
    assert check_reader(GOOD, GOOD, who="r") == []
    assert check_store(GOOD, STORED) == []
    assert check_moves(GOOD) == []
    assert check_attempts(GOOD) == []


@pytest.mark.parametrize(
    ("got", "complaint"),
    [
        (GOOD[:3] + GOOD[4:], "missed 1 events, the first 7:4"),
        ([*GOOD[:3], GOOD[2], *GOOD[3:]], "got 7:3 2 times"),
        ([GOOD[1], GOOD[0], *GOOD[2:]], "another order"),
        ([*GOOD, told(15, "error")], "events that the feed does not tell"),
        ([told(0, "gap"), *GOOD], "told of a gap"),
    ],
    ids=["missed", "twice", "order", "invented", "gap"],
)
def test_a_reader_that_was_served_wrongly_is_seen(got: list[ServerEvent], complaint: str) -> None:
    assert complaint in " ".join(check_reader(got, GOOD, who="r"))


def test_a_feed_that_differs_from_the_store_is_seen() -> None:
    assert check_store(GOOD[:-1], STORED)
    assert check_store(GOOD, [*STORED[:-1], replace(STORED[-1], name="error")])
    assert check_store(GOOD, [*STORED[:-1], replace(STORED[-1], number=20)])


def test_illegal_moves_are_seen() -> None:
    assert check_moves([*GOOD, told(15, "status_changed", status="Ready")]) == [
        "s1 moved from Terminated to Ready"
    ]
    assert check_moves([*GOOD, told(15, "session_created")]) == ["s1 was created twice"]
    assert check_moves([GOOD[0], GOOD[-1]]) == ["s1 is said to be terminated while Creating"]


@pytest.mark.parametrize(
    "more",
    [job(15, "offered", 2, "c"), job(15, "done", 1, "a"), job(15, "joined", 2, "c")],
    ids=["attempt-again", "old-attempt", "another-worker"],
)
def test_a_word_of_a_wrong_attempt_is_seen(more: ServerEvent) -> None:
    assert len(check_attempts([*GOOD, more])) == 1


def test_an_attempt_on_two_workers_is_seen() -> None:
    first = Line(at=1.0, what="joined", worker_id="a", job_id="j", attempt=1, detail="")
    assert check_deliveries([first, replace(first, attempt=2, worker_id="b"), first]) == []
    assert check_deliveries([first, replace(first, worker_id="b")]) == ["attempt 1 of j ran on a and on b"]


def test_ghosts_and_missing_rooms_are_seen() -> None:
    assert check_rooms({"r": "RM_1"}, {"r": "s1"}) == []
    assert check_rooms({"r": "RM_1"}, {}) == ["room r belongs to no live session"]
    assert check_rooms({}, {"r": "s1"}) == ["session s1 has no room"]


def test_zombies_and_absences_are_seen() -> None:
    assert check_presence(["anna", "asr#2"], {"asr": "asr#2"}, session_id="s1") == []
    assert check_presence(["asr", "asr#2"], {"asr": "asr#2"}, session_id="s1")
    assert check_presence(["anna"], {"asr": "asr#2"}, session_id="s1")
