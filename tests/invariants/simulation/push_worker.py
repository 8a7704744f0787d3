"""A push worker of the simulation: it registers an address, is called, and joins by the token it was given.

It knows sessions and no attempts, as the reference's workers do: called again for a session it joins again,
under the identity of the newer token. It can refuse, be slow, die, start anew without its jobs, and hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.grants import Grant
from orchestrator.ports import CallOutcome
from orchestrator.service.push import NewWorker
from sdk.wire import JoinRoom, LeaveRoom
from tests.invariants.history import Called, Replied, Told, WorkerDown, WorkerUp
from tests.invariants.simulation.livekit import Connection, JoinRefusedError, LiveKit
from tests.invariants.simulation.process import Process, UnreachableError
from tests.invariants.simulation.runs import REJOIN_FOR_S, Temper
from tests.invariants.simulation.stage import Stage


@dataclass(eq=False, slots=True, kw_only=True)
class _Place:
    """One session as the worker has it."""

    session_id: str
    connections: list[Connection] = field(default_factory=list)
    is_over: bool = False


class PushWorker:
    """Implements `PushServer`."""

    def __init__(
        self,
        stage: Stage,
        name: str,
        service_id: str,
        *,
        temper: Temper,
        livekit: LiveKit,
        granted: dict[str, tuple[Grant, float]],
        process: Callable[[], Process | None],
    ) -> None:
        self._stage = stage
        self.name = name
        self.service_id = service_id
        self.temper = temper
        self._livekit = livekit
        self._granted = granted
        self._process = process
        self._places: dict[str, _Place] = {}
        self._life = 0
        self._is_alive = False
        self._is_frozen = False
        self._is_drained = False  # by its operator: until a new process of it registers
        self._calls = 0
        self._tokens: dict[Connection, str] = {}

    @property
    def endpoint(self) -> str:
        """Where it is called."""
        return f"http://127.0.0.1:9/{self.name}"

    @property
    def is_reachable(self) -> bool | None:
        """Whether it answers: False means that nobody listens, None that nothing comes back."""
        return None if self._is_frozen else self._is_alive

    # --- what is done to it ---

    def start(self) -> None:
        """Start a process of this worker, without any session, and register it."""
        if self._is_alive:
            return
        self._life += 1
        self._is_drained = False
        self._is_alive, self._is_frozen = True, False
        self._stage.spawn(self._register(self._life))

    def kill(self, *, is_seen: bool) -> None:
        """Die; nobody hears more of what it had in rooms."""
        if not self._is_alive:
            return
        self._is_alive = self._is_frozen = False
        self._say_down("killed" if is_seen else "killed unseen")
        for place in self._places.values():
            place.is_over = True
            for connection in place.connections:
                self._livekit.silence(connection)
        self._places.clear()

    def freeze(self) -> None:
        """Stand still: calls find nobody who answers."""
        if self._is_alive and not self._is_frozen:
            self._is_frozen = True
            self._say_down("frozen")
            for place in self._places.values():
                for connection in place.connections:
                    self._livekit.silence(connection)

    def thaw(self) -> None:
        """Go on as if nothing had happened."""
        if not self._is_frozen:
            return
        self._is_frozen = False
        self._say_up()
        for place in self._places.values():
            for connection in list(place.connections):
                if not self._livekit.speak_again(connection):
                    place.connections.remove(connection)
                    token = self._tokens[connection]
                    self._stage.later(0.2, self._joiner(self._life, place, token, self._stage.time()))

    def drain_by_operator(self) -> None:
        """Get nothing new, whatever it says itself."""
        self._is_drained = True
        self._say_down("drained")

    # --- its server ---

    def asked_to_join(self, request: JoinRoom) -> CallOutcome:
        """Take a session, or refuse it."""
        stage = self._stage
        stage.history.add(
            Told(
                at=stage.time(),
                worker=self.name,
                what="join-room",
                job_id=request.job_id or "",
                attempt=request.attempt or 0,
            )
        )
        if stage.chance(self.temper.refuses):
            return CallOutcome(answer="no", detail="Failed to join room")
        place = self._places.setdefault(request.session_id, _Place(session_id=request.session_id))
        join = self._joiner(self._life, place, request.access_token, stage.time())
        stage.later(stage.between(0.001, self.temper.slow_s), join)
        return CallOutcome(answer="yes")

    def asked_to_leave(self, request: LeaveRoom) -> CallOutcome:
        """Leave a session."""
        stage = self._stage
        stage.history.add(
            Told(at=stage.time(), worker=self.name, what="leave-room", job_id=request.session_id, attempt=0)
        )
        place = self._places.pop(request.session_id, None)
        if place is not None:
            place.is_over = True
            for connection in place.connections:
                self._livekit.leave(connection)
        return CallOutcome(answer="yes")

    # --- its life ---

    async def _register(self, life: int) -> None:
        stage = self._stage
        new = NewWorker(
            service_id=self.service_id,
            endpoint=self.endpoint,
            worker_id=self.name,
            capacity=self.temper.capacity,
        )
        while self._is_alive and self._life == life:
            self._calls += 1
            call = -self._calls
            process = self._process()
            stage.history.add(Called(at=stage.time(), call=call, who=self.name, what="register"))
            outcome, instance = "lost", ""
            try:
                if process is not None:
                    instance = process.instance
                    await process.call(lambda orchestrator: orchestrator.push.register(new))
                    outcome = "ok"
            except UnreachableError:
                pass
            except OrchestratorError:
                outcome = "refused"
            stage.history.add(
                Replied(
                    at=stage.time(),
                    call=call,
                    what="register",
                    outcome=outcome,
                    instance=instance,
                    subject=self.name,
                )
            )
            if outcome == "ok":
                if self._life == life:
                    self._say_up()
                return
            await asyncio.sleep(stage.between(0.3, 1.0))

    def _joiner(self, life: int, place: _Place, token: str, since: float) -> Callable[[], None]:
        """Give what joins a room, and tries again for a while where that fails."""
        stage = self._stage

        def on_lost(why: str) -> None:
            place.connections = [c for c in place.connections if self._livekit.is_in(c)]
            if why in ("server restarted", "not heard"):
                stage.later(0.3, self._joiner(life, place, token, stage.time()))
            elif why == "room deleted":
                self._places.pop(place.session_id, None)
                place.is_over = True

        def join() -> None:
            if place.is_over or self._life != life or not self._is_alive:
                return
            grant, expires_at_s = self._granted[token]
            try:
                connection = self._livekit.join(grant, expires_at_s, on_lost)
            except JoinRefusedError:
                if stage.time() - since < REJOIN_FOR_S:
                    stage.later(stage.between(0.5, 1.0), join)
                return
            place.connections.append(connection)
            self._tokens[connection] = token
            if self._is_frozen:
                self._livekit.silence(connection)

        return join

    def _say_up(self) -> None:
        if self._is_drained:
            return
        self._stage.history.add(
            WorkerUp(
                at=self._stage.time(),
                worker=self.name,
                service_id=self.service_id,
                is_push=True,
                capacity=self.temper.capacity,
            )
        )

    def _say_down(self, how: str) -> None:
        self._stage.history.add(WorkerDown(at=self._stage.time(), worker=self.name, how=how))
