"""The catalog's records: what follows from them, and what a commit writes of a session's recording."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.core.catalog import (
    CatalogEntry,
    Custody,
    Deletion,
    Hold,
    QuotaStand,
    changed_records,
    check_deletable,
    to_free,
)
from orchestrator.core.errors import IllegalTransitionError, RecordingHeldError
from orchestrator.core.ids import RecordingId
from orchestrator.core.recording import Recording, RecordingStatus
from tests.contracts.session_changes import first_change
from tests.fakes.clock import START

S = RecordingStatus
SESSION = first_change().session
RECORDING = Recording(
    recording_id=RecordingId("r1"), status=S.COMPLETED, stats={"bytes": 7.0}, earlier_stats={"bytes": 3.0}
)
RECORDED = replace(SESSION, recording=RECORDING)
NOTHING = Custody()
DELETION = Deletion(cause="asked", by="anna", asked_at=START)


def entry(custody: Custody = NOTHING) -> CatalogEntry:
    (record,) = changed_records(None, RECORDED)
    return CatalogEntry(number=1, record=record, custody=custody, started_at=START, ended_at=START)


def test_a_commit_writes_the_recording_that_changed_and_nothing_else() -> None:
    assert changed_records(None, SESSION) == ()
    assert changed_records(SESSION, SESSION) == ()
    assert changed_records(RECORDED, replace(RECORDED, version=9)) == ()
    (record,) = changed_records(SESSION, RECORDED)
    assert (record.recording_id, record.session_id, record.status) == ("r1", SESSION.id, S.COMPLETED)
    assert record.reported_bytes == 10  # over all attempts
    again = replace(RECORDED, recording=replace(RECORDING, detail="x"))
    assert changed_records(RECORDED, again) == (replace(record, detail="x"),)


def test_a_recording_that_its_session_left_unverified_is_over_all_the_same() -> None:
    stopped = replace(RECORDED, recording=replace(RECORDING, status=S.STOPPED))
    assert not changed_records(None, stopped)[0].is_ended
    following = replace(RECORDED, recording=Recording(recording_id=RecordingId("r2")))
    left, record = changed_records(stopped, following)
    assert (left.recording_id, left.status, left.is_ended) == ("r1", S.STOPPED, True)
    assert (record.recording_id, record.is_ended) == ("r2", False)
    assert len(changed_records(RECORDED, following)) == 1  # one that was over before


def test_a_recording_is_deleted_once_nothing_of_it_is_left() -> None:
    going = entry(Custody(deletion=DELETION, stored_bytes=12))
    assert (going.status, going.used_bytes) == (S.COMPLETED, 12)
    assert going.custody.is_being_deleted
    gone = entry(Custody(deletion=replace(DELETION, done_at=START), stored_bytes=12))
    assert (gone.status, gone.used_bytes) == (S.DELETED, 0)
    assert not gone.custody.is_being_deleted


def test_what_is_held_is_retained_without_end() -> None:
    week = timedelta(days=7)
    assert entry().retained_until(None) is None
    assert entry().retained_until(week) == START + week
    assert entry(Custody(hold=Hold(by="anna", reason="case", since=START))).retained_until(week) is None
    assert entry(Custody(deletion=DELETION)).retained_until(week) is None
    assert replace(entry(), ended_at=None).retained_until(week) is None


def test_only_what_is_over_and_not_held_may_be_deleted() -> None:
    check_deletable(entry())
    check_deletable(entry(Custody(deletion=DELETION)))
    with pytest.raises(IllegalTransitionError, match="stop it and wait until it is completed"):
        check_deletable(replace(entry(), ended_at=None))
    held = entry(Custody(hold=Hold(by="anna", reason="case 7", since=START)))
    with pytest.raises(
        RecordingHeldError, match=r"by 'anna' since 20.* \(case 7\); release it first"
    ) as caught:
        check_deletable(held)
    assert caught.value.details["reason"] == "case 7"


@pytest.mark.parametrize(
    ("used", "level", "excess"),
    [(0, "ok", 0), (89, "ok", 0), (90, "warning", 0), (100, "warning", 0), (101, "exceeded", 1)],
)
def test_the_quota_warns_at_nine_tenths_and_refuses_above_all_of_it(
    used: int, level: str, excess: int
) -> None:
    stand = QuotaStand(used_bytes=used, quota_bytes=100)
    assert (stand.level, stand.excess_bytes) == (level, excess)
    assert bool(stand.refusal()) is (level == "exceeded")
    without = QuotaStand(used_bytes=used)
    assert (without.level, without.excess_bytes, without.refusal()) == ("ok", 0, "")


def test_as_few_of_the_oldest_go_as_make_room() -> None:
    entries = [entry(Custody(stored_bytes=size)) for size in (5, 3, 9)]
    assert to_free(entries, excess_bytes=0) == ()
    assert to_free(entries, excess_bytes=5) == tuple(entries[:1])
    assert to_free(entries, excess_bytes=6) == tuple(entries[:2])
    assert to_free(entries, excess_bytes=100) == tuple(entries)
