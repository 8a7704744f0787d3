"""Delays begin short, double to a limit, and are spread by chance."""

from __future__ import annotations

import pytest

from sdk.backoff import FIRST_S, LIMIT_S, Backoff


def test_delays_double_to_the_limit() -> None:
    backoff = Backoff(first_s=1.0, limit_s=5.0, chance=lambda: 1.0)
    assert [backoff.next_s() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_chance_takes_off_up_to_half() -> None:
    backoff = Backoff(first_s=1.0, limit_s=5.0, chance=lambda: 0.0)
    assert [backoff.next_s() for _ in range(2)] == [0.5, 1.0]


def test_reset_begins_again() -> None:
    backoff = Backoff(chance=lambda: 1.0)
    backoff.next_s()
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == FIRST_S


def test_a_worker_is_back_in_time_for_both_of_the_orchestrators_limits() -> None:
    assert FIRST_S < 1.0  # a closed socket
    assert LIMIT_S < 6.0  # an orchestrator that started again


def test_very_many_tries() -> None:
    backoff = Backoff(chance=lambda: 1.0)
    assert [backoff.next_s() for _ in range(2000)][-1] == pytest.approx(LIMIT_S)
