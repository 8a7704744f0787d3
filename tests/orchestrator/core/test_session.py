"""The session's record: what it says of itself, and that it survives the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from orchestrator.core.ids import CallerId, ServiceId, WorkerId
from orchestrator.core.recording import Recording, RecordingStatus
from orchestrator.core.request_keys import KeyScope
from orchestrator.core.session import Deadline, Session, due_in, freed_key, with_job, without
from orchestrator.core.states import RoomStatus
from tests.orchestrator.core.playing import (
    CREATED,
    NOW,
    accept,
    client,
    closing,
    offer,
    opened,
    play,
    report,
    seen,
    serve,
    worker,
)
from tests.orchestrator.core.rules import check_round_trip


def test_the_fullest_record_survives_the_store() -> None:
    played = play(
        opened("asr!", "tts?", record=True, max_duration_s=60.0),
        CREATED,
        *serve("asr"),
        offer(2, "w9"),
        *serve("recorder", 3),
        closing(report(RecordingStatus.RECORDING, n=1, number=3, size=4), 7, 1, "x"),
        seen(client()),
    )
    session = replace(played.session, recording=replace(played.recording, detail="ü\n"))
    check_round_trip(session)
    stored = msgspec.json.decode(msgspec.json.encode(session))
    assert stored["room_status"] == "Active"
    assert stored["participants"]["PA_ann"]["identity"] == "ann"
    assert msgspec.json.decode(msgspec.json.encode(session), type=Session).created_at.tzinfo is not None


def test_the_smallest_record_survives_the_store() -> None:
    check_round_trip(opened())


@pytest.mark.parametrize("status", RoomStatus)
def test_live_is_before_the_ending_and_over_is_after_it(status: RoomStatus) -> None:
    session = replace(opened(), room_status=status)
    assert session.is_live is (status not in (RoomStatus.TERMINATING, RoomStatus.TERMINATED))
    assert session.is_over is (status is RoomStatus.TERMINATED)
    assert session.is_open is not session.is_over


@pytest.mark.parametrize("status", RecordingStatus)
def test_a_recording_that_runs_keeps_its_session_open(status: RecordingStatus) -> None:
    recording = replace(Recording(recording_id="rec1"), status=status)  # type: ignore[arg-type]  # an id
    session = replace(opened(), room_status=RoomStatus.TERMINATED, recording=recording)
    assert session.is_open is recording.is_running


def test_a_worker_that_still_holds_a_job_keeps_its_session_open() -> None:
    session = play(opened("asr"), CREATED, offer()).session
    assert replace(session, room_status=RoomStatus.TERMINATED).is_open


def test_the_next_due_deadline_is_the_earliest() -> None:
    session = opened(max_duration_s=10.0)
    assert session.next_due == due_in(NOW, 10.0)
    assert replace(session, deadlines={}).next_due is None


def test_missing_services_are_the_required_ones_in_the_order_they_were_asked_for() -> None:
    played = play(opened("tts", "asr", "nlu?", "vad", record=True), CREATED, *serve("asr", 2))
    assert played.session.missing_services == ("tts", "vad")


def test_clients_are_those_without_another_role() -> None:
    session = play(
        opened("asr"), CREATED, offer(), accept(), seen(worker("asr"), client(), client("bob", "b"))
    ).session
    assert {participant.identity for participant in session.clients} == {"ann", "bob"}


def test_jobs_are_found_by_id_service_and_worker() -> None:
    session = play(
        opened("asr", "tts", "nlu"), CREATED, offer(1, "w1"), offer(3, "w1"), offer(2, "w2")
    ).session
    first, _, third = session.jobs
    assert session.job("s1-1") is first
    assert session.job("s1-9") is None
    assert session.job_of("nlu") is third
    assert session.job_of("vad") is None
    assert session.jobs_of(WorkerId("w1")) == (first, third)
    assert session.jobs_of(WorkerId("w3")) == ()


def test_the_recorder_is_a_job_of_that_name_in_a_recorded_session() -> None:
    recorded, plain = opened("asr", record=True), opened("recorder")
    assert [recorded.is_recorder(job) for job in recorded.jobs] == [False, True]
    assert [plain.is_recorder(job) for job in plain.jobs] == [False]


def test_small_changes_make_new_values() -> None:
    session = opened("asr", "tts")
    changed = replace(session.jobs[1], service_id=ServiceId("other"))
    assert with_job(session.jobs, changed) == (session.jobs[0], changed)
    due = datetime(2026, 11, 21, tzinfo=UTC)
    deadlines = {"a": Deadline(arming=1, due=due), "b": Deadline(arming=2, due=due)}
    assert without(deadlines, "a") == {"b": deadlines["b"]}
    assert without(deadlines, "c") == deadlines
    assert due_in(due, 0.5) - due == timedelta(milliseconds=500)


def test_a_key_is_free_again_when_its_session_got_no_room() -> None:
    key = KeyScope(caller=CallerId(""), route="create-session", key="k")
    creating = replace(opened(), request_key=key)
    assert creating.room_status is RoomStatus.CREATING
    failed = replace(creating, room_status=RoomStatus.TERMINATING, end_reason="create_failed")
    ended = replace(creating, room_status=RoomStatus.TERMINATING, end_reason="terminated")
    assert freed_key(creating, failed) == key
    assert freed_key(creating, ended) is None
    assert freed_key(failed, replace(failed, room_status=RoomStatus.TERMINATED)) is None
    # A session that had its room began what was asked for, however it ended.
    assert freed_key(replace(creating, room_status=RoomStatus.READY), failed) is None
    assert freed_key(opened(), replace(failed, request_key=None)) is None
