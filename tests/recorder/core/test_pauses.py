"""Pauses over several attempts: what is declared, reported and counted."""

from __future__ import annotations

from typing import Any

import pytest

from recorder.core.pauses import Pauses
from vault.core.manifest import Gap


def test_a_pause_that_ended_is_declared_and_one_that_goes_on_is_only_reported() -> None:
    pauses = Pauses()
    pauses.begin(10)
    pauses.begin(12)  # it goes on already
    assert pauses.is_open
    assert (pauses.gaps(), pauses.stated()) == ([], [{"start_us": 10, "reason": "paused"}])
    pauses.end(30)
    pauses.end(40)
    assert pauses.gaps() == [Gap(start_us=10, end_us=30, reason="paused")]
    pauses.begin(50)
    assert pauses.marks_us == [10, 50]


def test_the_next_attempt_goes_on_from_what_was_reported() -> None:
    pauses = Pauses()
    pauses.begin(10)
    pauses.end(20)
    pauses.begin(30)
    after = Pauses(pauses.stated())
    assert (after.is_open, after.marks_us) == (True, [10, 30])
    after.end(90)
    assert [(gap.start_us, gap.end_us) for gap in after.gaps()] == [(10, 20), (30, 90)]


def test_a_clock_that_was_set_back_makes_no_pause_that_ends_before_it_began() -> None:
    pauses = Pauses([{"start_us": 100}])
    pauses.end(90)
    assert pauses.gaps() == [Gap(start_us=100, end_us=100, reason="paused")]


def test_the_time_paused_within_an_attempt() -> None:
    pauses = Pauses([{"start_us": 0, "end_us": 20}, {"start_us": 50}])
    assert pauses.length_us(since_us=10, until_us=70) == 10 + 20
    assert pauses.length_us(since_us=30, until_us=40) == 0


@pytest.mark.parametrize("entry", [{}, {"start_us": "1"}, {"start_us": 1, "end_us": "2"}])
def test_what_cannot_be_read_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="start_us"):
        Pauses([entry])
