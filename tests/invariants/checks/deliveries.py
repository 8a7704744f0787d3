"""Outgoing webhooks: what a receiver got is the feed, in order per session, each event under one id."""

from __future__ import annotations

from itertools import pairwise

from tests.invariants.checks.watching import Violation
from tests.invariants.history import Appended, History
from tests.invariants.outgoing_records import Delivered, Subscribed

SETTLED_S = 3.0  # after the healing: what was going on then is over
STEADY_S = 4.0  # whoever answers at once has an event after so long, whatever others do
FIRST_RETRY_S = 1.0  # in the settings of the simulation; each later pause is twice as long, or half of that


def check_deliveries(history: History) -> list[Violation]:
    """Never lost, in order, one id per event, and a receiver that hangs delays no other."""
    found: list[Violation] = []
    feed = list(history.of(Appended))
    place_of = {event.position: place for place, event in enumerate(feed)}
    lanes: dict[str | None, list[int]] = {}
    for place, event in enumerate(feed):
        lanes.setdefault(event.session_id, []).append(place)
    after = {here: there for lane in lanes.values() for here, there in pairwise(lane)}
    arrived: dict[tuple[str, str], Delivered] = {}  # by target and position: the first
    last: dict[tuple[str, str | None], int] = {}
    for record in history.of(Delivered):
        event = feed[place_of[record.position]]
        first = arrived.setdefault((record.target, record.position), record)
        is_same = (record.session_id, record.number) == (event.session_id, event.number)
        if first.message_id != record.message_id or not is_same:
            what = f"{record.target} got {record.position} as {first.message_id} and as {record.message_id}"
            found.append(Violation(invariant="deliveries", at=record.at, what=what))
        if first is not record:
            continue
        place, lane = place_of[record.position], (record.target, record.session_id)
        if lane in last and after.get(last[lane]) != place:
            what = f"{record.target} got {record.position} {event.name} after {feed[last[lane]].position}"
            found.append(Violation(invariant="deliveries", at=record.at, what=what))
        last[lane] = place
    for target in history.of(Subscribed):
        if target.temper != "hanging":
            found += _late(history, target, feed, arrived)
    return found


def _late(
    history: History, target: Subscribed, feed: list[Appended], arrived: dict[tuple[str, str], Delivered]
) -> list[Violation]:
    found = []
    bound_s = STEADY_S if target.temper == "steady" else _longest_pause_s(history.healed_at)
    for event in feed:
        due_s = max(event.at, history.healed_at + SETTLED_S) + bound_s
        if event.at <= target.at or due_s > history.ended_at:
            continue
        first = arrived.get((target.target, event.position))
        if first is None or first.at > due_s:
            seen = "never" if first is None else f"{first.at - event.at:.2f} s late"
            what = f"{target.target} ({target.temper}) got {event.position} {event.name} {seen}"
            found.append(Violation(invariant="deliveries", at=due_s, what=what))
    return found


def _longest_pause_s(failing_s: float) -> float:
    """Give the longest pause that a receiver can have earned by failing for so long.

    The pause after n failures is at most 2^(n-1) times the first, and each of those before it was at least
    half of its own: together (2^(n-1) - 1) / 2 times the first.
    """
    pause_s = FIRST_RETRY_S
    while (2 * pause_s - FIRST_RETRY_S) / 2 <= failing_s:
        pause_s *= 2
    return pause_s
