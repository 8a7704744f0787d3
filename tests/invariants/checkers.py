"""The invariants as functions over a history, by name. Source: design, `invariants.md`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.invariants.checks.asked import check_drains, check_removals
from tests.invariants.checks.deliveries import check_deliveries
from tests.invariants.checks.feed import check_i7
from tests.invariants.checks.jobs import check_i3, check_i4, check_i5, check_i6
from tests.invariants.checks.rooms import check_i9, check_i10
from tests.invariants.checks.sessions import check_i1, check_i2, check_i8, check_i11, check_i12, check_i13
from tests.invariants.checks.size import check_i14
from tests.invariants.checks.watching import Violation
from tests.invariants.history import History, Unhandled

Checker = Callable[[History], list[Violation]]


def check_unhandled(history: History) -> list[Violation]:
    """Nothing is raised that nobody takes: such a thing ends a loop, or is lost without a word."""
    return [
        Violation(invariant="unhandled", at=record.at, what=f"{record.instance}: {record.what}")
        for record in history.of(Unhandled)
    ]


CHECKERS: Final[dict[str, Checker]] = {
    "I1": check_i1,
    "I2": check_i2,
    "I3": check_i3,
    "I4": check_i4,
    "I5": check_i5,
    "I6": check_i6,
    "I7": check_i7,
    "I8": check_i8,
    "I9": check_i9,
    "I10": check_i10,
    "I11": check_i11,
    "I12": check_i12,
    "I13": check_i13,
    "I14": check_i14,
    "unhandled": check_unhandled,
    "removals": check_removals,
    "drains": check_drains,
    "deliveries": check_deliveries,
}


def check_all(history: History) -> list[Violation]:
    """Give every violation of every invariant, in order of time."""
    found = [violation for check in CHECKERS.values() for violation in check(history)]
    return sorted(found, key=lambda violation: violation.at)
