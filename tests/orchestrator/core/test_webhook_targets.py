"""Who gets what, when a delivery is tried again and given up, and what is sent."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.core.events import FeedEvent, Position
from orchestrator.core.ids import SessionId
from orchestrator.core.webhook_targets import (
    LONGEST_RETRY_S,
    Held,
    RetryPolicy,
    SendOutcome,
    TargetId,
    WebhookTarget,
    event_body,
    event_names,
    failed,
    gap_body,
    gap_message_id,
    is_given_up,
    message_id,
    secret_problem,
)
from tests.fakes.clock import START
from tests.fakes.receivers import OK, REFUSED, SECRET, SILENT

POLICY = RetryPolicy(first_s=5, give_up_s=86400)
HELD = Held(seq=7, due_at=START)
TARGET = WebhookTarget(id=TargetId("wh_1"), url="https://x.example/key", secret=SECRET, created_at=START)


def delay_s(held: Held, outcome: SendOutcome = REFUSED, luck: float = 0.999999) -> float:
    after = failed(held, outcome, now=START, luck=luck, policy=POLICY)
    return (after.due_at - START).total_seconds()


def test_pauses_double_from_the_first_to_a_limit() -> None:
    delays = [round(delay_s(replace(HELD, tries=tries))) for tries in range(12)]
    assert delays == [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600, 600]
    assert round(delay_s(replace(HELD, tries=10_000))) == LONGEST_RETRY_S


def test_half_of_a_pause_is_by_chance() -> None:
    assert delay_s(HELD, luck=0.0) == 2.5
    assert delay_s(HELD, luck=0.5) == 3.75


def test_a_pause_is_as_long_as_the_receiver_asks_up_to_an_hour() -> None:
    assert delay_s(HELD, SendOutcome(status=503, retry_after_s=120)) == 120
    assert delay_s(HELD, SendOutcome(status=500, retry_after_s=1e9)) == 3600
    assert round(delay_s(HELD, SendOutcome(status=503, retry_after_s=0))) == 5


def test_only_a_receiver_with_too_much_to_do_is_left_alone_as_a_whole() -> None:
    assert SendOutcome(status=429, retry_after_s=30).pause_s == 30
    assert SendOutcome(status=503, retry_after_s=1e9).pause_s == 3600
    assert SendOutcome(status=500, retry_after_s=30).pause_s == 0
    assert SendOutcome(status=429).pause_s == 0


def test_a_lane_is_given_up_a_day_after_it_began_to_fail_whatever_the_tries() -> None:
    first = failed(HELD, SILENT, now=START, luck=0.5, policy=POLICY)
    assert (first.tries, first.since, first.seq) == (1, START, 7)
    later = failed(first, SILENT, now=START + timedelta(hours=23), luck=0.5, policy=POLICY)
    assert (later.tries, later.since) == (2, START)
    assert not is_given_up(HELD, START + timedelta(days=9), POLICY)
    assert not is_given_up(later, START + timedelta(seconds=86399), POLICY)
    assert is_given_up(later, START + timedelta(seconds=86400), POLICY)


@pytest.mark.parametrize(
    ("status", "is_delivered", "is_gone"),
    [(200, True, False), (204, True, False), (299, True, False), (199, False, False), (301, False, False),
     (400, False, False), (410, False, True), (500, False, False), (None, False, False)],
)  # fmt: skip
def test_any_2xx_is_taken_and_410_is_for_ever(status: int | None, is_delivered: bool, is_gone: bool) -> None:
    outcome = SendOutcome(status=status)
    assert (outcome.is_delivered, outcome.is_gone) == (is_delivered, is_gone)


def test_the_id_is_the_same_at_every_delivery_and_another_for_another_target() -> None:
    assert message_id(TargetId("wh_1"), 7, 12) == "wh_1_7_12"
    ids = {message_id(TargetId(target), gen, seq) for target in "ab" for gen in (1, 2) for seq in (1, 2)}
    ids |= {gap_message_id(TargetId("a"), lane, "1:1") for lane in (None, SessionId("s1"))}
    assert len(ids) == 10


def test_a_body_is_the_feeds_data_with_its_place() -> None:
    event = FeedEvent(
        seq=12, session_id="s1", number=3, name="client_left", data=b'{"type":"ClientLeft"}', at=START
    )
    assert json.loads(event_body(event, Position("7:12"))) == {
        "type": "client_left",
        "timestamp": "2026-11-21T12:00:00Z",
        "position": "7:12",
        "session_id": "s1",
        "number": 3,
        "data": {"type": "ClientLeft"},
    }


def test_a_gap_says_from_where_to_where() -> None:
    body = json.loads(gap_body(None, "7:3", Position("7:9"), START))
    assert (body["type"], body["position"], body["session_id"]) == ("gap", "7:9", None)
    assert body["data"] == {"from": "7:3", "to": "7:9", "snapshot": None}


def test_names_are_those_of_the_feed() -> None:
    names = event_names()
    assert {"session_created", "job_joined", "job_lost", "recording_started", "error"} <= names
    assert "job_changed" not in names
    chosen = replace(TARGET, events=("client_left",))
    assert chosen.wants("client_left")
    assert not chosen.wants("client_joined")
    assert TARGET.wants("client_joined")


def test_secret_and_url_are_in_no_repr() -> None:
    assert SECRET not in repr(TARGET)
    assert "x.example" not in repr(TARGET)


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        (SECRET, None),
        ("whsec_" + base64.b64encode(b"k" * 64).decode(), None),
        ("whsec_" + base64.b64encode(b"k" * 23).decode(), "23 bytes"),
        ("whsec_" + base64.b64encode(b"k" * 65).decode(), "65 bytes"),
        ("whsec_", "0 bytes"),
        ("password", "does not begin with whsec_"),
        ("whsec_not base64!", "not base64"),
        ("whsec_ü", "not base64"),
    ],
)
def test_a_secret_is_as_the_specification_wants_it_and_is_never_repeated(
    secret: str, problem: str | None
) -> None:
    found = secret_problem(secret)
    assert found is None if problem is None else problem in (found or "")
    assert found is None or len(secret) < 7 or secret not in found


def test_a_delivery_that_was_taken_needs_no_reason() -> None:
    assert OK.is_delivered
    assert (OK.reason, OK.pause_s) == ("", 0)
