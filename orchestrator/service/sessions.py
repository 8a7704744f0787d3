"""Sessions as callers see them: create, look, token, terminate; and the one way by which a session moves.

`apply` is that way: load, step, commit, then hand the commands on. Everything that happens to a session, be
it a request, a webhook, a deadline or a worker's word, comes through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, Protocol

import structlog

from orchestrator.core.admission import standing_of
from orchestrator.core.draft import Decision
from orchestrator.core.errors import (
    FencedError,
    IllegalTransitionError,
    RoomNameTakenError,
    RoomServerError,
    StoreError,
    VersionConflictError,
)
from orchestrator.core.grants import client_grant, operator_grant
from orchestrator.core.ids import Identity, ServiceId, SessionId
from orchestrator.core.request_keys import RequestKey
from orchestrator.core.session import Session, evolve
from orchestrator.core.states import RoomStatus
from orchestrator.core.step import Opening, and_then, open_session, step
from orchestrator.core.triggers import (
    JobOffered,
    JobReady,
    Participant,
    RemovalAsked,
    RoleAsked,
    RoomCreated,
    RoomCreateFailed,
    TerminateAsked,
    Trigger,
)
from orchestrator.ports import Change, Clock, CommandRow, Room, RoomServer, SessionStore, Token, TokenMint
from orchestrator.service.changes import change_of
from orchestrator.service.doubts import Doubts
from orchestrator.service.live import LiveSessions
from orchestrator.service.new_session import (
    CreatedSession,
    Intent,
    NewSession,
    ServiceDirectory,
    SessionPolicy,
    opening_of,
)
from orchestrator.service.waiting import SessionWaits

log = structlog.get_logger(__name__)

_CONFLICTS: Final = 8  # reloads before a session that others keep changing is given up for this time
_RESULT_AGAIN_S: Final = 0.2  # after the store refused the result of a creation
_MAY_JOIN: Final = (RoomStatus.CREATING, RoomStatus.WAITING, RoomStatus.READY, RoomStatus.ACTIVE)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A decision that was made already, and for which record."""

    session: Session
    decision: Decision


class OfferPlanner(Protocol):
    """Who knows which worker a pending job is offered to."""

    def plan(self, session: Session) -> tuple[JobOffered, ...]:
        """Choose workers for the jobs of a session that can be offered now, and keep their places free."""

    def settle(self, planned: tuple[JobOffered, ...]) -> None:
        """The commit is through or was refused: kept places are given back, what was offered is counted."""


class Sessions:
    """The sessions of this orchestrator."""

    def __init__(
        self,
        *,
        store: SessionStore,
        rooms: RoomServer,
        tokens: TokenMint,
        clock: Clock,
        policy: SessionPolicy,
        live: LiveSessions,
        directory: ServiceDirectory,
    ) -> None:
        self._store = store
        self._rooms = rooms
        self._tokens = tokens
        self._clock = clock
        self._policy = policy
        self._directory = directory
        self._background: set[asyncio.Task[None]] = set()
        self.live = live
        self.doubts = Doubts(store=store, live=live)
        self.waits = SessionWaits(live=live, load=self.get, clock=clock)
        self.events_committed = 0  # since the start
        self.creating: set[str] = set()  # room names whose intent may not be committed yet
        self.deployment_id = ""
        self.run_commands: Callable[[tuple[CommandRow, ...]], None] = lambda rows: None
        self.offers: OfferPlanner | None = None
        self.recording_refusal: Callable[[], str] = str  # why no recording may begin now, "" when one may

    async def open(self) -> None:
        """Take over every open session from the store."""
        self.deployment_id = await self._store.deployment_id()
        for session in await self._store.open_sessions():
            self.live.put(session)

    async def close(self) -> None:
        """Wait for the results of creations that were already answered."""
        if self._background:
            await asyncio.wait(set(self._background), timeout=5.0)

    @property
    def busy(self) -> int:
        """How many results of creations are still to be committed."""
        return len(self._background)

    def now(self) -> datetime:
        """Give the store's time."""
        return self._store.now()

    # --- what callers ask ---

    async def create(self, request: NewSession) -> CreatedSession:
        """Create a session with its room, and give the client's token.

        The answer comes when the intent is durable and LiveKit has the room. The result is committed right
        after it; a crash in between leaves the `CreateRoom` row, from which another start rebuilds it.

        Raises:
            RoomNameTakenError: the chosen name is held by a live session or by a room that is not ours.
            RoomServerUnavailableError, RoomServerError: no room; the session is ending, no late room stays.
            ServicesTimeoutError: `strict` ended the session while the caller waited.
            StoreError: nothing was acknowledged.
        """
        return await self.complete(await self.intend(request), wait_s=request.wait_s)

    async def intend(self, request: NewSession, key: RequestKey | None = None) -> Intent:
        """Do the first half of `create`, and bind a key in the same commit; `complete` has to follow.

        Raises:
            RoomNameTakenError: a live session holds the chosen name.
            KeyTakenError: the key is bound already.
            StoreError: nothing was acknowledged.
        """
        opening = opening_of(
            request,
            self._policy,
            new_id=self._clock.new_id,
            default_services=self._directory.default_services,
        )
        if opening.recording_id is not None and (refusal := self.recording_refusal()):
            opening = replace(opening, recording_refusal=refusal)
        if key is not None:
            opening = replace(opening, request_key=key.scope)
        self.creating.add(opening.room_name)
        try:
            return await self._commit_intent(opening, key, is_chosen=request.room_name is not None)
        except BaseException:
            self.creating.discard(opening.room_name)
            raise

    async def complete(self, intent: Intent, *, wait_s: float | None) -> CreatedSession:
        """Do the second half of `create`: the room, the token, and the wait that was asked for."""
        session = intent.session
        try:
            room = await self._room_or_end(intent)
        finally:
            self.creating.discard(session.room_name)
        trigger = RoomCreated(sid=room.sid)
        foreseen = Foreseen(session, step(session, trigger, self._store.now()))
        expected = foreseen.decision.session
        token = self._client_token(expected, session.user_identity, session.user_name, "client")
        self._in_background(self._finish_creation(trigger, intent.row, foreseen))
        if wait_s:
            expected = await self.waits.until_ready(session.id, wait_s)
        return CreatedSession(session=expected, token=token, livekit_url=self._policy.livekit_url)

    async def get(self, session_id: SessionId) -> Session:
        """Give the session as last committed.

        Raises:
            SessionNotFoundError: there is none.
        """
        return await self.doubts.latest(session_id)

    async def terminate(
        self, session_id: SessionId, reason: str = "terminated", *, key: RequestKey | None = None
    ) -> Session:
        """End the session; ending it again is the same answer.

        Raises:
            KeyTakenError: the key is bound already.
        """
        return await self.apply(session_id, TerminateAsked(reason=reason), key=key)

    async def token(
        self,
        session_id: SessionId,
        identity: Identity,
        name: str,
        role: Literal["client", "operator"] = "client",
    ) -> Token:
        """Mint a room token, also while the room is still being created.

        Another role than before makes the tokens of the earlier one useless, and whoever is connected with
        one is put out at once.

        Raises:
            IllegalTransitionError: the session is over; its tokens are refused.
            BarredError: this identity was removed and is kept out.
        """
        session = await self.get(session_id)
        if session.room_status not in _MAY_JOIN:
            raise IllegalTransitionError(
                f"session {session_id} is {session.room_status.value}: it gives no more tokens"
            )
        if standing_of(session, identity).role != role:
            session = await self.apply(session_id, RoleAsked(identity=identity, role=role))
        return self._client_token(session, identity, name, role)

    async def remove(self, session_id: SessionId, identity: Identity, *, is_barred: bool) -> Session:
        """Put somebody out of the room and make their tokens useless; ``is_barred``: they get no new one.

        A worker is not barred: its attempt is lost and the job offered again.

        Raises:
            IllegalTransitionError: the session is ending, this is the recorder, or too many were removed.
        """
        return await self.apply(session_id, RemovalAsked(identity=identity, is_barred=is_barred))

    async def service_ready(self, session_id: SessionId, service_id: ServiceId) -> Session:
        """Take a service's word that it is ready (counts where it asked for `manual_ready`).

        Raises:
            IllegalTransitionError: the session has no such service, or nobody holds its job now.
        """
        session = await self.get(session_id)
        job = session.job_of(service_id)
        if job is None or job.worker_id is None:
            raise IllegalTransitionError(f"session {session_id} has no worker for service {service_id!r} now")
        return await self.apply(session_id, JobReady(job_id=job.job_id, attempt=job.attempt))

    async def participants(self, session_id: SessionId) -> list[Participant]:
        """Give who is in the room, asked of LiveKit now; nobody when the session has no room."""
        session = await self.get(session_id)
        if not session.is_live or session.room_sid is None:
            return []
        return await self._rooms.list_participants(session.room_name)

    # --- the one way ---

    async def apply(
        self,
        session_id: SessionId,
        trigger: Trigger,
        *,
        finished: tuple[CommandRow, ...] = (),
        is_patient: bool = False,
        foreseen: Foreseen | None = None,
        key: RequestKey | None = None,
    ) -> Session:
        """Step a session and commit what follows; commands are handed on after the commit.

        Args:
            session_id: which.
            trigger: what happened.
            finished: command rows that this is the result of; removed with the commit.
            is_patient: nobody waits for it; see `SessionStore.commit`.
            foreseen: what this trigger decides, if the session is still the one it was decided for.
            key: bound to the session, also when nothing else follows.

        Returns:
            The record after it (the same when nothing followed).

        Raises:
            SessionNotFoundError, StaleAttemptError, IllegalTransitionError, KeyTakenError: nothing was
                committed.
            StoreError: nothing was acknowledged.
        """
        async with self.live.lock(session_id):
            for _ in range(_CONFLICTS):
                session = await self.doubts.latest(session_id)
                now = self._store.now()
                is_foreseen = foreseen is not None and foreseen.session is session
                decision = foreseen.decision if foreseen and is_foreseen else step(session, trigger, now)
                if decision.is_empty:
                    if key is None:
                        break
                    decision = Decision(session=evolve(session, {"version": session.version + 1}))
                decision, planned = self._with_offers(decision, now)
                change = change_of(session, decision, finished=finished, key=key)
                try:
                    rows = await self.doubts.commit(change, is_patient=is_patient)
                except VersionConflictError:
                    await self.doubts.reload(session_id)
                    continue
                finally:
                    if self.offers is not None:
                        self.offers.settle(planned)
                self._committed(change)
                if rows:
                    self.run_commands(rows)
                return decision.session
            else:
                raise StoreError(f"session {session_id} kept changing; try again")
        for row in finished:
            await self._store.finish_command(row)
        return session

    def _with_offers(self, decision: Decision, now: datetime) -> tuple[Decision, tuple[JobOffered, ...]]:
        """Commit offers with what makes them possible: one fsync less for each, and no moment in between."""
        planned = () if self.offers is None else self.offers.plan(decision.session)
        for offer in planned:
            decision = and_then(decision, offer, now)
        return decision, planned

    def _committed(self, change: Change) -> None:
        self.events_committed += len(change.events)
        self.live.put(change.session)

    # --- helpers of create ---

    async def _commit_intent(self, opening: Opening, key: RequestKey | None, *, is_chosen: bool) -> Intent:
        """Commit the intent; for a name we made ask for the room beside it, else only after it."""
        decision = open_session(opening, self._store.now())
        change = change_of(None, decision, key=key)
        if is_chosen:
            (row,) = await self.doubts.commit(change)
            self._committed(change)
            return Intent(session=decision.session, row=row)
        calling = asyncio.ensure_future(self._rooms.create_room(opening.room_name, opening.session_id))
        try:
            await asyncio.sleep(0)  # the request goes out first: the store's thread then has the processor
            (row,) = await self.doubts.commit(change)
        except BaseException:
            # Nothing is durable: a room that comes all the same is a ghost and swept by the reconciler.
            calling.cancel()
            raise
        self._committed(change)
        return Intent(session=decision.session, row=row, calling=calling)

    async def _room_or_end(self, intent: Intent) -> Room:
        session, row = intent.session, intent.row
        try:
            room = await (intent.calling or self._rooms.create_room(session.room_name, session.id))
        except RoomServerError as error:
            failed = RoomCreateFailed(detail="LiveKit did not make the room")
            await self.apply(session.id, failed, finished=(row,))
            error.add_note(session.id)
            raise
        if (room.deployment_id, room.session_id) != (self.deployment_id, session.id):
            foreign = RoomCreateFailed(detail="the room name belongs to somebody else", is_foreign=True)
            await self.apply(session.id, foreign, finished=(row,))
            raise RoomNameTakenError(session.room_name)
        return room

    async def _finish_creation(self, trigger: RoomCreated, row: CommandRow, foreseen: Foreseen) -> None:
        session_id = foreseen.session.id
        try:
            await self.apply(session_id, trigger, finished=(row,), is_patient=True, foreseen=foreseen)
        except (StoreError, FencedError) as error:
            # The row is still there: the room is "created" again, to the same effect. And soon: the caller
            # has the answer, and the deadline of the creation still stands.
            log.warning("creation_result_not_committed", session_id=session_id, error=str(error))
            with suppress(StoreError):  # then its lease lapses
                await self._store.postpone_command(row, _RESULT_AGAIN_S)

    def _client_token(
        self, session: Session, identity: Identity, name: str, role: Literal["client", "operator"]
    ) -> Token:
        make = client_grant if role == "client" else operator_grant
        number = standing_of(session, identity).number
        return self._tokens.mint(
            make(session.room_name, identity, name, session_id=session.id, number=number)
        )

    def _in_background(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
