"""One run: a seed makes a world, breaks it for a while, heals it, and gives the history of it all."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from unittest.mock import patch

import structlog

from orchestrator.core.errors import StoreError
from orchestrator.core.grants import Grant
from orchestrator.core.ids import RoomName, SessionId
from orchestrator.ports import Notice
from orchestrator.service.exports import Exports
from orchestrator.service.new_session import NewSession, ServiceOptions
from orchestrator.service.threads import Threads
from tests.invariants.history import Bounds, Ended, Healed, History, Unhandled
from tests.invariants.simulation.clients import Caller, Client
from tests.invariants.simulation.durable import Durable
from tests.invariants.simulation.faults import Plan, plan_of
from tests.invariants.simulation.livekit import LiveKit
from tests.invariants.simulation.outside import NOTIFY_TIMEOUT_S, ROOMS_TIMEOUT_S, PushServer, SimClock
from tests.invariants.simulation.process import Process, short_settings
from tests.invariants.simulation.pull_worker import PullWorker
from tests.invariants.simulation.push_worker import PushWorker
from tests.invariants.simulation.readers import EventReader
from tests.invariants.simulation.receivers import Receivers, SimWebhooks
from tests.invariants.simulation.stage import Stage
from tests.invariants.simulation.virtual_loop import NothingLeftError, StandsStillError, VirtualLoop
from tests.invariants.simulation.weather import Weather
from tests.invariants.simulation.webhooks import WebhookSender

STAY_S: Final = 26.0  # clients stay so long after the healing: longer than LiveKit needs for the dead
IN_FLIGHT_S: Final = max(ROOMS_TIMEOUT_S, NOTIFY_TIMEOUT_S) + 0.1  # a call lost just before ends then
MOST_CPU_S: Final = 60.0  # a run takes 0.06
END_S: Final = 24.0  # and then everything has so long to come to its end

Change = Callable[[Process], None]
DiskMaker = Callable[[SimClock, History, Callable[[], float]], Durable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Naive:
    """What makes a naive system for a control: another disk, another orchestrator."""

    change: Change | None = None
    disk: DiskMaker = Durable


class World:
    """Everything of one run."""

    def __init__(self, seed: int, plan: Plan, naive: Naive) -> None:
        order = random.Random(f"order {seed}") if plan.is_shuffled else None
        self.loop = VirtualLoop(order)
        self.plan = plan
        self._naive = naive
        waits = short_settings()
        self.history = History(
            bounds=Bounds(
                rooms_interval_s=waits.reconcile.rooms_interval,
                participants_interval_s=waits.reconcile.participants_interval,
                retry_s=waits.microservices.retry_interval,
                webhooks=plan.has_webhooks,
            )
        )
        self.stage = Stage(self.loop, seed, self.history)
        self.weather = Weather()
        self.livekit = LiveKit(self.stage)
        self.disk = naive.disk(SimClock(self.stage), self.history, self.stage.time)
        self.process: Process | None = None
        self.granted: dict[str, tuple[Grant, float]] = {}
        self.servers: dict[str, PushServer] = {}
        self.pull_workers: list[PullWorker] = []
        self.push_workers: list[PushWorker] = []
        self.readers: list[EventReader] = []
        self.sessions: list[tuple[SessionId, str]] = []  # with whose they are
        self.receivers = Receivers(self.stage)
        self.webhooks = SimWebhooks(self.stage, self.weather)
        self.errors: list[str] = []
        self._starts = 0
        self._is_over = False
        self.is_healed = False
        self.restart_s = 0.5
        self.hooks = WebhookSender(self.stage, self.weather, self._post_webhook, is_on=plan.has_webhooks)
        self.livekit.on_notice = self.hooks.send
        self.caller = Caller(self.stage, self.current)
        self.loop.set_exception_handler(self._failed)

    def current(self) -> Process | None:
        """Give the instance that runs now."""
        return self.process

    # --- the run ---

    async def run(self) -> None:
        """Live through the plan."""
        stage, plan = self.stage, self.plan
        self._people()
        stage.spawn(self._supervise(), "supervisor")
        for fault in (*plan.faults, *plan.operations):
            stage.later(fault.at_s, partial(fault.act, self))
        await asyncio.sleep(plan.faulty_s)
        self._heal()
        await asyncio.sleep(IN_FLIGHT_S)
        while self.process is None or not self.process.is_up:
            await asyncio.sleep(0.1)
        self.history.add(Healed(at=stage.time()))
        await asyncio.sleep(STAY_S + END_S)
        self.history.add(Ended(at=stage.time()))
        self._is_over = True

    def _people(self) -> None:
        stage, plan = self.stage, self.plan
        rng = stage.rng
        for place, hired in enumerate(plan.workers):
            make: Any = PushWorker if hired.is_push else PullWorker
            worker = make(
                stage,
                f"{hired.service_id}-{place}",
                hired.service_id,
                temper=hired.temper,
                livekit=self.livekit,
                granted=self.granted,
                process=self.current,
            )
            if isinstance(worker, PushWorker):
                self.servers[worker.endpoint] = worker
                self.push_workers.append(worker)
            else:
                self.pull_workers.append(worker)
            stage.later(rng.uniform(0.0, 2.0), worker.start)
        self._reader("reader-all", None)
        end_s = plan.faulty_s + STAY_S
        for number in range(plan.clients):
            client = Client(
                stage,
                f"client-{number}",
                caller=self.caller,
                livekit=self.livekit,
                granted=self.granted,
                on_session=self._session_made,
            )
            is_long = rng.random() < 0.6
            begins_s = rng.uniform(0.5, plan.faulty_s * 0.7) if number else rng.uniform(0.3, 2.0)
            stays_s = end_s - begins_s if is_long else rng.uniform(2.0, 15.0)
            request = self._request(client.name, number)
            live = client.live(request, begins_s=begins_s, stays_s=stays_s, ends=rng.random() < 0.4)
            stage.spawn(live, client.name)
        if rng.random() < 0.5:
            self.livekit.create_room(RoomName("somebody-else"), "another-deployment", "")

    def _request(self, name: str, number: int) -> NewSession:
        rng = self.stage.rng
        services = sorted({hired.service_id for hired in self.plan.workers})
        wanted = tuple(service for service in services if rng.random() < 0.8)
        return NewSession(
            user_identity=name,
            required_services=wanted,
            services={wanted[0]: ServiceOptions(required=False)} if wanted and rng.random() < 0.1 else {},
            room_name=f"chosen-{number}" if rng.random() < 0.3 else None,
            policy="strict" if rng.random() < 0.3 else "degrade",
            wait_s=rng.uniform(0.5, 6.0) if rng.random() < 0.3 else None,
            expires_in_s=rng.uniform(8.0, 30.0) if rng.random() < 0.15 else None,
            max_duration_s=rng.uniform(6.0, 40.0) if rng.random() < 0.15 else None,
        )

    def _session_made(self, session_id: SessionId, client: str) -> None:
        self.sessions.append((session_id, client))
        if len(self.readers) < 3:
            self._reader(f"reader-{len(self.readers)}", session_id)

    def _reader(self, name: str, session_id: SessionId | None) -> None:
        reader = EventReader(self.stage, name, session_id, self.current)
        self.readers.append(reader)
        self.stage.spawn(reader.read(), name)

    async def _supervise(self) -> None:
        while not self._is_over:
            self._starts += 1
            process = self.process = Process(
                self.stage,
                disk=self.disk,
                livekit=self.livekit,
                servers=self.servers,
                granted=self.granted,
                weather=self.weather,
                receivers=self.receivers,
                webhooks=self.webhooks,
                number=self._starts,
                change=self._naive.change,
            )
            await process.run()
            await asyncio.sleep(self.stage.between(0.1, self.restart_s))

    async def _post_webhook(self, notice: Notice) -> bool:
        """Post one webhook; False asks for another try."""
        process = self.process
        if process is None:
            return False
        try:
            await process.call(lambda orchestrator: orchestrator.webhooks.accept(notice))
        except StoreError:
            return False
        except Exception:  # noqa: BLE001 - unreachable, or a status that LiveKit tries again
            return False
        return True

    def _heal(self) -> None:
        """Put everything right, for good; whoever is dead starts anew."""
        self.is_healed = self.receivers.is_healed = True
        for name, value in vars_of(Weather()).items():
            setattr(self.weather, name, value)
        self.livekit.lag_p = 0.0
        self.restart_s = 0.5
        for worker in self.workers():
            worker.temper = replace(worker.temper, refuses=0.0, silent=0.0, slow_s=0.3)
            worker.thaw()
            if isinstance(worker, PullWorker):
                worker.rejoin_network()
                worker.stop_draining()
            worker.start()
        if self.process is not None:
            self.process.crashes.calls_left = None

    def workers(self) -> list[PullWorker | PushWorker]:
        """Give all workers."""
        return [*self.pull_workers, *self.push_workers]

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        cause = getattr(error, "__cause__", None)
        self.errors.append(f"{context.get('message')}: {error!r} {cause!r}")

    def close(self) -> None:
        """Look for failures that nobody took, then throw everything away."""
        for owner, tasks in self.loop.tasks.items():
            for task in tasks:
                if not task.done() or task.cancelled():
                    continue
                # Of a killed process nobody could ask any more.
                if task._log_traceback and owner not in self.loop.dead:
                    self.history.add(
                        Unhandled(at=self.stage.time(), instance=owner, what=repr(task.exception()))
                    )
                task._log_traceback = False
        self.history.is_closed = True
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            for task in [task for tasks in self.loop.tasks.values() for task in tasks]:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    try:
                        task.get_coro().close()
                    except BaseException:  # noqa: BLE001 - whatever a thrown away task still wants
                        continue
        finally:
            self.loop.tasks.clear()
            sys.unraisablehook = hook


def vars_of(weather: Weather) -> dict[str, Any]:
    """Give the fields of a weather."""
    return {name: getattr(weather, name) for name in Weather.__slots__}


def run_seed(seed: int, *, plan: Plan | None = None, naive: Naive | None = None) -> History:
    """Live through one seed.

    Raises:
        AssertionError: the simulation itself failed, or the run did not end; with the seed.
    """
    world = World(seed, plan or plan_of(seed), naive or Naive())
    try:
        with silent_log(), must_end(f"seed {seed}", MOST_CPU_S), no_threads():
            world.loop.run_until_complete(world.loop.create_task(world.run()))
    finally:
        world.close()
        world.loop.close()
    if world.errors:
        raise AssertionError(f"seed {seed}: " + "; ".join(world.errors[:3]))
    return world.history


@contextmanager
def no_threads() -> Iterator[None]:
    """Do at once what the orchestrator would have a thread do: a thread knows nothing of virtual time."""

    async def at_once(
        threads: Threads, call: Callable[[Callable[[], None]], object], *, deadline_s: float
    ) -> object:
        return call(lambda: None)

    async def without_end(exports: Exports) -> None:
        await asyncio.Event().wait()

    with patch.object(Threads, "run", at_once), patch.object(Exports, "run", without_end):
        yield


@contextmanager
def must_end(what: str, most_cpu_s: float) -> Iterator[None]:
    """Turn a run that never ends into a failure with its name.

    The loop counts its turns; a callback that never returns is only seen by the CPU time that it takes.

    Raises:
        AssertionError: it did not end.
    """

    def give_up(*_: object) -> None:
        raise _OutOfTimeError(f"{most_cpu_s:g} s of CPU and no end")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, most_cpu_s, 1.0)  # once more if somebody caught it
    try:
        yield
    except (StandsStillError, NothingLeftError, _OutOfTimeError) as error:
        raise AssertionError(f"{what} does not end: {error!r}") from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


class _OutOfTimeError(KeyboardInterrupt):
    """Tasks and the loop let this one through."""


@contextmanager
def silent_log() -> Iterator[None]:
    """Have the product log nothing: rendering would be most of the time."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=_SILENT)
    try:
        yield
    finally:
        structlog.configure(**before)


_SILENT = structlog.make_filtering_bound_logger(50)
