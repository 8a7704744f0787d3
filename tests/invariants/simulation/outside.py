"""The ports of one simulated instance: its clock, its way to the store, to LiveKit and to push workers.

A call of an instance may be lost, done without an answer, or done late; what was sent is done even when the
sender died meanwhile. `Crashes` lets an instance die between any two of these calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar
from uuid import UUID

from orchestrator.core.errors import RoomServerError, RoomServerUnavailableError, StoreError
from orchestrator.core.events import RegistryEvent
from orchestrator.core.grants import Grant
from orchestrator.core.ids import Identity, JobId, RoomName, SessionId, WorkerId
from orchestrator.core.request_keys import BoundKey, KeyScope, RequestKey
from orchestrator.core.session import Session
from orchestrator.core.triggers import Participant
from orchestrator.core.workers import Registration
from orchestrator.ports import CallOutcome, Change, CommandRow, Dispatch, FeedPage, Room, Token, Uptime
from sdk.wire import JoinRoom, LeaveRoom
from tests.invariants.simulation.durable import Durable
from tests.invariants.simulation.livekit import LiveKit
from tests.invariants.simulation.stage import Stage
from tests.invariants.simulation.weather import Weather

ROOMS_TIMEOUT_S: Final = 2.0
NOTIFY_TIMEOUT_S: Final = 2.0
TOKEN_S: Final = 300.0
_T = TypeVar("_T")


class PushServer(Protocol):
    """A push worker's HTTP server."""

    @property
    def is_reachable(self) -> bool | None:
        """Whether it answers: False means that nobody listens, None that nothing comes back."""

    def asked_to_join(self, request: JoinRoom) -> CallOutcome:
        """POST /join-room."""

    def asked_to_leave(self, request: LeaveRoom) -> CallOutcome:
        """POST /leave-room."""


class SimClock:
    """Implements `Clock` as the system's does: wall time as it was at the start plus what passed since."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._started_at = stage.wall()
        self._started_s = stage.time()
        self.skew_s = stage.skew_s

    def now(self) -> datetime:
        """Give the wall time."""
        return self._started_at + timedelta(seconds=self._stage.time() - self._started_s)

    def monotonic(self) -> float:
        """Give the virtual seconds."""
        return self._stage.time()

    def uptime(self) -> Uptime:
        """Give the virtual seconds: the machine itself is never started anew."""
        return Uptime(boot="machine", seconds=self._stage.time())

    def new_id(self) -> str:
        """Give a uuid4 of the seed's."""
        return str(UUID(int=self._stage.rng.getrandbits(128), version=4))

    def random(self) -> float:
        """Give a number in [0, 1)."""
        return self._stage.rng.random()


class SimTokens:
    """Implements `TokenMint`; LiveKit reads the grants back by the token's text."""

    def __init__(self, stage: Stage, granted: dict[str, tuple[Grant, float]]) -> None:
        self._stage = stage
        self._granted = granted

    def mint(self, grant: Grant) -> Token:
        """Keep the grant under a new name."""
        jwt = f"token-{len(self._granted) + 1}"
        self._granted[jwt] = (grant, self._stage.time() + TOKEN_S)
        return Token(jwt=jwt, expires_at=self._stage.wall() + timedelta(seconds=TOKEN_S))


class Crashes:
    """Counts the calls that an instance makes to the outside, and kills it at the one that is chosen."""

    def __init__(self, kill: Callable[[], None]) -> None:
        self._kill = kill
        self.calls_left: int | None = None

    async def passing(self) -> None:
        """Be a place where the instance may die; then nothing after it is ever done."""
        if self.calls_left is None:
            return
        self.calls_left -= 1
        if self.calls_left <= 0:
            self._kill()
            await asyncio.get_running_loop().create_future()  # whose answer no dead owner ever sees


class SimStore:
    """Implements `SessionStore`: the way of one instance to the disk."""

    def __init__(self, stage: Stage, disk: Durable, weather: Weather, crashes: Crashes) -> None:
        self._stage, self._disk, self._weather, self._crashes = stage, disk, weather, crashes

    async def open(self) -> None:
        """Do nothing: the process took the disk when it started."""

    async def close(self) -> None:
        """Do nothing."""

    def now(self) -> datetime:
        """Give the store's time."""
        return self._disk.now()

    async def commit(self, change: Change, *, is_patient: bool = False) -> tuple[CommandRow, ...]:
        """Write a change."""
        await self._before()
        rows = await self._disk.commit(change, is_patient=is_patient)
        await self._after()
        return rows

    async def load(self, session_id: SessionId) -> Session:
        """Read a session."""
        await self._before()
        return await self._disk.load(session_id)

    async def open_sessions(self) -> list[Session]:
        """Read the open sessions."""
        await self._before()
        return await self._disk.open_sessions()

    async def due_sessions(self, limit: int) -> list[SessionId]:
        """Read who has a due deadline."""
        await self._poll()
        return await self._disk.due_sessions(limit)

    async def claim_commands(self, limit: int, *, all_orphaned: bool = False) -> list[CommandRow]:
        """Claim commands."""
        await self._poll()
        return await self._disk.claim_commands(limit, all_orphaned=all_orphaned)

    async def postpone_command(self, row: CommandRow, delay_s: float) -> None:
        """Give a claim back."""
        await self._before()
        await self._disk.postpone_command(row, delay_s)
        await self._after()

    async def finish_command(self, row: CommandRow) -> None:
        """Remove a row."""
        await self._before()
        await self._disk.finish_command(row)
        await self._after()

    async def feed_after(self, seq: int, *, session_id: SessionId | None, limit: int) -> FeedPage:
        """Read events."""
        await self._poll()
        return await self._disk.feed_after(seq, session_id=session_id, limit=limit)

    async def trim_feed(self, before: datetime) -> int:
        """Forget old events."""
        await self._before()
        return await self._disk.trim_feed(before)

    async def save_worker(
        self, worker: Registration, events: Sequence[RegistryEvent] = (), *, key: RequestKey | None = None
    ) -> None:
        """Save a registration."""
        await self._before()
        await self._disk.save_worker(worker, events, key=key)
        await self._after()

    async def delete_worker(self, worker_id: WorkerId, events: Sequence[RegistryEvent] = ()) -> None:
        """Forget a registration."""
        await self._before()
        await self._disk.delete_worker(worker_id, events)
        await self._after()

    async def workers(self) -> list[Registration]:
        """Read all registrations."""
        await self._before()
        return await self._disk.workers()

    async def bound_key(self, scope: KeyScope) -> BoundKey | None:
        """Read a key."""
        await self._before()
        return await self._disk.bound_key(scope)

    async def forget_keys(self) -> int:
        """Forget old keys."""
        await self._before()
        return await self._disk.forget_keys()

    async def deployment_id(self) -> str:
        """Give the id made with the store."""
        return await self._disk.deployment_id()

    async def _before(self) -> None:
        await self._crashes.passing()
        await asyncio.sleep(self._stage.between(0.0002, self._weather.store_slow_s))
        if self._stage.chance(self._weather.store_fails):
            raise StoreError("the store is not well")

    async def _after(self) -> None:
        if self._stage.chance(self._weather.store_forgets):
            await asyncio.sleep(self._stage.between(0.0, 1.0))
            raise StoreError("the store did not answer")
        await asyncio.sleep(self._stage.between(0.0, 0.001))
        await self._crashes.passing()

    async def _poll(self) -> None:
        """Be quicker where nothing is written: polls are many."""
        await self._crashes.passing()
        if self._weather.store_fails or self._weather.store_slow_s > 0.1:
            await self._before()


class SimRooms:
    """Implements `RoomServer`: the way of one instance to LiveKit."""

    def __init__(
        self, stage: Stage, livekit: LiveKit, weather: Weather, crashes: Crashes, deployment_id: str
    ) -> None:
        self._stage, self._livekit, self._weather, self._crashes = stage, livekit, weather, crashes
        self._deployment_id = deployment_id

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def create_room(self, name: RoomName, session_id: SessionId) -> Room:
        """Create a room."""
        return await self._call(lambda: self._livekit.create_room(name, self._deployment_id, session_id))

    async def list_rooms(self, names: tuple[RoomName, ...] = ()) -> list[Room]:
        """List rooms."""
        return await self._call(lambda: self._livekit.list_rooms(names))

    async def delete_room(self, name: RoomName) -> None:
        """Delete a room."""
        await self._call(lambda: self._livekit.delete_room(name))

    async def list_participants(self, name: RoomName) -> list[Participant]:
        """List who is in a room."""
        return await self._call(lambda: self._livekit.list_participants(name))

    async def remove_participant(self, name: RoomName, identity: Identity) -> None:
        """Put somebody out."""
        await self._call(lambda: self._livekit.remove_participant(name, identity))

    async def create_dispatch(
        self, name: RoomName, agent_name: str, *, job_id: JobId, attempt: int, metadata: str
    ) -> None:
        """Have no agents here."""
        raise RoomServerError("the simulation has no agents")

    async def list_dispatches(self, name: RoomName) -> list[Dispatch]:
        """Have no agents here."""
        return []

    async def delete_dispatch(self, name: RoomName, dispatch_id: str) -> None:
        """Have no agents here."""

    async def _call(self, act: Callable[[], _T]) -> _T:
        await self._crashes.passing()
        stage, weather = self._stage, self._weather
        way_s = stage.between(0.0005, weather.rooms_slow_s)
        roll = stage.rng.random()
        is_lost = weather.rooms_down or roll < weather.rooms_lost
        is_late = not is_lost and stage.chance(weather.rooms_late)
        is_unanswered = is_lost or is_late or stage.chance(weather.rooms_done)
        answer: asyncio.Future[_T] = stage.loop.create_future()

        def arrive() -> None:
            value = act()
            if not is_unanswered and not answer.done():
                stage.later(way_s / 2, lambda: answer.set_result(value) if not answer.done() else None)

        if not is_lost:
            stage.later(ROOMS_TIMEOUT_S + stage.between(0.0, 6.0) if is_late else way_s / 2, arrive)
        try:
            async with asyncio.timeout(ROOMS_TIMEOUT_S):
                value = await answer
        except TimeoutError:
            raise RoomServerUnavailableError("LiveKit did not answer in time") from None
        await self._crashes.passing()
        return value


class SimCaller:
    """Implements `WorkerCaller`: the way of one instance to push workers, by the name of their endpoint."""

    def __init__(
        self, stage: Stage, servers: dict[str, PushServer], weather: Weather, crashes: Crashes
    ) -> None:
        self._stage, self._servers, self._weather, self._crashes = stage, servers, weather, crashes

    async def join_room(self, endpoint: str, request: JoinRoom) -> CallOutcome:
        """POST /join-room."""
        return await self._call(endpoint, lambda server: server.asked_to_join(request))

    async def leave_room(self, endpoint: str, request: LeaveRoom) -> CallOutcome:
        """POST /leave-room."""
        return await self._call(endpoint, lambda server: server.asked_to_leave(request))

    async def is_healthy(self, endpoint: str) -> bool:
        """GET /health."""
        outcome = await self._call(endpoint, lambda server: CallOutcome(answer="yes"))
        return outcome.answer == "yes"

    async def _call(self, endpoint: str, act: Callable[[PushServer], CallOutcome]) -> CallOutcome:
        await self._crashes.passing()
        stage, server = self._stage, self._servers[endpoint]
        is_unknown = stage.chance(self._weather.call_unknown)
        answer: asyncio.Future[CallOutcome] = stage.loop.create_future()

        def arrive() -> None:
            if server.is_reachable is None or (is_unknown and stage.chance(0.5)):
                return
            no = CallOutcome(answer="no", detail="nobody listens")
            outcome = act(server) if server.is_reachable else no
            if not is_unknown and not answer.done():
                answer.set_result(outcome)

        stage.later(stage.between(0.001, 0.05), arrive)
        try:
            async with asyncio.timeout(NOTIFY_TIMEOUT_S):
                outcome = await answer
        except TimeoutError:
            return CallOutcome(answer="unknown", detail="the worker did not answer in time")
        await self._crashes.passing()
        return outcome
