"""A pull worker of the simulation: what the SDK's does, with accidents.

It can refuse, be slow, die, freeze and wake, be cut off, and drain. Its jobs join LiveKit by the token that
they were assigned, rejoin with a fresh one when the room was lost, and never after they were put out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from orchestrator.core.grants import Grant
from sdk.wire import (
    Accept,
    Assign,
    HeldJob,
    Hello,
    Leave,
    Offer,
    Ping,
    Refuse,
    Report,
    Stale,
    TokenRenewed,
    TokenWanted,
    Welcome,
)
from tests.invariants.history import Drops, Holds, Told, WorkerDown, WorkerUp
from tests.invariants.simulation.livekit import JoinRefusedError, LiveKit
from tests.invariants.simulation.process import Process
from tests.invariants.simulation.runs import REJOIN_FOR_S, Run, Temper
from tests.invariants.simulation.stage import Stage
from tests.invariants.simulation.wire_line import WireLine

PING_S: Final = 2.0


class PullWorker:
    """One worker, which may be several processes in a row."""

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
        self._runs: dict[tuple[str, int], Run] = {}
        self._line: WireLine | None = None
        self._life = 0  # grows with every process of this worker; what an older one had planned is void
        self._is_alive = False
        self._is_frozen = False
        self._is_drained = False  # by its operator: until a new process of it registers
        self._is_draining = False
        self._welcomed = 0  # the last life that was
        self._later: list[Callable[[], None]] = []  # what comes in while it is frozen

    # --- what is done to it ---

    def start(self) -> None:
        """Start a process of this worker, without any job."""
        if self._is_alive:
            return
        self._life += 1
        self._is_drained = False
        self._is_alive, self._is_draining, self._is_frozen = True, False, False
        self._say_up()
        self._stage.spawn(self._connecting(self._life))
        self._ping(self._life)

    def kill(self, *, is_seen: bool) -> None:
        """Die. ``is_seen``: the kernel lives and closes the socket; else nobody hears anything."""
        if not self._is_alive:
            return
        self._is_alive = False
        self._say_down("killed")
        for run in list(self._runs.values()):
            if run.connection is not None:
                self._livekit.silence(run.connection)
            self._drop(run, "killed")
        line, self._line = self._line, None
        self._later.clear()
        if line is not None and is_seen:
            line.cut()

    def freeze(self) -> None:
        """Stand still: sockets stay open, LiveKit hears nothing."""
        if self._is_alive and not self._is_frozen:
            self._is_frozen = True
            self._say_down("frozen")
            for run in self._runs.values():
                if run.connection is not None:
                    self._livekit.silence(run.connection)

    def thaw(self) -> None:
        """Go on as if nothing had happened: a zombie, when it took long."""
        if not self._is_frozen:
            return
        self._is_frozen = False
        self._say_up()
        for run in list(self._runs.values()):
            if run.connection is not None and not self._livekit.speak_again(run.connection):
                run.connection = None
                self._put_out(self._life, run, "not heard")
        waiting, self._later = self._later, []
        for act in waiting:
            act()

    def partition(self) -> None:
        """Be cut off from the orchestrator, not from LiveKit."""
        if self._line is not None:
            self._say_down("partition")
            self._line.hold()

    def rejoin_network(self) -> None:
        """Be reachable again; whether the old connection still lives is the other side's affair."""
        if self._line is not None:
            self._line.release()
        if self._is_alive and not self._is_frozen:
            self._say_up()

    def drain(self) -> None:
        """Take nothing new."""
        if self._is_alive and not self._is_frozen:
            self._is_draining = True
            self._say_down("draining")

    def stop_draining(self) -> None:
        """Take jobs again."""
        if self._is_draining:
            self._is_draining = False
            if self._is_alive and not self._is_frozen:
                self._say_up()

    def drain_by_operator(self) -> None:
        """Get nothing new, whatever it says itself."""
        self._is_drained = True
        self._say_down("drained")

    # --- its life ---

    async def _connecting(self, life: int) -> None:
        while self._is_alive and self._life == life and self._line is None:
            process = self._process()
            if process is None or not process.is_up or self._is_frozen:
                await asyncio.sleep(self._stage.between(0.2, 0.6))
                continue
            line = WireLine(self._stage, process, partial(self._heard, life))
            self._line = line
            line.say(
                Hello(
                    service_id=self.service_id,
                    worker_id=self.name,
                    capacity=self.temper.capacity,
                    again=self._welcomed == life,
                    draining=self._is_draining,
                    resuming=[HeldJob(job_id=r.job_id, attempt=r.attempt) for r in self._runs.values()],
                )
            )

    def _ping(self, life: int) -> None:
        if not self._is_alive or self._life != life:
            return
        if self._line is not None and not self._is_frozen:
            self._line.say(Ping(jobs=len(self._runs), draining=self._is_draining))
        self._stage.later(PING_S, lambda: self._ping(life))

    def _heard(self, life: int, item: object) -> None:
        if not self._is_alive or self._life != life:
            return
        if self._is_frozen:
            self._later.append(lambda: self._heard(life, item))
            return
        match item:
            case None:
                self._line = None
                self._stage.spawn(self._reconnecting(life))
            case Welcome():
                self._welcomed = life
                resumed = {(held.job_id, held.attempt) for held in item.resumed}
                for key, run in list(self._runs.items()):
                    if key not in resumed:
                        self._withdraw(run, "not resumed")
                    elif run.report is not None:
                        self._say(run.report)
                        self._drop(run, "reported")
                    elif run.connection is not None:
                        self._say(Report(job_id=run.job_id, attempt=run.attempt, state="joined"))
                        if run.is_ready:
                            self._say(Report(job_id=run.job_id, attempt=run.attempt, state="ready"))
            case Offer():
                self._tell("offer", item.job_id, item.attempt)
                self._offered(life, item)
            case Assign():
                self._tell("assign", item.job_id, item.attempt)
                self._with(item, lambda run: self._assigned(life, run, item.access_token))
            case TokenRenewed():
                self._with(item, lambda run: self._join(life, run, item.access_token))
            case Leave():
                self._tell("leave", item.job_id, item.attempt)
                self._with(item, lambda run: self._soon(life, 0.3, lambda: self._done(run)))
            case Stale():
                self._tell("stale", item.job_id, item.attempt)
                self._with(item, lambda run: self._withdraw(run, "stale"))
            case _:
                pass

    async def _reconnecting(self, life: int) -> None:
        await asyncio.sleep(self._stage.between(0.05, 0.7))
        await self._connecting(life)

    def _offered(self, life: int, offer: Offer) -> None:
        stage, temper = self._stage, self.temper
        if stage.chance(temper.silent):
            return
        is_full = temper.capacity is not None and len(self._runs) >= temper.capacity
        if self._is_draining or is_full or stage.chance(temper.refuses):
            refuse = Refuse(job_id=offer.job_id, attempt=offer.attempt, reason="not now")
            self._soon(life, temper.slow_s, lambda: self._say(refuse))
            return
        run = Run(job_id=offer.job_id, attempt=offer.attempt)
        accept = Accept(job_id=offer.job_id, attempt=offer.attempt, manual_ready=temper.manual_ready)

        def take() -> None:
            if (run.job_id, run.attempt) not in self._runs and self._line is not None:
                self._runs[run.job_id, run.attempt] = run
                stage.history.add(
                    Holds(at=stage.time(), worker=self.name, job_id=run.job_id, attempt=run.attempt)
                )
                self._say(accept)

        self._soon(life, temper.slow_s, take)

    def _assigned(self, life: int, run: Run, token: str) -> None:
        if not run.token:
            run.token = token
            self._soon(life, self.temper.slow_s, lambda: self._join(life, run, token))

    def _join(self, life: int, run: Run, token: str) -> None:
        if run.is_over or run.connection is not None or run.report is not None:
            return
        grant, expires_at_s = self._granted[token]
        try:
            run.connection = self._livekit.join(
                grant, expires_at_s, lambda why: self._lost_room(life, run, why)
            )
        except JoinRefusedError:
            self._try_later(life, run)
            return
        run.lost_at = None
        self._say(Report(job_id=run.job_id, attempt=run.attempt, state="joined"))
        if self.temper.manual_ready:
            self._soon(life, 0.5, lambda: self._ready(run))

    def _ready(self, run: Run) -> None:
        run.is_ready = True
        self._say(Report(job_id=run.job_id, attempt=run.attempt, state="ready"))

    def _try_later(self, life: int, run: Run) -> None:
        if run.is_trying:
            return
        now = self._stage.time()
        run.lost_at = run.lost_at if run.lost_at is not None else now
        if now - run.lost_at > REJOIN_FOR_S:
            failed = Report(job_id=run.job_id, attempt=run.attempt, state="failed", detail="no room")
            self._finish(run, failed)
            return
        wanted = TokenWanted(job_id=run.job_id, attempt=run.attempt)
        run.is_trying = True

        def again() -> None:
            run.is_trying = False
            if not run.is_over and run.connection is None and run.report is None:
                if self._line is not None:
                    self._say(wanted)
                self._try_later(life, run)

        self._soon(life, 1.0, again, least_s=0.5)

    def _lost_room(self, life: int, run: Run, why: str) -> None:
        if self._life != life or not self._is_alive or run.is_over:
            return
        if self._is_frozen:
            self._later.append(lambda: self._lost_room(life, run, why))
            return
        run.connection = None
        self._put_out(life, run, why)

    def _put_out(self, life: int, run: Run, why: str) -> None:
        match why:
            case "removed" | "duplicate identity":
                failed = Report(job_id=run.job_id, attempt=run.attempt, state="failed", detail="put out")
                self._finish(run, failed)
            case "room deleted":
                self._done(run)
            case "not heard":  # the client library comes back by itself, with the token that it has
                self._soon(life, 0.3, lambda: self._join(life, run, run.token))
            case _:
                self._try_later(life, run)

    def _done(self, run: Run) -> None:
        self._finish(run, Report(job_id=run.job_id, attempt=run.attempt, state="done"))

    def _finish(self, run: Run, report: Report) -> None:
        """Leave the room, then report; without a line the report waits for the next one."""
        if run.is_over or run.report is not None:
            return
        self._leave_room(run)
        if self._line is not None:
            self._say(report)
            self._drop(run, "reported")
        else:
            run.report = report

    def _withdraw(self, run: Run, why: str) -> None:
        self._leave_room(run)
        self._drop(run, why)

    def _leave_room(self, run: Run) -> None:
        if run.connection is not None:
            self._livekit.leave(run.connection)
            run.connection = None

    def _drop(self, run: Run, why: str) -> None:
        run.is_over = True
        if self._runs.pop((run.job_id, run.attempt), None) is not None:
            stage = self._stage
            stage.history.add(
                Drops(at=stage.time(), worker=self.name, job_id=run.job_id, attempt=run.attempt, why=why)
            )

    # --- small things ---

    def _with(self, frame: Assign | TokenRenewed | Leave | Stale, act: Callable[[Run], None]) -> None:
        run = self._runs.get((frame.job_id, frame.attempt))
        if run is not None:
            act(run)

    def _soon(self, life: int, most_s: float, act: Callable[[], None], *, least_s: float = 0.001) -> None:
        def wake() -> None:
            if not self._is_alive or self._life != life:
                return
            if self._is_frozen:
                self._later.append(act)
            else:
                act()

        self._stage.later(self._stage.between(least_s, max(most_s, least_s)), wake)

    def _say(self, frame: Accept | Refuse | Report | TokenWanted) -> None:
        if self._line is not None:
            self._line.say(frame)

    def _tell(self, what: str, job_id: str, attempt: int) -> None:
        at = self._stage.time()
        self._stage.history.add(Told(at=at, worker=self.name, what=what, job_id=job_id, attempt=attempt))

    def _say_up(self) -> None:
        if self._is_drained:
            return
        self._stage.history.add(
            WorkerUp(
                at=self._stage.time(),
                worker=self.name,
                service_id=self.service_id,
                is_push=False,
                capacity=self.temper.capacity,
            )
        )

    def _say_down(self, how: str) -> None:
        self._stage.history.add(WorkerDown(at=self._stage.time(), worker=self.name, how=how))
