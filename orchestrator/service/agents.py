"""Carries out what the jobs of LiveKit agents ask for, and finds out which agent came by which dispatch.

LiveKit promises nothing of a dispatch: it is looked for before it is made, and the job counts who is there.
Source: docs/decisions/0012-agents-as-services.md.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from orchestrator.core.commands import DeleteDispatch, DispatchAgent
from orchestrator.core.errors import IllegalTransitionError, StaleAttemptError
from orchestrator.core.ids import agent_name_of, is_agent
from orchestrator.core.jobs import Job, JobState
from orchestrator.core.session import Session
from orchestrator.core.triggers import JobAccepted, JobDone, Participant
from orchestrator.ports import CommandRow, RoomServer, SessionStore
from orchestrator.service.sessions import Sessions


class Agents:
    """Makes and deletes dispatches; every call may be repeated."""

    def __init__(self, *, sessions: Sessions, store: SessionStore, rooms: RoomServer) -> None:
        self._sessions = sessions
        self._store = store
        self._rooms = rooms

    async def dispatch(self, row: CommandRow, command: DispatchAgent, session: Session) -> None:
        """Have the agent of this attempt dispatched, unless it is or the job has moved on.

        Raises:
            RoomServerError: LiveKit did not do it, or did not say so.
        """
        job = session.job(command.job_id)
        if job is None or job.attempt != command.attempt or job.state is not JobState.OFFERED:
            await self._store.finish_command(row)
            return
        is_made = False
        for dispatch in await self._rooms.list_dispatches(session.room_name):
            if dispatch.job_id == job.job_id and dispatch.attempt < job.attempt:
                await self._rooms.delete_dispatch(session.room_name, dispatch.id)
            is_made = is_made or (dispatch.job_id == job.job_id and dispatch.attempt == job.attempt)
        if not is_made:
            await self._rooms.create_dispatch(
                session.room_name,
                agent_name_of(job.service_id),
                job_id=job.job_id,
                attempt=job.attempt,
                metadata=_metadata(session, job),
            )
        await self._say(row, session, JobAccepted(job_id=job.job_id, attempt=job.attempt))

    async def end(self, row: CommandRow, command: DeleteDispatch, session: Session) -> None:
        """Delete what was dispatched up to this attempt; LiveKit tells the agent, at last by the room's end.

        Raises:
            RoomServerError: LiveKit did not do it, or did not say so.
        """
        job = session.job(command.job_id)
        if job is None or session.is_over:
            await self._store.finish_command(row)
            return
        for dispatch in await self._rooms.list_dispatches(session.room_name):
            if dispatch.job_id == job.job_id and dispatch.attempt <= command.attempt:
                await self._rooms.delete_dispatch(session.room_name, dispatch.id)
        if session.is_live:
            await self._store.finish_command(row)
        else:
            await self._say(row, session, JobDone(job_id=job.job_id, attempt=command.attempt))

    async def _say(self, row: CommandRow, session: Session, result: JobAccepted | JobDone) -> None:
        try:
            await self._sessions.apply(session.id, result, finished=(row,))
        except (StaleAttemptError, IllegalTransitionError):
            await self._store.finish_command(row)  # the job has moved on


async def with_attempts(session: Session, present: list[Participant], rooms: RoomServer) -> list[Participant]:
    """Fill in by which attempt agents came that are not known yet, as far as LiveKit says so by now.

    Raises:
        RoomServerError: LiveKit did not answer.
    """
    if not any(_is_unknown(session, participant) for participant in present):
        return present
    job_ids = {job.job_id for job in session.jobs}
    dispatches = [d for d in await rooms.list_dispatches(session.room_name) if d.job_id in job_ids]
    dispatches.sort(key=lambda dispatch: dispatch.attempt)  # of an identity used twice the last counts
    attempts = {identity: d.attempt for d in dispatches for identity in d.identities}
    return [
        replace(participant, attempt=attempts.get(participant.identity, 0))
        if _is_unknown(session, participant)
        else participant
        for participant in present
    ]


def _is_unknown(session: Session, participant: Participant) -> bool:
    if participant.service_id is None or not is_agent(participant.service_id):
        return False
    known = session.participants.get(participant.sid)
    if known is None:
        return session.job_of(participant.service_id) is not None
    return known.is_assumed


def _metadata(session: Session, job: Job) -> str:
    """What the agent is told with its job."""
    told = {
        "session_id": session.id,
        "job_id": job.job_id,
        "attempt": job.attempt,
        "metadata": session.metadata,
    }
    return msgspec.json.encode(told).decode()
