"""The catalog's records: what follows from them, and what a commit writes of a session's recording."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orchestrator.core.catalog import CatalogEntry, Custody, Deletion, Hold, changed_record
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
    record = changed_record(None, RECORDED)
    assert record is not None
    return CatalogEntry(number=1, record=record, custody=custody, started_at=START, ended_at=START)


def test_a_commit_writes_the_recording_that_changed_and_nothing_else() -> None:
    assert changed_record(None, SESSION) is None
    assert changed_record(SESSION, SESSION) is None
    assert changed_record(RECORDED, replace(RECORDED, version=9)) is None
    record = changed_record(SESSION, RECORDED)
    assert record is not None
    assert (record.recording_id, record.session_id, record.status) == ("r1", SESSION.id, S.COMPLETED)
    assert record.reported_bytes == 10  # over all attempts
    again = replace(RECORDED, recording=replace(RECORDING, detail="x"))
    assert changed_record(RECORDED, again) == replace(record, detail="x")


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
