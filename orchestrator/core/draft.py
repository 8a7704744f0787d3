"""The working copy inside one step: the session as it changes, and what the step says and asks for.

Mutable on purpose and never seen outside of a step: `Decision` is what leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from orchestrator.core.commands import Command, DeleteDispatch, LeaveJob, RemoveParticipant
from orchestrator.core.events import (
    Error,
    JobChanged,
    ParticipantRemoved,
    RecordingChanged,
    SessionEvent,
    SessionStatusChanged,
)
from orchestrator.core.ids import Identity, ServiceId, is_agent
from orchestrator.core.jobs import HELD, OVER, Job, JobCause
from orchestrator.core.jobs import move as move_job
from orchestrator.core.recording import ENDED, Recording, RecordingStatus, check_move
from orchestrator.core.session import Deadline, Session, due_in, evolve, with_job, without
from orchestrator.core.states import Cause, move
from orchestrator.core.triggers import Participant

_REMOVED_KEPT: Final = 32  # SIDs; one that is forgotten and seen again is said once more


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one step decided: the next record and what is committed with it.

    ``is_empty`` means that nothing changed and nothing is to be committed.
    """

    session: Session
    events: tuple[SessionEvent, ...] = ()
    commands: tuple[Command, ...] = ()
    is_empty: bool = False


class Draft:
    """A session while a step works on it."""

    def __init__(self, session: Session, now: datetime) -> None:
        self._before = session
        self.session = session
        self.now = now
        self.events: list[SessionEvent] = []
        self.commands: list[Command] = []

    def set(self, **fields: Any) -> None:
        """Replace fields of the session."""
        self.session = evolve(self.session, fields)

    def arm(self, name: str, seconds: float) -> None:
        """Arm a deadline, ending an earlier arming of the same name."""
        self.arm_at(name, due_in(self.now, seconds))

    def arm_at(self, name: str, due: datetime) -> None:
        """Arm a deadline at a moment."""
        arming = self.session.armings + 1
        deadline = Deadline(arming=arming, due=due)
        self.set(armings=arming, deadlines={**self.session.deadlines, name: deadline})

    def disarm(self, *names: str) -> None:
        """Disarm deadlines; those that are not armed are no matter."""
        for name in names:
            if name in self.session.deadlines:
                self.set(deadlines=without(self.session.deadlines, name))

    def move(self, cause: Cause) -> None:
        """Move the room life by its table, and say so when the state is another one."""
        status = move(self.session.room_status, cause)
        if status is not self.session.room_status:
            self.set(room_status=status)
            self.say_status()

    def say_status(self) -> None:
        """Append `status_changed` for the session as it is now."""
        session = self.session
        self.events.append(
            SessionStatusChanged(
                session_id=session.id,
                status=session.room_status.value,
                degraded=session.degraded,
                missing_services=session.missing_services if session.degraded else (),
            )
        )

    @property
    def said_missing(self) -> tuple[ServiceId, ...]:
        """The missing services that the latest `status_changed` named, of this step or of an earlier one."""
        said = next((e for e in reversed(self.events) if isinstance(e, SessionStatusChanged)), None)
        if said is not None:
            return tuple(map(ServiceId, said.missing_services))
        return self._before.missing_services if self._before.degraded else ()

    def move_job(self, job: Job, cause: JobCause, said: str = "", **fields: Any) -> Job:
        """Move a job by its table, change fields of it, and say so (as ``said``, else as the new state)."""
        state = move_job(job.state, cause)
        if state not in HELD:
            fields["worker_id"] = None  # the event still names who had it
        moved = replace(job, state=state, **fields)
        self.set(jobs=with_job(self.session.jobs, moved))
        if state in OVER:
            self.disarm(*(armed_for(kind, job) for kind in ("offer", "joining", "retry", "service")))
        self.events.append(
            JobChanged(
                session_id=self.session.id,
                job_id=job.job_id,
                service_id=job.service_id,
                attempt=moved.attempt,
                state=said or moved.state.value,
                worker_id=moved.worker_id or job.worker_id or "",
                detail=moved.detail,
            )
        )
        return moved

    def put_job(self, job: Job) -> None:
        """Replace a job whose state stays."""
        self.set(jobs=with_job(self.session.jobs, job))

    def say_error(self, message: str) -> None:
        """Append an `error` event."""
        self.events.append(Error(session_id=self.session.id, message=message))

    def tell_to_leave(self, job: Job, reason: str, *, is_stale: bool = False) -> None:
        """Ask that the worker of a job's attempt be told to leave (``is_stale``: it holds it no longer)."""
        if is_agent(job.service_id):  # LiveKit tells it
            self.commands.append(DeleteDispatch(job_id=job.job_id, attempt=job.attempt))
            return
        self.commands.append(
            LeaveJob(
                job_id=job.job_id,
                attempt=job.attempt,
                worker_id=job.worker_id or "",
                room_name=self.session.room_name,
                reason=reason,
                is_stale=is_stale,
            )
        )

    def remove(self, participant: Participant, reason: str) -> None:
        """Ask LiveKit to put somebody out, and say why; whoever is seen again is not said again."""
        session = self.session
        self.ask_removal(participant.identity, reason)
        if participant.sid in session.removed:
            return
        self.set(
            participants={sid: p for sid, p in session.participants.items() if sid != participant.sid},
            removed=(*session.removed, participant.sid)[-_REMOVED_KEPT:],
        )
        self.say_removed(participant.identity, reason)

    def ask_removal(self, identity: Identity, reason: str) -> None:
        """Ask LiveKit to put out whoever has this identity and may not be there."""
        self.commands.append(
            RemoveParticipant(room_name=self.session.room_name, identity=identity, reason=reason)
        )

    def say_removed(self, identity: Identity, reason: str) -> None:
        """Append `participant_removed`."""
        self.events.append(ParticipantRemoved(session_id=self.session.id, identity=identity, reason=reason))

    def put_recording(self, recording: Recording) -> None:
        """Replace the recording's record; a move of its status goes by the table and is said.

        Another recording than before begins idle.
        """
        old = self.session.recording
        if recording.e2ee and recording.status in ENDED:
            recording = replace(recording, e2ee="")  # nobody needs it any more
        self.set(recording=recording)
        is_same = old is not None and old.recording_id == recording.recording_id
        before = old.status if old is not None and is_same else RecordingStatus.IDLE
        if before is not recording.status:
            check_move(before, recording.status)
            last = recording.checkpoints[-1] if recording.checkpoints else None
            self.events.append(
                RecordingChanged(
                    session_id=self.session.id,
                    recording_id=recording.recording_id,
                    recording_status=recording.status.value,
                    tree_size=last.size if last else 0,
                    root=last.root if last else "",
                    detail=recording.detail,
                )
            )

    def fail_recording(self, detail: str) -> None:
        """Give the recording up with a reason."""
        recording = self.session.recording
        if recording is not None and recording.is_running:
            self.put_recording(replace(recording, status=RecordingStatus.FAILED, detail=detail))
            self.disarm("recorder")

    def refuse_recording(self, detail: str) -> None:
        """Let the recording of a session that is being opened fail before anybody is asked to make it."""
        recording = self.session.recording
        if recording is not None:
            self.put_recording(replace(recording, status=RecordingStatus.FAILED, detail=detail))

    def decide(self) -> Decision:
        """End the step."""
        if self.session == self._before and not self.commands and not self.events:
            return Decision(session=self._before, is_empty=True)
        self.set(
            version=self._before.version + 1,
            events=self._before.events + len(self.events),
            updated_at=self.now,
        )
        return Decision(session=self.session, events=tuple(self.events), commands=tuple(self.commands))


def armed_for(kind: str, job: Job) -> str:
    """Name the deadline of a kind (``offer``, ``joining``, ``retry``, ``service``) that belongs to a job."""
    return f"{kind}:{job.job_id.rpartition('-')[2]}"
