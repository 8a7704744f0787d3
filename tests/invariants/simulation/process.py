"""One start of one orchestrator: the real one with its real loops, over the simulation's ports.

It dies by dropping every task, timer and wake-up of its owner; who spoke to it sees the connection end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.grants import Grant
from orchestrator.core.ids import InstanceId
from orchestrator.recording_settings import EncryptionSettings, RecordingSettings
from orchestrator.settings import (
    EventsSettings,
    MicroservicesSettings,
    SessionsSettings,
    Settings,
    WebhooksSettings,
)
from orchestrator.web.sse import EventStreams
from orchestrator.wiring import Orchestrator, Parts
from tests.fakes.clock import START
from tests.invariants.history import Started, Stopped
from tests.invariants.simulation.durable import Durable
from tests.invariants.simulation.livekit import LiveKit
from tests.invariants.simulation.outside import (
    Crashes,
    PushServer,
    SimCaller,
    SimClock,
    SimRooms,
    SimStore,
    SimTokens,
)
from tests.invariants.simulation.receivers import Receivers, SimSender, SimWebhooks
from tests.invariants.simulation.stage import Stage
from tests.invariants.simulation.virtual_loop import OWNER
from tests.invariants.simulation.weather import Weather

_T = TypeVar("_T")
CONNECT_URL: Final = "ws://127.0.0.1:7880"


class UnreachableError(Exception):
    """Nobody answered; what was asked may have been done."""


@lru_cache(maxsize=1)
def short_settings() -> Settings:
    """Give settings with short limits, so that a minute shows what else takes an hour."""
    return Settings(
        microservices=MicroservicesSettings(
            registration_timeout=10,
            join_timeout=8,
            service_timeout=8,
            retry_interval=4,
            client_timeout=6,
            notify_timeout=2,
        ),
        sessions=SessionsSettings(create_timeout=5, termination_timeout=8, default_ttl=600),
        events=EventsSettings(keep_alive=15, lease=5),
        webhooks=WebhooksSettings(timeout=2, first_retry=1),
        # Not what lies on this machine's disk: a seed is the same run wherever it is.
        recording=RecordingSettings(chunk_store="/dev/null/recordings"),
        encryption=EncryptionSettings(key_dir=Path("/dev/null/keys")),
    )


class Process:
    """An orchestrator and its ports.

    Args:
        stage: time, chance, records.
        disk: what the instance before left.
        livekit: the media server.
        servers: push workers by endpoint.
        granted: what was minted, by token.
        weather: how bad the ports are.
        receivers: who gets outgoing webhooks.
        webhooks: their registrations, as the instance before left them.
        number: which start this is.
        change: what makes a naive system of it, for the controls.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        disk: Durable,
        livekit: LiveKit,
        servers: dict[str, PushServer],
        granted: dict[str, tuple[Grant, float]],
        weather: Weather,
        receivers: Receivers,
        webhooks: SimWebhooks,
        number: int,
        change: Callable[[Process], None] | None = None,
    ) -> None:
        self._stage = stage
        self.instance = InstanceId(f"instance-{number}")
        self.weather = weather
        self.is_up = False
        self.is_dead = False
        self.is_stopping = False
        self.crashes = Crashes(lambda: self.die("crashed between two awaits"))
        self.clock = SimClock(stage)
        self.disk = disk
        self._context = copy_context()
        self._context.run(OWNER.set, self.instance)
        self._open_calls: dict[asyncio.Future[Any], None] = {}  # in order
        self.on_death: list[Callable[[], None]] = []
        self._livekit = livekit
        self._servers = servers
        self._granted = granted
        self._receivers, self._webhooks = receivers, webhooks
        self._change = change
        self._over: asyncio.Future[None] = stage.loop.create_future()
        self._work: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Start, and run until it ends or is killed."""
        self.disk.taken_by(self.instance, self.clock, self._notify)
        self._work = self.spawn(self._live())
        await self._over

    async def _live(self) -> None:
        stage, weather, crashes = self._stage, self.weather, self.crashes
        self.store = SimStore(stage, self.disk, weather, crashes)
        self.orchestrator = Orchestrator(
            Parts(
                store=self.store,
                catalog=self.disk.catalog,
                rooms=SimRooms(stage, self._livekit, weather, crashes, await self.disk.deployment_id()),
                tokens=SimTokens(stage, self._granted),
                caller=SimCaller(stage, self._servers, weather, crashes),
                webhooks=self._webhooks,
                sender=SimSender(stage, self._receivers, crashes),
                clock=self.clock,
                instance=self.instance,
                connect_url=CONNECT_URL,
            ),
            short_settings(),
        )
        self.streams = EventStreams(
            feed=self.orchestrator.feed, store=self.store, metrics=self.orchestrator.metrics
        )
        if self._change is not None:
            self._change(self)
        try:
            await self.orchestrator.open()
        except OrchestratorError:
            self.die("could not start")
            return
        self.is_up = True
        skew_s = (self.disk.now() - START).total_seconds() - stage.time()
        stage.history.add(Started(at=stage.time(), instance=self.instance, skew_s=skew_s))
        try:
            await self.orchestrator.run()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever ends the loops ends the process
            stage.unhandled(self.instance, error)
            self.die("a loop failed")

    def spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run something as this process."""
        return self._stage.loop.create_task(work, context=self._context)

    async def call(self, work: Callable[[Orchestrator], Coroutine[Any, Any, _T]]) -> _T:
        """Ask as over HTTP.

        Raises:
            UnreachableError: no answer.
            OrchestratorError: what the product answered.
        """
        stage = self._stage
        if not self.is_up or self.is_dead or self.is_stopping:
            await asyncio.sleep(0.01)
            raise UnreachableError
        answer: asyncio.Future[_T] = stage.loop.create_future()
        self._open_calls[answer] = None
        is_request_lost = stage.chance(self.weather.http_lost)
        is_answer_lost = stage.chance(self.weather.http_lost)
        if not is_request_lost:
            stage.later(
                stage.between(0.0005, 0.02), lambda: self._serve(work, answer, is_answer_lost=is_answer_lost)
            )
        try:
            async with asyncio.timeout(20.0):
                return await answer
        except TimeoutError:
            raise UnreachableError from None
        finally:
            self._open_calls.pop(answer, None)

    def _serve(
        self,
        work: Callable[[Orchestrator], Coroutine[Any, Any, _T]],
        answer: asyncio.Future[_T],
        *,
        is_answer_lost: bool,
    ) -> None:
        if self.is_dead:
            return

        async def handler() -> None:
            try:
                value = await work(self.orchestrator)
            except OrchestratorError as error:
                if not is_answer_lost and not answer.done():
                    answer.set_exception(error)
            except Exception as error:  # noqa: BLE001 - the edge answers 500 for what nobody expected
                self._stage.unhandled(self.instance, error)
                if not answer.done():
                    answer.set_exception(UnreachableError())
            else:
                if not is_answer_lost and not answer.done():
                    answer.set_result(value)

        self.spawn(handler())

    async def stop(self) -> None:
        """End in order, as on SIGTERM."""
        if self.is_dead or not self.is_up:
            return
        self.is_stopping = True
        self.orchestrator.feed.end_readers()
        await asyncio.sleep(0.05)
        if self._work is not None:
            self._work.cancel()
        closing = self.spawn(self.orchestrator.close())
        await asyncio.wait({closing}, timeout=10.0)
        self.die("stopped")

    def die(self, how: str) -> None:
        """Be gone: nothing of it runs any more."""
        if self.is_dead:
            return
        self.is_dead = True
        self.is_up = False
        stage = self._stage
        stage.loop.kill(self.instance)
        stage.history.add(Stopped(at=stage.time(), instance=self.instance, how=how))
        self._notify_nobody()
        for answer in list(self._open_calls):
            if not answer.done():
                answer.set_exception(UnreachableError())
        for act in self.on_death:
            stage.later(stage.between(0.0, 0.02), act)
        if not self._over.done():
            self._over.set_result(None)

    def _notify(self, head: int) -> None:
        if self.is_up:
            self.orchestrator.notify(head)

    def _notify_nobody(self) -> None:
        self.disk.taken_by(self.instance, self.clock, lambda head: None)
