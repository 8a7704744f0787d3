"""The breaker of a worker, step by step: what opens it, what it lets through, what closes it."""

from __future__ import annotations

from orchestrator.core.breaker import (
    FAILURES,
    Breaker,
    asked,
    failed,
    joined,
    registered_anew,
    told_to_wait,
    withdrawn,
)
from orchestrator.core.ids import JobId

J1, J2 = JobId("s1-1"), JobId("s2-1")
MAX_S = 30.0


def failing(times: int, breaker: Breaker | None = None, now_s: float = 0.0) -> Breaker:
    breaker = breaker or Breaker()
    for number in range(times):
        breaker = failed(breaker, JobId(f"s{number}-1"), now_s, max_rest_s=MAX_S)
    return breaker


def probed(breaker: Breaker, now_s: float) -> Breaker:
    return asked(breaker, J1, now_s)


def test_it_opens_at_the_third_failure_in_a_row_and_not_before() -> None:
    assert failing(FAILURES - 1).state(0.0) == "closed"
    assert failing(FAILURES - 1).rests_s(0.0) is None
    assert failing(FAILURES).state(0.0) == "open"
    assert failing(FAILURES).rests_s(0.25) == 0.75


def test_who_joins_in_between_begins_anew() -> None:
    breaker = joined(failing(FAILURES - 1))
    assert failing(FAILURES - 1, breaker).state(0.0) == "closed"


def test_after_its_rest_exactly_one_job_is_let_through() -> None:
    breaker = failing(FAILURES)
    assert breaker.state(1.0) == "half_open"
    assert breaker.rests_s(1.0) is None
    breaker = probed(breaker, 1.0)
    assert breaker.rests_s(1.0) == 0.0
    assert asked(breaker, J2, 1.0) == breaker


def test_the_probe_that_joins_closes_it() -> None:
    breaker = joined(probed(failing(FAILURES), 1.0))
    assert breaker == Breaker()
    assert breaker.state(1.0) == "closed"


def test_the_probe_that_fails_opens_it_for_twice_as_long_up_to_the_limit() -> None:
    breaker, now_s, rests = failing(FAILURES), 0.0, []
    for _ in range(8):
        rest_s = breaker.rests_s(now_s)
        assert rest_s is not None
        rests.append(rest_s)
        now_s += rest_s
        breaker = failed(probed(breaker, now_s), J1, now_s, max_rest_s=MAX_S)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_what_was_offered_before_fails_without_opening_it_further() -> None:
    breaker = failing(FAILURES)
    assert failing(5, breaker, now_s=0.5).rests_until == breaker.rests_until
    half_open = probed(breaker, 1.0)
    assert failed(half_open, J2, 1.0, max_rest_s=MAX_S).probe == J1
    assert failed(half_open, J2, 1.0, max_rest_s=MAX_S).rests_until == breaker.rests_until


def test_a_probe_whose_session_ended_makes_way_for_another() -> None:
    breaker = probed(failing(FAILURES), 1.0)
    assert withdrawn(breaker, J2) == breaker
    assert withdrawn(breaker, J1).rests_s(1.0) is None
    assert withdrawn(breaker, J1).state(1.0) == "half_open"


def test_an_offer_to_a_closed_or_open_one_is_no_probe() -> None:
    assert asked(Breaker(), J1, 0.0) == Breaker()
    assert asked(failing(FAILURES), J1, 0.5).probe is None


def test_retry_after_is_kept_but_not_beyond_the_limit() -> None:
    assert told_to_wait(Breaker(), 20.0, 5.0, max_rest_s=MAX_S).rests_s(5.0) == 20.0
    assert told_to_wait(Breaker(), 3600.0, 5.0, max_rest_s=MAX_S).rests_s(5.0) == MAX_S
    assert told_to_wait(Breaker(), 0.0, 5.0, max_rest_s=MAX_S) == Breaker()
    resting = told_to_wait(Breaker(), 20.0, 0.0, max_rest_s=MAX_S)
    assert told_to_wait(resting, 1.0, 0.0, max_rest_s=MAX_S) == resting


def test_who_registers_anew_gets_its_probe_at_once() -> None:
    breaker = registered_anew(failing(FAILURES), 0.1)
    assert (breaker.state(0.1), breaker.rests_s(0.1)) == ("half_open", None)
    assert registered_anew(failing(2), 0.1) == Breaker()


def test_a_day_of_failures_is_no_overflow() -> None:
    breaker, now_s = failing(FAILURES), 0.0
    for _ in range(5000):
        now_s += MAX_S
        breaker = failed(probed(breaker, now_s), J1, now_s, max_rest_s=MAX_S)
    assert breaker.rests_s(now_s) == MAX_S
