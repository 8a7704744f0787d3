"""Carries out the durable commands: at once when this instance wrote them, later when their lease lapsed.

Every handler looks at the session again before it acts, has a deadline, and may run twice. What fails is
postponed with a growing pause; what succeeds is removed by the commit of its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, assert_never

import structlog

from orchestrator.core.admission import refusal
from orchestrator.core.commands import (
    ControlRecording,
    CreateRoom,
    DeleteDispatch,
    DeleteRoom,
    DispatchAgent,
    LeaveJob,
    RemoveParticipant,
)
from orchestrator.core.errors import (
    FencedError,
    IllegalTransitionError,
    OrchestratorError,
    RoomServerError,
    SessionNotFoundError,
    StaleAttemptError,
    StoreError,
)
from orchestrator.core.ids import Identity, RoomName
from orchestrator.core.session import Session
from orchestrator.core.triggers import JobDone, RoomCreated, RoomCreateFailed, RoomDeleted
from orchestrator.ports import Clock, CommandRow, RoomServer, SessionStore
from orchestrator.service.agents import Agents
from orchestrator.service.sessions import Sessions

log = structlog.get_logger(__name__)

_SWEEP_S: Final = 0.5  # how often lapsed leases and ended pauses are looked for
_AT_ONCE: Final = 64  # commands carried out side by side; the others wait in the store's order
_PAUSE_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)


class WorkerLines(Protocol):
    """How a command reaches a worker."""

    async def leave(self, command: LeaveJob, session: Session) -> bool:
        """Tell a worker to leave; True when it answered that it has left."""

    async def control(self, command: ControlRecording) -> None:
        """Send the recorder an operation, if its line is up."""


class CommandRunner:
    """Runs command rows until `close`."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        store: SessionStore,
        rooms: RoomServer,
        clock: Clock,
        workers: WorkerLines,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._rooms = rooms
        self._clock = clock
        self._workers = workers
        self._agents = Agents(sessions=sessions, store=store, rooms=rooms)
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self.on_failure: Callable[[str], None] = lambda kind: None

    def submit(self, rows: tuple[CommandRow, ...]) -> None:
        """Carry out rows that this instance has claimed."""
        for row in rows:
            task = asyncio.ensure_future(self._run(row))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def run(self) -> None:
        """Claim what others left behind, for ever."""
        is_start = True
        while True:
            try:
                free = _AT_ONCE - len(self._running)
                if free > 0:
                    rows = await self._store.claim_commands(free, all_orphaned=is_start)
                    is_start = is_start and len(rows) == free
                    self.submit(tuple(rows))
            except StoreError as error:
                log.warning("command_sweep_failed", error=str(error))
            await asyncio.sleep(_SWEEP_S)

    async def close(self) -> None:
        """Let what runs come to its end, shortly; the rows of the rest stay in the store."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=2.0)
        for task in set(self._running):
            task.cancel()

    @property
    def running(self) -> int:
        """How many commands are being carried out."""
        return len(self._running)

    async def _run(self, row: CommandRow) -> None:
        async with self._slots:
            try:
                await self._carry_out(row)
            except (FencedError, SessionNotFoundError):
                pass  # somebody else has it, or there is nothing left to do it for
            except (OrchestratorError, TimeoutError, OSError) as error:
                await self._postpone(row, error)

    async def _postpone(self, row: CommandRow, error: Exception) -> None:
        kind = type(row.command).__name__
        self.on_failure(kind)
        pause_s = _PAUSE_S[min(row.tries, len(_PAUSE_S) - 1)] * (0.75 + self._clock.random() / 2)
        if row.tries in (0, 5, 20):  # the first, and when it goes on for long; not every try
            log.warning(
                "command_postponed",
                command=kind,
                session_id=row.session_id,
                tries=row.tries + 1,
                error=str(error),
            )
        try:
            await self._store.postpone_command(row, pause_s)
        except StoreError:
            log.warning("command_not_postponed", command=kind, session_id=row.session_id)  # its lease lapses

    async def _carry_out(self, row: CommandRow) -> None:
        session = await self._sessions.get(row.session_id)
        match row.command:
            case CreateRoom():
                await self._create_room(row, session)
            case DeleteRoom():
                await self._delete_room(row, session)
            case RemoveParticipant() as command:
                await self._remove_participant(command, session)
                await self._store.finish_command(row)
            case LeaveJob() as command:
                await self._leave(row, command, session)
            case ControlRecording() as command:
                await self._control(row, command, session)
            case DispatchAgent() as command:
                await self._agents.dispatch(row, command, session)
            case DeleteDispatch() as command:
                await self._agents.end(row, command, session)
            case _:
                assert_never(row.command)

    async def _create_room(self, row: CommandRow, session: Session) -> None:
        if not session.is_live or session.room_sid is not None:
            await self._store.finish_command(row)  # the state moved on: a room now would be a ghost
            return
        if session.room_name in self._sessions.creating:
            raise RoomServerError("the creating call is still at it")
        room = await self._rooms.create_room(session.room_name, session.id)
        if (room.deployment_id, room.session_id) != (self._sessions.deployment_id, session.id):
            foreign = RoomCreateFailed(detail="the room name belongs to somebody else", is_foreign=True)
            await self._sessions.apply(session.id, foreign, finished=(row,))
            return
        await self._sessions.apply(session.id, RoomCreated(sid=room.sid), finished=(row,))

    async def _delete_room(self, row: CommandRow, session: Session) -> None:
        name = session.room_name
        for room in await self._rooms.list_rooms((name,)):
            # A stranger's room under a chosen name is never deleted by us.
            if (room.deployment_id, room.session_id) == (self._sessions.deployment_id, session.id):
                await self._rooms.delete_room(name)
        await self._sessions.apply(session.id, RoomDeleted(), finished=(row,))

    async def _remove_participant(self, command: RemoveParticipant, session: Session) -> None:
        if session.is_over:
            return  # the room is deleted with everybody in it
        name, identity = RoomName(command.room_name), Identity(command.identity)
        present = [one for one in await self._rooms.list_participants(name) if one.identity == identity]
        # LiveKit removes by identity, not by SID: it would meet who comes with a token that counts. Whoever
        # comes with another is judged when they are seen.
        if present and all(refusal(session, one) is not None for one in present):
            await self._rooms.remove_participant(name, identity)

    async def _leave(self, row: CommandRow, command: LeaveJob, session: Session) -> None:
        has_left = await self._workers.leave(command, session)
        job = session.job(command.job_id)
        if has_left and not command.is_stale and job is not None:
            done = JobDone(job_id=job.job_id, attempt=command.attempt)
            try:
                await self._sessions.apply(session.id, done, finished=(row,))
            except (StaleAttemptError, IllegalTransitionError):
                pass  # the job has moved on
            else:
                return
        await self._store.finish_command(row)

    async def _control(self, row: CommandRow, command: ControlRecording, session: Session) -> None:
        job = session.job(command.job_id)
        recording = session.recording
        is_over = (
            job is None
            or job.attempt != command.attempt
            or job.worker_id is None
            or recording is None
            or recording.done_op >= command.n
            or (recording.wanted is not None and recording.wanted.n != command.n)  # a newer one is said
            or not recording.is_running
        )
        if is_over:
            await self._store.finish_command(row)
            return
        await self._workers.control(command)
        await self._store.postpone_command(row, 1.0)  # repeated until a report shows it
