"""Random walks: whatever happens to a session, in any order and repeated, rules hold and it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest

from orchestrator.core.catalog import ENDED
from orchestrator.core.errors import BarredError, IllegalTransitionError, StaleAttemptError
from orchestrator.core.ids import Identity, JobId, RecordingId, RoomSid, is_agent
from orchestrator.core.jobs import Job, JobState
from orchestrator.core.recording import RECORDER, Manner, Operation, RecordingStatus
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.step import open_session, step
from orchestrator.core.triggers import (
    DeadlineReached,
    JobAccepted,
    JobDone,
    JobLost,
    JobOffered,
    JobReady,
    JobRefused,
    Participant,
    ParticipantsSeen,
    RecordingControlAsked,
    RecordingDeletionDone,
    RecordingReported,
    RecordingStartAsked,
    RemovalAsked,
    RoleAsked,
    RoomCreated,
    RoomCreateFailed,
    RoomDeleted,
    RoomFinished,
    RoomLost,
    TerminateAsked,
    Trigger,
)
from orchestrator.core.work import is_offerable
from tests.orchestrator.core.playing import NOW, agent, client, closing, offer, opening, report, worker
from tests.orchestrator.core.rules import check_round_trip, check_step

WALKS = 3000
STEPS = 16
_FORMS = (
    (),
    ("asr",),
    ("asr!",),
    ("asr?",),
    ("asr", "tts!"),
    ("asr!", "tts!", "nlu?"),
    ("agent:echo",),
    ("agent:echo!", "asr", "agent:notes?"),
)
_MAY_BE_STALE = (JobAccepted, JobRefused, JobReady, JobDone, JobLost, RecordingReported)
_MAY_BE_ILLEGAL = (
    JobOffered,
    RecordingReported,
    RemovalAsked,
    RoleAsked,
    RecordingStartAsked,
    RecordingControlAsked,
    RecordingDeletionDone,
)
_LAST_RESORTS = ("create", "expires", "max", "client", "end", "recorder", "recording")
_ENDING = (RoomDeleted, TerminateAsked, RoomFinished, RoomCreateFailed)


class Walk:
    """One session and somebody who does to it what a bad day does."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        form = self.random.choice(_FORMS)
        max_duration_s = self.random.choice((None, None, 600.0))
        opened = open_session(
            opening(*form, record=self.random.random() < 0.5, max_duration_s=max_duration_s), NOW
        )
        check_step(None, None, opened, NOW)
        self.session: Session = opened.session
        self.now: datetime = NOW
        self.past: list[Trigger] = []
        self.sids = 0
        self.rooms = 0
        self.reports = 0
        self.visited: Counter[object] = Counter()

    def run(self, steps: int) -> None:
        """Do ``steps`` things."""
        for _ in range(steps):
            self.now += timedelta(seconds=self.random.choice((0.0, 0.01, 0.5, 3.0, 40.0)))
            self.do(self._next())
            if not self.session.is_open:
                break

    def do(self, trigger: Trigger) -> None:
        """Step, check, remember."""
        self.past.append(trigger)
        try:
            decision = step(self.session, trigger, self.now)
        except StaleAttemptError:
            assert isinstance(trigger, (*_MAY_BE_STALE, JobOffered)), trigger
            return
        except IllegalTransitionError:
            assert isinstance(trigger, _MAY_BE_ILLEGAL), trigger
            return
        except BarredError:
            assert isinstance(trigger, RoleAsked), trigger
            return
        check_step(self.session, trigger, decision, self.now)
        self.session = decision.session
        self.visited[self.session.room_status] += 1
        self.visited.update(job.state for job in self.session.jobs)
        if self.session.recording is not None:
            self.visited[self.session.recording.status] += 1

    def finish(self) -> None:
        """Nobody does anything any more: the deadlines alone must bring the session to its end."""
        for _ in range(200):
            if not self.session.deadlines:
                break
            name, deadline = min(self.session.deadlines.items(), key=lambda item: item[1].due)
            self.now = max(self.now, deadline.due)
            if self.session.clients:  # a client that stays may keep its session for ever; this one does not
                self.do(self.random.choice((self._all_gone(), RoomLost(sid=self.session.room_sid))))
            self.do(DeadlineReached(name=name, arming=deadline.arming))
        self.do(RoomDeleted())
        session = self.session
        assert session.room_status is RoomStatus.TERMINATED
        assert not session.is_open
        assert not session.is_name_held
        assert not session.deadlines
        if session.recording is not None:
            assert session.recording.status is RecordingStatus.IDLE or session.recording.status in ENDED
        for trigger in self.past[-5:]:
            self.do(trigger)  # late and repeated: the rules say that nothing comes back

    def _all_gone(self) -> ParticipantsSeen:
        return ParticipantsSeen(gone=frozenset(self.session.participants))

    def _next(self) -> Trigger:
        chance = self.random.random()
        if self.session.room_sid is None and self.session.is_live and chance < 0.6:
            return self._room_created()
        if chance < 0.45:
            return self._forward()
        if chance < 0.6 and self.session.deadlines:
            return self._deadline()
        if chance < 0.7 and self.past:
            return self._again()
        return self.random.choice(self._anything())()

    def _forward(self) -> Trigger:
        """What would happen next on a good day, to one of the jobs or the clients."""
        if not self.session.jobs or self.random.random() < 0.25:
            return self._someone_seen()
        job = self.random.choice(self.session.jobs)
        match job.state:
            case JobState.PENDING if is_offerable(self.session, job):
                return self._offer(job)
            case JobState.OFFERED:
                return JobAccepted(
                    job_id=job.job_id, attempt=job.attempt, manual_ready=self.random.random() < 0.2
                )
            case JobState.ACCEPTED:
                return ParticipantsSeen(present=(self._worker(job, job.attempt),))
            case JobState.JOINED if job.service_id == RECORDER:
                return self._report(job, job.attempt)
            case JobState.JOINED:
                return JobReady(job_id=job.job_id, attempt=job.attempt)
            case _:
                return self._someone_seen()

    def _deadline(self) -> Trigger:
        name, deadline = self.random.choice(sorted(self.session.deadlines.items()))
        if name in _LAST_RESORTS and self.random.random() < 0.8:
            return self._forward()
        self.now = max(self.now, deadline.due)
        self.now += timedelta(seconds=self.random.choice((0.0, 0.2, 100.0)))
        is_stale = self.random.random() < 0.1
        return DeadlineReached(name=name, arming=deadline.arming - is_stale)

    def _again(self) -> Trigger:
        trigger = self.random.choice(self.past)
        # One that ends the session would make all walks short.
        return self._someone_seen() if isinstance(trigger, _ENDING) else trigger

    def _anything(self) -> tuple[Callable[[], Trigger], ...]:
        return (
            self._room_created,
            self._room_trouble,
            lambda: RoomLost(sid=self.session.room_sid),
            RoomDeleted,
            self._someone_seen,
            self._someone_seen,
            self._someone_gone,
            self._someone_gone,
            self._all_gone,
            self._job_word,
            self._job_word,
            self._job_word,
            self._any_report,
            self._record_asked,
            self._record_asked,
            self._deleted,
            self._access_asked,
            lambda: self._offer(None),
        )

    def _room_trouble(self) -> Trigger:
        match self.random.randint(0, 7):
            case 0:
                return RoomCreateFailed(detail="no", is_foreign=self.random.random() < 0.5)
            case 1:
                return RoomFinished(sid=RoomSid(f"RM_{self.random.randint(0, self.rooms)}"))
            case 2 | 3:
                return TerminateAsked()
            case _:
                return self._room_created()

    def _room_created(self) -> RoomCreated:
        self.rooms += self.random.random() < 0.5
        return RoomCreated(sid=RoomSid(f"RM_{self.rooms}"))

    def _offer(self, job: Job | None) -> JobOffered:
        number = job.job_id.rpartition("-")[2] if job else str(self.random.randint(1, 5))
        who = f"w{self.random.randint(1, 3)}"
        return offer(int(number), who, is_push=self.random.random() < 0.3)

    def _someone_seen(self) -> ParticipantsSeen:
        present: list[Participant] = []
        gone = frozenset(sid for sid in sorted(self.session.participants) if self.random.random() < 0.1)
        for _ in range(self.random.randint(1, 2)):
            self.sids += 1
            if self.session.jobs and self.random.random() < 0.5:
                job = self.random.choice(self.session.jobs)
                present.append(
                    self._worker(job, self.random.randint(max(1, job.attempt - 1), job.attempt + 1))
                )
            else:
                somebody = client(self.random.choice(("ann", "bob")), f"PA_{self.sids}")
                session_id = self.random.choice(("s1", "s1", "s1", "", "another"))
                present.append(replace(somebody, grant=self.random.randint(0, 2), session_id=session_id))
        return ParticipantsSeen(present=tuple(present), gone=gone)

    def _access_asked(self) -> Trigger:
        names = ("ann", "bob", *(job.identity for job in self.session.jobs))
        identity = Identity(self.random.choice(names))
        if self.random.random() < 0.5:
            return RemovalAsked(identity=identity, is_barred=self.random.random() < 0.3)
        return RoleAsked(identity=identity, role=self.random.choice(("client", "operator")))

    def _worker(self, job: Job, attempt: int) -> Participant:
        self.sids += self.random.random() < 0.7
        if is_agent(job.service_id):
            number = self.random.choice((attempt, attempt, self.sids))
            is_listed = self.random.random() < 0.5
            sid = f"PA_{job.service_id}_{number}_{self.sids}"
            return agent(job.service_id, number, sid, attempt=attempt if is_listed else 0)
        return worker(job.service_id, attempt, f"PA_{job.service_id}_{attempt}_{self.sids}")

    def _someone_gone(self) -> ParticipantsSeen:
        sids = sorted(self.session.participants)
        return ParticipantsSeen(gone=frozenset(self.random.sample(sids, min(len(sids), 1))))

    def _any_job(self) -> tuple[JobId, int]:
        if not self.session.jobs:
            return JobId("s1-1"), 1
        job = self.random.choice(self.session.jobs)
        return job.job_id, max(0, job.attempt - self.random.choice((0, 0, 0, 1)))

    def _job_word(self) -> Trigger:
        job_id, attempt = self._any_job()
        match self.random.randint(0, 6):
            case 0:
                return JobAccepted(job_id=job_id, attempt=attempt)
            case 1:
                pause_s = self.random.choice((None, 0.0, 7.0, 1e18))
                return JobRefused(job_id=job_id, attempt=attempt, detail="no", retry_after_s=pause_s)
            case 2:
                return JobReady(job_id=job_id, attempt=attempt)
            case 3:
                return JobDone(job_id=job_id, attempt=attempt)
            case _:
                return JobLost(job_id=job_id, attempt=attempt, detail="gone")

    def _record_asked(self) -> Trigger:
        op: Operation | None = self.random.choice((None, None, "pause", "resume", "stop"))
        if op is not None:
            return RecordingControlAsked(op=op)
        self.reports += 1
        mode = self.random.choice(("", "", "tracks"))
        return RecordingStartAsked(
            recording_id=RecordingId(f"rec{self.reports}"),
            manner=Manner(mode=mode),
            default=Manner(mode="passthrough"),
        )

    def _deleted(self) -> Trigger:
        recordings = [r for r in (*self.session.earlier_recordings, self.session.recording) if r is not None]
        ids = [recording.recording_id for recording in recordings]
        return RecordingDeletionDone(
            recording_id=self.random.choice([*ids, RecordingId("of another")]), cause="asked"
        )

    def _any_report(self) -> Trigger:
        job = self.session.job_of(RECORDER)
        return self._report(job, job.attempt) if job is not None else self._someone_seen()

    def _report(self, job: Job, attempt: int) -> RecordingReported:
        self.reports += self.random.random() < 0.9
        now = self.session.recording.status if self.session.recording else RecordingStatus.IDLE
        onwards = tuple(RecordingStatus)[tuple(RecordingStatus).index(now) :][:2]
        status = self.random.choice((*onwards * 5, *RecordingStatus))
        frame = report(
            status,
            n=self.reports,
            number=int(job.job_id.rpartition("-")[2]),
            attempt=attempt,
            size=self.random.randint(0, 20),
            op=self.random.choice((0, 0, 1, 7)),
        )
        if attempt > 1 and self.random.random() < 0.5:
            frame = closing(frame, self.random.randint(1, attempt), self.random.randint(0, 20), "root")
        return replace(frame, detail="why") if status is RecordingStatus.FAILED else frame


@pytest.mark.parametrize("part", range(6))
def test_the_rules_hold_on_every_walk_and_every_session_comes_to_its_end(part: int) -> None:
    visited: Counter[object] = Counter()
    for seed in range(part, WALKS, 6):
        walk = Walk(seed)
        try:
            walk.run(STEPS)
            check_round_trip(walk.session)
            walk.finish()
        except AssertionError as error:
            error.add_note(f"walk {seed}: {walk.past}")
            raise
        visited.update(walk.visited)
    # The walks are worth nothing if they do not get around.
    assert set(visited) >= {*RoomStatus, *RecordingStatus, *JobState} - {JobState.LOST}
    assert min(visited[state] for state in (*RoomStatus, *RecordingStatus)) > 5
