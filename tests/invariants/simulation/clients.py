"""Clients and event readers of the simulation: they create, join, leave, end, repeat, and read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.grants import Grant
from orchestrator.core.ids import CallerId, Identity, SessionId
from orchestrator.core.request_keys import KeyScope, RequestKey
from orchestrator.service.new_session import CreatedSession, NewSession
from orchestrator.wiring import Orchestrator
from tests.invariants.history import Called, Replied
from tests.invariants.simulation.livekit import Connection, JoinRefusedError, LiveKit
from tests.invariants.simulation.process import Process, UnreachableError
from tests.invariants.simulation.stage import Stage

_T = TypeVar("_T")


class Caller:
    """Whoever asks the API something; every request and what came of it is written down."""

    def __init__(self, stage: Stage, process: Callable[[], Process | None]) -> None:
        self._stage = stage
        self._process = process
        self._calls = 0
        self.refused = 0

    async def ask(
        self,
        who: str,
        what: str,
        work: Callable[[Orchestrator], Coroutine[Any, Any, _T]],
        *,
        subject: Callable[[_T], str] = lambda value: "",
        detail: str = "",
    ) -> _T | None:
        """Ask, and give the answer; None when it was refused or lost."""
        stage = self._stage
        self._calls += 1
        call = self._calls
        stage.history.add(Called(at=stage.time(), call=call, who=who, what=what, detail=detail))
        process = self._process()
        outcome, about, said = "lost", "", ""
        value: _T | None = None
        try:
            if process is None:
                await asyncio.sleep(0.01)
            else:
                value = await process.call(work)
                outcome, about = "ok", subject(value)
        except UnreachableError:
            pass
        except OrchestratorError as error:
            outcome, said = "refused", type(error).__name__
            self.refused += 1
        stage.history.add(
            Replied(
                at=stage.time(),
                call=call,
                what=what,
                outcome=outcome,
                instance=process.instance if process is not None else "",
                subject=about,
                detail=said,
            )
        )
        return value


class Client:
    """Somebody who wants a room, once."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        *,
        caller: Caller,
        livekit: LiveKit,
        granted: dict[str, tuple[Grant, float]],
        on_session: Callable[[SessionId, str], None],
    ) -> None:
        self._stage = stage
        self.name = name
        self._caller = caller
        self._livekit = livekit
        self._granted = granted
        self._on_session = on_session
        self._connection: Connection | None = None
        self._is_gone = False
        self._is_put_out = False  # and comes back with the token that it has, now and then with a new one

    async def live(self, request: NewSession, *, begins_s: float, stays_s: float, ends: bool) -> None:
        """Create a session, join it, stay, leave it; at the end perhaps terminate it."""
        stage = self._stage
        await asyncio.sleep(begins_s)
        key = self._key() if stage.chance(0.6) else None
        created = None
        for _ in range(4):
            created = await self._create(request, key)
            if created is not None:
                break
            await asyncio.sleep(stage.between(0.3, 2.0))
        if created is None:
            return
        while key is not None and stage.chance(0.3):
            await self._create(request, key)  # it saw no answer, or so it thinks
        session_id = created.session.id
        self._on_session(session_id, self.name)
        if stage.chance(0.15):
            return  # somebody who never comes
        until = stage.time() + stays_s
        token = created.token.jwt
        while stage.time() < until and not self._is_gone:
            if self._connection is None:
                token = await self._join(session_id, token)
            if stage.chance(0.05):
                self._leave()
                await asyncio.sleep(stage.between(0.2, 3.0))
            await asyncio.sleep(stage.between(0.3, 1.5))
        if stage.chance(0.2) and self._connection is not None:
            self._livekit.silence(self._connection)  # its machine was switched off
        else:
            self._leave()
        self._is_gone = True
        if ends:
            for _ in range(stage.rng.randint(1, 3)):
                await self._caller.ask(
                    self.name,
                    "terminate",
                    lambda orchestrator: orchestrator.sessions.terminate(session_id),
                    subject=lambda session: session.id,
                )

    def _key(self) -> RequestKey:
        scope = KeyScope(caller=CallerId(""), route="create", key=f"key of {self.name}")
        return RequestKey(scope=scope, fingerprint="the same each time")

    async def _create(self, request: NewSession, key: RequestKey | None) -> CreatedSession | None:
        return await self._caller.ask(
            self.name,
            "create",
            lambda orchestrator: orchestrator.repeats.create(lambda: request, key, wait_s=request.wait_s),
            subject=lambda made: made.session.id,
            detail=key.scope.key if key is not None else "",
        )

    async def _join(self, session_id: SessionId, token: str) -> str:
        if self._is_put_out and self._stage.chance(0.5):
            self._is_put_out = False
            return await self._renew(session_id, token)
        grant, expires_at_s = self._granted[token]
        try:
            self._connection = self._livekit.join(grant, expires_at_s, self._lost)
        except JoinRefusedError:
            return await self._renew(session_id, token)
        return token

    async def _renew(self, session_id: SessionId, token: str) -> str:
        renewed = await self._caller.ask(
            self.name,
            "token",
            lambda orchestrator: orchestrator.sessions.token(session_id, Identity(self.name), self.name),
            subject=lambda _: session_id,
        )
        return renewed.jwt if renewed is not None else token

    def _lost(self, why: str) -> None:
        self._connection = None
        self._is_put_out = why == "removed"

    def _leave(self) -> None:
        if self._connection is not None:
            self._livekit.leave(self._connection)
            self._connection = None
