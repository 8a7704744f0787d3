"""Requests with an `Idempotency-Key`: the first is carried out, its repeats are answered from what it made.

The key is bound in the commit of the intent, so whatever dies after it, a repeat finds the session and waits
for it. In this process one request of a key at a time gets as far as that commit; between processes the
store decides. No answer is stored: it is made anew from the session, with a token of its own.
Source: architecture §8.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from orchestrator.core.admission import standing_of
from orchestrator.core.errors import (
    KeyOutlivedError,
    KeyTakenError,
    RoomServerUnavailableError,
    StoreError,
)
from orchestrator.core.ids import SessionId, WorkerId
from orchestrator.core.request_keys import KeyScope, RequestKey, check_repeat
from orchestrator.core.session import Session
from orchestrator.core.triggers import TerminateAsked, Trigger
from orchestrator.ports import SessionStore
from orchestrator.service.new_session import CreatedSession, NewSession
from orchestrator.service.push import NewWorker, PushWorkers
from orchestrator.service.sessions import Sessions

log = structlog.get_logger(__name__)

_TURN_S: Final = 15.0  # for the requests of one key that come before; more than the store may take
_GRACE_S: Final = 1.0  # for the commit that follows the deadline of a creation
_SWEEP_S: Final = 600.0  # how often old keys are forgotten; those in between are free all the same


class Repeats:
    """Carries out requests that may come again."""

    def __init__(self, *, store: SessionStore, sessions: Sessions, push: PushWorkers) -> None:
        self._store = store
        self._sessions = sessions
        self._push = push
        self._turns: weakref.WeakValueDictionary[KeyScope, asyncio.Lock] = weakref.WeakValueDictionary()

    async def create(
        self, make: Callable[[], NewSession], key: RequestKey | None, *, wait_s: float | None
    ) -> CreatedSession:
        """Create a session, or answer for the one that this key made.

        Args:
            make: gives what is asked for; raises what is wrong with it. A repeat was right already.
            key: None creates.
            wait_s: how long the caller waits for Ready, at a repeat anew.

        Raises:
            KeyReusedError: the key came with another request.
            KeyOutlivedError: the session has ended since.
            BarredError: its creator was removed from it since, and is kept out.
            RoomServerUnavailableError: the room of the first request could not be made.
            StoreError: nothing was acknowledged.
            Exception: what `Sessions.create` and ``make`` raise.
        """
        if key is None:
            return await self._sessions.complete(await self._sessions.intend(make()), wait_s=wait_s)
        async with self._turn(key):
            made = await self._target(key)
            if made is None:
                try:
                    intent = await self._sessions.intend(make(), key)
                except KeyTakenError:
                    made = await self._target_of_another(key)
        if made is None:
            return await self._sessions.complete(intent, wait_s=wait_s)
        return await self._answer_for(SessionId(made), wait_s)

    async def terminate(self, session_id: SessionId, key: RequestKey | None) -> Session:
        """End a session; a repeat ends nothing, also when the session lives again.

        Raises:
            KeyReusedError: the key came with another request.
            SessionNotFoundError: there is no such session.
            StoreError: nothing was acknowledged.
        """
        return await self.apply(session_id, TerminateAsked(), key)

    async def apply(self, session_id: SessionId, trigger: Trigger, key: RequestKey | None) -> Session:
        """Let something happen to a session; a repeat only gives the session as it is by then.

        Raises:
            KeyReusedError: the key came with another request.
            SessionNotFoundError, IllegalTransitionError: nothing happened; no key is bound.
            StoreError: nothing was acknowledged.
        """
        if key is None:
            return await self._sessions.apply(session_id, trigger)
        async with self._turn(key):
            if await self._target(key) is None:
                try:
                    return await self._sessions.apply(session_id, trigger, key=key)
                except KeyTakenError:
                    await self._target_of_another(key)
        return await self._sessions.get(session_id)

    async def register(self, make: Callable[[], Awaitable[NewWorker]], key: RequestKey | None) -> None:
        """Register a push worker; a repeat is a sign of life and overwrites no later registration.

        Raises:
            KeyReusedError: the key came with another request.
            KeyOutlivedError: the worker was unregistered since.
            StoreError: it is not durable.
            Exception: what ``make`` raises.
        """
        if key is None:
            await self._push.register(await make())
            return
        async with self._turn(key):
            worker_id = await self._target(key)
            if worker_id is None:
                try:
                    await self._push.register(await make(), key)
                except KeyTakenError:
                    worker_id = await self._target_of_another(key)
        if worker_id is not None and not self._push.heard(WorkerId(worker_id)):
            raise KeyOutlivedError(
                f"worker {worker_id!r} was unregistered since this request", {"worker_id": worker_id}
            )

    async def run(self) -> None:
        """Forget old keys until cancelled."""
        while True:
            try:
                await self._store.forget_keys()
            except StoreError as error:
                log.warning("request_keys_not_forgotten", error=str(error))
            await asyncio.sleep(_SWEEP_S)

    async def _answer_for(self, session_id: SessionId, wait_s: float | None) -> CreatedSession:
        session = await self._sessions.get(session_id)
        _check_not_over(session)
        session = await self._sessions.waits.until_created(session_id, session.limits.create_s + _GRACE_S)
        if session.end_reason == "create_failed":
            error = RoomServerUnavailableError("the room of the first request could not be made")
            error.add_note(session_id)
            raise error
        if wait_s:
            session = await self._sessions.waits.until_ready(session_id, wait_s)
        _check_not_over(session)
        identity = session.user_identity
        role = standing_of(session, identity).role  # which may have been changed since
        token = await self._sessions.token(session_id, identity, session.user_name, role)
        return CreatedSession(session=session, token=token, livekit_url=session.livekit_url)

    async def _target(self, key: RequestKey) -> str | None:
        bound = await self._store.bound_key(key.scope)
        if bound is None:
            return None
        check_repeat(key, bound)
        return bound.target

    async def _target_of_another(self, key: RequestKey) -> str:
        """Give what another process made of this key while we tried."""
        target = await self._target(key)
        if target is None:
            raise StoreError("the first request with this Idempotency-Key failed just now; try again")
        return target

    @asynccontextmanager
    async def _turn(self, key: RequestKey) -> AsyncIterator[None]:
        lock = self._turns.setdefault(key.scope, asyncio.Lock())
        try:
            async with asyncio.timeout(_TURN_S):
                await lock.acquire()
        except TimeoutError:
            raise StoreError("requests with this Idempotency-Key are still under way; try again") from None
        try:
            yield
        finally:
            lock.release()


def _check_not_over(session: Session) -> None:
    if not session.is_live:
        raise KeyOutlivedError(
            f"session {session.id} of this Idempotency-Key has ended ({session.end_reason})",
            {"session_id": session.id},
        )
