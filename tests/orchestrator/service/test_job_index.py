"""The index of jobs says the same as a look at every session, whatever was committed in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

from orchestrator.core.ids import JobId, RoomName, ServiceId, SessionId, WorkerId
from orchestrator.core.jobs import HELD, JobState
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.step import Wanted, open_session
from orchestrator.core.work import is_offerable
from orchestrator.service.job_index import Asked, JobIndex
from tests.orchestrator.core.playing import CREATED, NOW, opening, play

ASR, TTS = ServiceId("asr"), ServiceId("tts")
DE: Asked = (("lang", "de"),)


def session(name: str, *wanted: Wanted, age_s: float = 0.0) -> Session:
    """A session with a room, whose jobs wait."""
    asked = replace(opening(), session_id=SessionId(name), room_name=RoomName(name), services=wanted)
    decision = open_session(asked, NOW - timedelta(seconds=age_s))
    return play(decision.session, CREATED).session


def asr(priority: int = 0, **capabilities: str) -> Wanted:
    return Wanted(service_id=ASR, priority=priority, capabilities=capabilities)


def order(index: JobIndex, wanted: set[Asked] | None = None) -> list[str]:
    asked = set(index.asked(ASR)) if wanted is None else wanted
    return [session_id for _, session_id, _ in index.in_order(ASR, asked)]


def held(before: Session, worker_id: str = "w1") -> Session:
    """The same session with its first job taken."""
    (job, *others) = before.jobs
    taken = replace(job, state=JobState.ACCEPTED, worker_id=WorkerId(worker_id), attempt=job.attempt + 1)
    return replace(before, jobs=(taken, *others), version=before.version + 1)


def test_the_important_come_first_then_the_old_whatever_they_ask_for() -> None:
    index = JobIndex()
    for one in (
        session("young", asr()),
        session("old", asr(), age_s=9),
        session("german", asr(lang="de"), age_s=5),
        session("important", asr(priority=1)),
        session("unimportant", asr(priority=-1), age_s=99),
        session("other", Wanted(service_id=TTS)),
    ):
        index.update(one)
    assert order(index) == ["important", "old", "german", "young", "unimportant"]
    assert order(index, {DE}) == ["german"]
    assert index.waiting == 6


def test_what_the_caller_strikes_out_is_passed_over() -> None:
    index = JobIndex()
    for number in range(5):
        index.update(session(f"plain{number}", asr(), age_s=9 - number))
        index.update(session(f"german{number}", asr(lang="de"), age_s=8.5 - number))
    asked, seen = set(index.asked(ASR)), []
    for capabilities, session_id, _ in index.in_order(ASR, asked):
        seen.append(session_id)
        if session_id == "german1":
            asked.discard(capabilities)
    assert seen == ["plain0", "german0", "plain1", "german1", "plain2", "plain3", "plain4"]


def test_a_job_that_is_taken_leaves_the_queue_and_has_a_holder() -> None:
    index = JobIndex()
    waiting = session("s1", asr())
    index.update(waiting)
    index.update(held(waiting))
    assert (order(index), index.waiting) == ([], 0)
    assert index.held_by(WorkerId("w1")) == [("s1", "s1-1")]
    index.update(held(waiting, "w2"))
    assert (index.held_by(WorkerId("w1")), index.holders()) == ([], ["w2"])
    index.update(waiting)
    assert (order(index), index.holders()) == (["s1"], [])


def test_the_same_record_again_changes_nothing() -> None:
    index = JobIndex()
    for _ in range(3):
        index.update(session("s1", asr()))
    assert order(index) == ["s1"]


def test_a_session_that_ended_is_forgotten() -> None:
    index = JobIndex()
    waiting = session("s1", asr())
    index.update(waiting)
    index.update(replace(waiting, room_status=RoomStatus.TERMINATED))
    assert (index.waiting, index.asked(ASR), index._known) == (0, [], {})


def test_it_agrees_with_a_scan_after_any_history() -> None:
    random = Random(11)
    index = JobIndex()
    sessions: dict[str, Session] = {}
    names = [f"s{number}" for number in range(12)]
    asks = (asr(), asr(priority=1), asr(lang="de"), Wanted(service_id=TTS, priority=2))
    for _ in range(3000):
        name = random.choice(names)
        one = sessions.get(name) or session(name, *random.sample(asks[:1] + asks[3:], k=2), age_s=len(name))
        jobs = tuple(
            replace(
                job,
                state=state,
                worker_id=WorkerId(random.choice("xyz")) if state in HELD else None,
            )
            for job in one.jobs
            for state in (random.choice((JobState.PENDING, JobState.JOINED, JobState.DONE)),)
        )
        room_sid = one.room_sid if random.random() < 0.9 else None
        now = replace(one, jobs=jobs, room_sid=room_sid)
        sessions[name] = replace(now, room_sid=one.room_sid)
        index.update(now)
        scanned = {job.job_id for job in now.jobs if is_offerable(now, job)}
        found = {job_id for _, s, job_id in index.in_order(ASR, set(index.asked(ASR))) if s == name}
        found |= {job_id for _, s, job_id in index.in_order(TTS, set(index.asked(TTS))) if s == name}
        assert found == scanned
        holders: dict[JobId, WorkerId | None] = {j.job_id: j.worker_id for j in now.jobs if j.state in HELD}
        for job_id, worker_id in holders.items():
            assert worker_id is not None
            assert (name, job_id) in index.held_by(worker_id)
    assert index.waiting <= 2 * len(names)
