"""Naive systems run in the same simulation, and the checkers catch each: a check that cannot fail is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from orchestrator.core.errors import VersionConflictError
from orchestrator.core.ids import Identity, JobId, RoomName, SessionId, WorkerId
from orchestrator.core.request_keys import RequestKey
from orchestrator.core.session import Session
from orchestrator.core.webhook_targets import DeadLetter, Progress, SendOutcome, TargetId, WebhookTarget
from orchestrator.ports import Change, CommandRow, Room
from orchestrator.service.feed import Reader
from orchestrator.service.new_session import CreatedSession, NewSession
from tests.invariants.checkers import CHECKERS
from tests.invariants.history import History
from tests.invariants.simulation.durable import Durable
from tests.invariants.simulation.faults import FaultAt, Plan, plan_of
from tests.invariants.simulation.process import Process
from tests.invariants.simulation.receivers import SimWebhooks
from tests.invariants.simulation.world import Naive, run_seed

SEEDS = range(25)


class _EventsApart(Durable):
    """Writes the events after the change, in an operation of their own."""

    def _append(self, events: Sequence[tuple[SessionId | None, int, str, bytes]]) -> None:
        self._op += 1
        super()._append(events)


class _NoVersions(Durable):
    """Lets the last writer win."""

    async def commit(self, change: Change, *, is_patient: bool = False) -> tuple[CommandRow, ...]:
        try:
            return await super().commit(change, is_patient=is_patient)
        except VersionConflictError:
            stored = self._sessions[change.session.id]
            behind = Session(**{**stored[0].__dict__, "version": change.session.version - 1})
            self._sessions[change.session.id] = (behind, stored[1])
            return await super().commit(change, is_patient=is_patient)


class _NoLeases(Durable):
    """Gives every command to whoever asks."""

    async def claim_commands(self, limit: int, *, all_orphaned: bool = False) -> list[CommandRow]:
        for claimed in self._commands.values():
            claimed.available_at = self.now()
        return await super().claim_commands(limit, all_orphaned=all_orphaned)


class _Forgetful(Durable):
    """Says that a new session is stored before it is, and then a crash comes."""

    async def commit(self, change: Change, *, is_patient: bool = False) -> tuple[CommandRow, ...]:
        if change.session.version == 1:
            row = CommandRow(id=-1, session_id=change.session.id, command=change.commands[0], fence=1)
            return (row,)
        return await super().commit(change, is_patient=is_patient)


class _AtTheClocksWord(Durable):
    """Begins each life at what the machine's clock shows."""

    def now(self) -> datetime:
        return self._clock.now()


def _webhooks_are_the_truth(process: Process) -> None:
    async def nothing() -> None:
        return None

    process.orchestrator.reconciler.run_participants = nothing  # type: ignore[method-assign]
    process.orchestrator.reconciler.run_rooms = nothing  # type: ignore[method-assign]


def _deadlines_in_memory(process: Process) -> None:
    """Fire only what was armed since this start."""
    store, started = process.store, process.clock.now()
    real = store.due_sessions

    async def due(limit: int) -> list[SessionId]:
        loaded = [await process.disk.load(session_id) for session_id in await real(limit)]
        return [session.id for session in loaded if session.updated_at >= started]

    store.due_sessions = due  # type: ignore[method-assign]


def _keys_are_ignored(process: Process) -> None:
    real = process.orchestrator.repeats.create

    async def create(
        make: Callable[[], NewSession], key: RequestKey | None, *, wait_s: float | None
    ) -> CreatedSession:
        return await real(make, None, wait_s=wait_s)

    process.orchestrator.repeats.create = create  # type: ignore[method-assign]


def _memory_is_trusted(process: Process) -> None:
    """Go on from memory after a commit that failed, as if it had not been written."""
    process.orchestrator.sessions.doubts.commit = process.store.commit  # type: ignore[method-assign]


def _offers_dropped(process: Process) -> None:
    dispatch = process.orchestrator.dispatch
    dispatch.plan = lambda session: ()  # type: ignore[method-assign]
    dispatch.wake = lambda service_id: None  # type: ignore[method-assign]


def _nobody_removed(process: Process) -> None:
    async def nothing(name: RoomName, identity: str) -> None:
        return None

    process.orchestrator.parts.rooms.remove_participant = nothing  # type: ignore[method-assign]


def _other_rooms_too(process: Process) -> None:
    def is_ghost(room: Room) -> bool:
        return process.orchestrator.sessions.live.of_room(room.name) is None

    process.orchestrator.reconciler._is_ghost = is_ghost  # type: ignore[method-assign]


def _streams_skip(process: Process) -> None:
    """Begin live whatever the reader has."""
    feed = process.orchestrator.feed
    real = feed.attach

    def attach(outlet: object, *, session_id: SessionId | None, after: int) -> Reader | None:
        return real(outlet, session_id=session_id, after=max(after, feed.tail))  # type: ignore[arg-type]

    feed.attach = attach  # type: ignore[method-assign]


def _follows_the_clock(process: Process) -> None:
    """Take the machine's clock as it is, jumps and all."""
    process.clock.now = process._stage.wall  # type: ignore[method-assign]


def _jobs_kept_by_the_dead(process: Process) -> None:
    async def nothing(worker_id: WorkerId, reason: str, keep: frozenset[JobId] = frozenset()) -> None:
        return None

    process.orchestrator.dispatch.lose_jobs = nothing  # type: ignore[method-assign]


def _drains_said_only(process: Process) -> None:
    async def drain(worker_id: WorkerId, deadline_s: float) -> object:
        return process.orchestrator.registry.get(worker_id)

    process.orchestrator.drains.drain = drain  # type: ignore[assignment,method-assign]


def _removals_said_only(process: Process) -> None:
    sessions = process.orchestrator.sessions

    async def remove(session_id: SessionId, identity: Identity, *, is_barred: bool) -> Session:
        return await sessions.get(session_id)

    sessions.remove = remove  # type: ignore[method-assign]


def _progress_too_early(process: Process) -> None:
    """Note everything as delivered that is committed."""
    webhooks = process.orchestrator.parts.webhooks

    async def save(target_id: TargetId, progress: Progress, given_up: Sequence[DeadLetter] = ()) -> None:
        ahead = replace(progress, cursor=process.orchestrator.feed.tail, held={})
        await SimWebhooks.save_progress(webhooks, target_id, ahead, given_up)  # type: ignore[arg-type]

    webhooks.save_progress = save  # type: ignore[method-assign]


def _one_queue(process: Process) -> None:
    """Send one delivery after the other, whoever it is for."""
    sender, turn = process.orchestrator.parts.sender, asyncio.Lock()
    real = sender.send

    async def send(target: WebhookTarget, *, message_id: str, body: bytes) -> SendOutcome:
        async with turn:
            return await real(target, message_id=message_id, body=body)

    sender.send = send  # type: ignore[method-assign]


def _with(
    kind: str, *, has_webhooks: bool | None = None, luck: float = 0.3, after: str = ""
) -> Callable[[int], Plan]:
    """Draw a seed's plan with one more fault of a kind in the middle of it, perhaps after an operation."""

    def plan(seed: int) -> Plan:
        drawn = plan_of(seed)
        fault = FaultAt(kind=kind, at_s=drawn.faulty_s * 0.6, for_s=6.0, luck=luck)
        asked = FaultAt(kind=after, at_s=drawn.faulty_s * 0.4, for_s=0.5, luck=luck)
        return Plan(
            operations=(*drawn.operations, asked) if after else drawn.operations,
            clients=4,
            workers=drawn.workers,
            faults=tuple(sorted((*drawn.faults, fault), key=lambda one: one.at_s)),
            faulty_s=drawn.faulty_s,
            has_webhooks=drawn.has_webhooks if has_webhooks is None else has_webhooks,
            is_shuffled=drawn.is_shuffled,
        )

    return plan


LAST_WINS = Naive(change=_memory_is_trusted, disk=_NoVersions)
NAIVE: list[tuple[str, str, Naive, Callable[[int], Plan]]] = [
    ("deadlines in memory", "I1", Naive(change=_deadlines_in_memory), _with("crash")),
    ("no version check", "I2", LAST_WINS, _with("store forgets to answer")),
    ("no fence of attempts", "I3", LAST_WINS, _with("store forgets to answer")),
    ("no leases", "I4", Naive(disk=_NoLeases), _with("livekit is slow")),
    ("offers dropped", "I6", Naive(change=_offers_dropped), _with("crash")),
    ("jobs kept by the dead", "I6", Naive(change=_jobs_kept_by_the_dead), _with("worker killed")),
    ("streams that skip", "I7", Naive(change=_streams_skip), _with("readers cut")),
    ("events apart from their change", "I8", Naive(disk=_EventsApart), _with("crash")),
    (
        "webhooks as the truth",
        "I9",
        Naive(change=_webhooks_are_the_truth),
        _with("livekit restarts", has_webhooks=False),
    ),
    ("rooms of others deleted", "I10", Naive(change=_other_rooms_too), _with("crash")),
    ("acknowledged before stored", "I11", Naive(disk=_Forgetful), _with("crash")),
    ("keys that nobody looks at", "I12", Naive(change=_keys_are_ignored), _with("requests lost")),
    ("the machine's clock followed", "I13", Naive(change=_follows_the_clock), _with("clock jumps")),
    (
        "the clock believed at each start",
        "I1",
        Naive(disk=_AtTheClocksWord),
        _with("clock jumps, then crash", luck=0.8),
    ),
    (
        "a removal that is only said",
        "removals",
        Naive(change=_removals_said_only),
        _with("crash", after="client barred"),
    ),
    (
        "a drain that is only said",
        "drains",
        Naive(change=_drains_said_only),
        _with("worker killed", after="worker drained by its operator"),
    ),
    (
        "delivered before it was taken",
        "deliveries",
        Naive(change=_progress_too_early),
        _with("crash", after="moody receiver"),
    ),
    (
        "one queue for all receivers",
        "deliveries",
        Naive(change=_one_queue),
        _with("requests lost", after="hanging receiver"),
    ),
    ("nobody removed", "I5", Naive(change=_nobody_removed), _with("worker frozen")),
]


@pytest.mark.parametrize(
    ("what", "invariant", "naive", "plan"), NAIVE, ids=[f"{name}: {what}" for what, name, _, _ in NAIVE]
)
def test_a_naive_system_is_caught(
    what: str, invariant: str, naive: Naive, plan: Callable[[int], Plan]
) -> None:
    def is_caught(seed: int) -> bool:
        history: History = run_seed(seed, plan=plan(seed), naive=naive)
        return bool(CHECKERS[invariant](history))

    assert any(is_caught(seed) for seed in SEEDS), f"{what} broke {invariant} in none of {len(SEEDS)} seeds"
