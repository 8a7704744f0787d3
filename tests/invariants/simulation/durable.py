"""The disk of the simulation: what one instance committed is there for the next, and all is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.events import RegistryEvent
from orchestrator.core.ids import InstanceId, SessionId, WorkerId
from orchestrator.core.request_keys import RequestKey
from orchestrator.core.workers import Registration
from orchestrator.ports import Change, Clock, CommandRow, position_of
from tests.fakes.clock import START
from tests.invariants.history import (
    Appended,
    Claimed,
    Committed,
    History,
    Refused,
    Released,
    WorkerSaved,
)


class Durable(MemorySessionStore):
    """A memory store that outlives the instances that open it.

    Args:
        clock: the first instance's.
        history: where every operation is written down.
        time: gives the virtual seconds.
    """

    def __init__(self, clock: Clock, history: History, time: Callable[[], float]) -> None:
        super().__init__(clock=clock, instance_id=InstanceId(""))
        self._history = history
        self._time = time
        self._op = 0
        self._ahead = timedelta()  # of the clock
        self._began: timedelta | None = None  # the store's time less the machine's uptime

    def taken_by(self, instance: InstanceId, clock: Clock, on_commit: Callable[[int], None]) -> None:
        """Be opened by another process: from here on its clock is the store's."""
        self._instance_id, self._clock, self._on_commit = instance, clock, on_commit
        up = clock.uptime()
        assert up is not None, "the simulation's machine knows how long it runs"
        began = clock.now() - START - timedelta(seconds=up.seconds)
        self._began = began if self._began is None else max(self._began, began)
        self._ahead = self._began - began

    def now(self) -> datetime:
        """Give the store's time, which no start sets back."""
        return self._clock.now() + self._ahead

    async def commit(self, change: Change, *, is_patient: bool = False) -> tuple[CommandRow, ...]:
        """Write a change, and that it was written."""
        self._op += 1
        op, instance = self._op, self._instance_id
        place = len(self._history)
        try:
            rows = await super().commit(change, is_patient=is_patient)
        except OrchestratorError as error:
            self._history.add(Refused(at=self._time(), op=op, instance=instance, why=type(error).__name__))
            raise
        self._history.insert(
            place,
            Committed(
                at=self._time(),
                store_at=self.now(),
                op=op,
                instance=instance,
                session=change.session,
                events=change.events,
                commands=change.commands,
            ),
        )
        for done in change.finished:
            self._released(done)
        for row in rows:
            self._claimed(row)
        return rows

    async def claim_commands(self, limit: int, *, all_orphaned: bool = False) -> list[CommandRow]:
        """Claim, and write down what."""
        rows = await super().claim_commands(limit, all_orphaned=all_orphaned)
        for row in rows:
            self._claimed(row)
        return rows

    async def postpone_command(self, row: CommandRow, delay_s: float) -> None:
        """Give a claim back."""
        if self._is_current(row):
            self._released(row)
        await super().postpone_command(row, delay_s)

    async def finish_command(self, row: CommandRow) -> None:
        """Remove a row."""
        if self._is_current(row):
            self._released(row)
        await super().finish_command(row)

    async def save_worker(
        self, worker: Registration, events: Sequence[RegistryEvent] = (), *, key: RequestKey | None = None
    ) -> None:
        """Insert or replace a registration."""
        self._op += 1
        await super().save_worker(worker, events, key=key)
        drains = worker.drain_by is not None
        self._history.add(WorkerSaved(at=self._time(), op=self._op, worker=worker.worker_id, drains=drains))

    async def delete_worker(self, worker_id: WorkerId, events: Sequence[RegistryEvent] = ()) -> None:
        """Forget a registration."""
        self._op += 1
        await super().delete_worker(worker_id, events)
        self._history.add(WorkerSaved(at=self._time(), op=self._op, worker=worker_id, is_gone=True))

    def _append(self, events: Sequence[tuple[SessionId | None, int, str, bytes]]) -> None:
        head = self._head
        super()._append(events)
        for seq, (session_id, number, name, data) in enumerate(events, start=head + 1):
            self._history.add(
                Appended(
                    at=self._time(),
                    op=self._op,
                    position=position_of(self._generation, seq),
                    seq=seq,
                    session_id=session_id,
                    number=number,
                    name=name,
                    data=data,
                )
            )

    def _claimed(self, row: CommandRow) -> None:
        until: datetime = self._commands[row.id].available_at
        self._history.add(
            Claimed(
                at=self._time(),
                store_at=self.now(),
                instance=self._instance_id,
                row=row.id,
                fence=row.fence,
                until=until,
            )
        )

    def _released(self, row: CommandRow) -> None:
        self._history.add(Released(at=self._time(), store_at=self.now(), row=row.id, fence=row.fence))
