"""The open sessions in memory: only ever newer, found by room and job, and whoever waits is told."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

from orchestrator.core.ids import Identity, JobId, RoomName, ServiceId, SessionId
from orchestrator.core.jobs import Job
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.service.live import LiveSessions
from tests.fakes.clock import START

S1 = SessionId("00000000-0000-4000-8000-000000000001")
S2 = SessionId("00000000-0000-4000-8000-000000000002")


def session(session_id: SessionId = S1, *, version: int = 1, room: str = "lobby") -> Session:
    return Session(
        id=session_id,
        version=version,
        room_name=RoomName(room),
        user_identity=Identity("anna"),
        created_at=START,
        updated_at=START,
        expires_at=START,
        jobs=(Job(job_id=JobId(f"{session_id}-1"), service_id=ServiceId("asr")),),
    )


def over(before: Session, *, is_name_held: bool = False) -> Session:
    return replace(
        before, version=before.version + 1, room_status=RoomStatus.TERMINATED, is_name_held=is_name_held
    )


def test_a_session_is_found_by_its_id_its_room_and_its_jobs() -> None:
    live = LiveSessions()
    first, second = session(), session(S2, room="hall")
    live.put(first)
    live.put(second)
    assert live.get(S2) is second
    assert live.of_room("hall") is second
    assert live.of_job(f"{S2}-1") is second
    assert live.all() == [first, second]


def test_what_is_not_there_is_none() -> None:
    live = LiveSessions()
    live.put(session())
    assert live.get(S2) is None
    assert live.of_room("hall") is None
    for job in ("", "-1", "nonsense", f"{S2}-1"):
        assert live.of_job(job) is None


def test_an_older_or_equal_record_changes_nothing() -> None:
    live = LiveSessions()
    newer = session(version=3)
    seen: list[tuple[Session | None, Session]] = []
    live.put(newer)
    live.observe(lambda before, after: seen.append((before, after)))
    live.put(session(version=2))
    live.put(session(version=3))
    assert live.get(S1) is newer
    assert seen == []


def test_observers_get_before_and_after_in_their_order() -> None:
    live = LiveSessions()
    seen: list[tuple[str, Session | None, Session]] = []
    live.observe(lambda before, after: seen.append(("first", before, after)))
    live.observe(lambda before, after: seen.append(("second", before, after)))
    one, two = session(version=1), session(version=2)
    live.put(one)
    live.put(two)
    assert seen == [("first", None, one), ("second", None, one), ("first", one, two), ("second", one, two)]


def test_a_session_that_is_over_is_dropped_once_its_name_is_free() -> None:
    live = LiveSessions()
    live.put(session())
    held = over(session(), is_name_held=True)
    live.put(held)
    assert live.of_room("lobby") is held
    live.put(replace(held, version=3, is_name_held=False))
    assert (live.get(S1), live.of_room("lobby"), live.all()) == (None, None, [])


def test_the_end_of_a_session_leaves_the_name_to_its_next_holder() -> None:
    live = LiveSessions()
    live.put(session())
    heir = session(S2)
    live.put(heir)
    live.put(over(session()))
    assert live.of_room("lobby") is heir


async def test_steps_of_one_session_wait_for_each_other_and_of_two_do_not() -> None:
    live = LiveSessions()
    async with live.lock(S1):
        assert live.lock(S1).locked()
        assert not live.lock(S2).locked()
    assert not live.lock(S1).locked()


def test_locks_that_nobody_holds_are_not_kept() -> None:
    live = LiveSessions()
    for number in range(100):
        live.lock(SessionId(str(number)))
    gc.collect()
    assert len(live._locks) == 0


async def test_who_waits_for_a_change_is_woken_by_a_commit_of_this_session_only() -> None:
    live = LiveSessions()
    live.put(session())
    with live.changes(S1) as one, live.changes(S1) as two:
        live.put(session(S2, room="hall"))
        assert not one.is_set()
        live.put(session(version=1))  # nothing new
        assert not one.is_set()
        live.put(session(version=2))
        await asyncio.wait_for(one.wait(), 1)
        assert two.is_set()
    live.put(session(version=3))  # nobody is left to wake
    assert live._waiters == {}


def test_the_last_change_of_a_session_wakes_too() -> None:
    live = LiveSessions()
    live.put(session())
    with live.changes(S1) as changed:
        live.put(over(session()))
        assert changed.is_set()
