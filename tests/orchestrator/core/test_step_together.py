"""Several things that happen in one commit: one version, all their events, numbered on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.core.errors import StaleAttemptError
from orchestrator.core.ids import Identity, RoomName, RoomSid, ServiceId, SessionId, WorkerId, job_id
from orchestrator.core.step import Opening, Wanted, and_then, open_session, step
from orchestrator.core.triggers import JobOffered, RoomCreated


def test_what_happens_in_one_commit_is_one_version_and_all_its_events() -> None:
    opened_at = Opening(
        session_id=SessionId("s"),
        room_name=RoomName("r"),
        user_identity=Identity("anna"),
        services=(Wanted(service_id=ServiceId("asr")),),
    )
    now = datetime(2026, 11, 21, tzinfo=UTC)
    intent = open_session(opened_at, now).session
    created = step(intent, RoomCreated(sid=RoomSid("RM_1")), now)
    offer = JobOffered(job_id=job_id(SessionId("s"), 1), worker_id=WorkerId("w"))
    both = and_then(created, offer, now)
    assert both.session.version == created.session.version == intent.version + 1
    assert both.events[: len(created.events)] == created.events
    assert both.session.events == intent.events + len(both.events)
    assert both.session.jobs[0].worker_id == "w"


def test_what_cannot_happen_leaves_the_decision_as_it_was() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    opening = Opening(session_id=SessionId("s"), room_name=RoomName("r"), user_identity=Identity("anna"))
    created = step(open_session(opening, now).session, RoomCreated(sid=RoomSid("RM_1")), now)
    nobody = JobOffered(job_id=job_id(SessionId("s"), 1), worker_id=WorkerId("w"))
    with pytest.raises(StaleAttemptError):
        and_then(created, nobody, now)
    assert and_then(created, RoomCreated(sid=RoomSid("RM_1")), now) is created
