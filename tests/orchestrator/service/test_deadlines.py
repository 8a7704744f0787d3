"""Deadlines fire from the store: in time, once, after a crash, and whatever LiveKit does meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from orchestrator.core.errors import StoreError
from orchestrator.core.session import Deadline, Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import DeadlineReached
from orchestrator.ports import Change
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import Assembly, assembly

ALONE = NewSession(user_identity="anna", required_services=())
ASR = NewSession(user_identity="anna", required_services=("asr",))


async def ready(running: Assembly, request: NewSession = ALONE) -> Session:
    return await running.now((await running.sessions.create(request)).session.id)


async def test_nothing_fires_before_its_time() -> None:
    async with assembly() as running:
        session = await ready(running)
        assert (await running.after(299.9, session.id)) == session
        assert (await running.after(0.2, session.id)).end_reason == "client_timeout"


async def test_an_arming_that_is_over_does_nothing() -> None:
    async with assembly() as running:
        session = await ready(running)
        old = session.deadlines["client"]
        running.fake_rooms.add_participant(session.room_name, "anna")
        await running.reconciler.look(session.id)
        running.fake_rooms.remove_participants(session.room_name)
        await running.reconciler.look(session.id)
        again = await running.now(session.id)
        assert again.deadlines["client"].arming > old.arming
        await running.sessions.apply(session.id, DeadlineReached(name="client", arming=old.arming))
        assert await running.now(session.id) == again


@pytest.mark.parametrize(
    ("request_", "passed_s", "status", "reason"),
    [
        (ALONE, 301.0, RoomStatus.TERMINATED, "client_timeout"),
        (ASR, 61.0, RoomStatus.READY, ""),
        (
            NewSession(user_identity="a", required_services=("asr",), policy="strict"),
            61.0,
            RoomStatus.TERMINATED,
            "services_timeout",
        ),
        (
            NewSession(user_identity="a", required_services=(), max_duration_s=100.0),
            101.0,
            RoomStatus.TERMINATED,
            "max_duration",
        ),
        (
            NewSession(user_identity="a", required_services=(), expires_in_s=50.0),
            51.0,
            RoomStatus.TERMINATED,
            "expired",
        ),
    ],
)
async def test_a_deadline_fires_after_a_crash(
    request_: NewSession, passed_s: float, status: RoomStatus, reason: str
) -> None:
    async with assembly() as running:
        session = await ready(running, request_)
        again = await running.restarted()
        after = await again.after(passed_s, session.id)
        assert (after.room_status, after.end_reason) == (status, reason)


async def test_a_room_that_livekit_never_makes_is_given_up_after_a_crash() -> None:
    async with assembly() as running:
        running.fake_rooms.slow = asyncio.Event()
        creating = asyncio.create_task(running.sessions.create(ALONE))
        while not running.sessions.live.all():
            await asyncio.sleep(0)
        (session,) = running.sessions.live.all()
        again = await running.restarted()
        assert creating.cancelled()
        again.fake_rooms.slow = None
        again.fake_rooms.down = True
        after = await again.after(16.0, session.id)
        assert (after.room_status, after.end_reason) == (RoomStatus.TERMINATING, "create_failed")
        after = await again.after(31.0, session.id)
        assert after.room_status is RoomStatus.TERMINATED


async def test_a_room_whose_creation_was_answered_but_not_committed_in_time_is_kept() -> None:
    async with assembly() as running:
        running.store.fail_commits = frozenset({running.store.commits + 2})  # the result, after the answer
        session = (await running.sessions.create(ALONE)).session
        running.store.down = True  # and every other try for as long as the creation may take
        while running.sessions.creating:
            await asyncio.sleep(0)
        running.clock.advance(16.0)
        assert (await running.now(session.id)).room_status is RoomStatus.CREATING
        running.store.down = False
        await running.deadlines.sweep()
        kept = await running.now(session.id)
        assert (kept.room_status, kept.end_reason) == (RoomStatus.READY, "")


# --- LiveKit fails ---


async def test_nobody_is_timed_out_while_livekit_does_not_answer() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.fake_rooms.down = True
        assert (await running.after(301.0, session.id)).room_status is RoomStatus.READY
        calls = len(running.fake_rooms.calls)
        await running.after(1.0, session.id)
        assert len(running.fake_rooms.calls) == calls, "it is not asked at every sweep"
        running.fake_rooms.down = False
        running.fake_rooms.add_participant(session.room_name, "anna")
        assert (await running.after(2.1, session.id)).room_status is RoomStatus.ACTIVE


async def test_the_last_resort_comes_though_livekit_does_not_answer() -> None:
    async with assembly() as running:
        session = await ready(
            running, NewSession(user_identity="a", required_services=(), max_duration_s=310.0)
        )
        running.fake_rooms.down = True
        await running.after(301.0, session.id)  # the client deadline is due, and nobody can be looked for
        await running.after(10.0, session.id)
        after = await running.after(3.0, session.id)
        assert (after.room_status, after.end_reason) == (RoomStatus.TERMINATING, "max_duration")
        assert (await running.after(31.0, session.id)).room_status is RoomStatus.TERMINATED


async def test_sessions_that_cannot_be_looked_at_do_not_keep_others_waiting() -> None:
    async with assembly() as running:
        for _ in range(120):  # more than one sweep's batch, all due before the one that counts
            await running.sessions.create(ALONE)
        await running.settled()
        running.clock.advance(10.0)
        other = await ready(
            running, NewSession(user_identity="a", required_services=(), max_duration_s=292.0)
        )
        running.fake_rooms.down = True
        for _ in range(3):
            await running.after(291.0 if _ == 0 else 0.6, other.id)
        after = await running.after(0.6, other.id)
        assert after.end_reason == "max_duration"


async def test_a_slow_look_holds_nobody_else_up() -> None:
    async with assembly() as running:
        slow = await ready(running)
        other = await ready(
            running, NewSession(user_identity="a", required_services=(), max_duration_s=302.0)
        )
        running.clock.advance(301.0)
        running.fake_rooms.slow = asyncio.Event()
        sweeping = asyncio.create_task(running.deadlines.run())
        await asyncio.sleep(0.05)
        running.clock.advance(2.0)
        async with asyncio.timeout(2):
            while (await running.sessions.get(other.id)).end_reason != "max_duration":
                await asyncio.sleep(0.01)
        assert (await running.sessions.get(slow.id)).room_status is RoomStatus.READY
        running.fake_rooms.slow.set()
        async with asyncio.timeout(2):
            while (await running.sessions.get(slow.id)).end_reason != "client_timeout":
                await asyncio.sleep(0.01)
        sweeping.cancel()


async def test_the_end_of_the_sweeper_ends_its_looks() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.clock.advance(301.0)
        running.fake_rooms.slow = asyncio.Event()
        before = asyncio.all_tasks()
        sweeping = asyncio.create_task(running.deadlines.run())
        async with asyncio.timeout(2):
            while "list_participants" not in running.fake_rooms.calls:
                await asyncio.sleep(0)
        sweeping.cancel()
        await asyncio.wait({sweeping})
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before
        assert (await running.now(session.id)).room_status is RoomStatus.READY


# --- the store fails ---


async def test_a_deadline_that_could_not_be_committed_fires_a_little_later() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.store.fail_commits = frozenset({running.store.commits + 1})
        with capture_logs() as logged:
            assert (await running.after(301.0, session.id)).room_status is RoomStatus.READY
        assert [line["event"] for line in logged] == ["deadline_not_fired"]
        assert (await running.after(2.1, session.id)).end_reason == "client_timeout"


async def test_sweeping_outlives_a_store_that_is_down() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.store.down = True
        running.clock.advance(301.0)
        with pytest.raises(StoreError):
            await running.deadlines.sweep()
        with capture_logs() as logged:
            sweeping = asyncio.create_task(running.deadlines.run())
            await asyncio.sleep(0.05)
            running.store.down = False
            async with asyncio.timeout(2):
                while (await running.sessions.get(session.id)).end_reason != "client_timeout":
                    await asyncio.sleep(0.01)
            sweeping.cancel()
        assert logged[0]["event"] == "deadline_sweep_failed"


async def test_one_session_that_breaks_the_rules_harms_no_other() -> None:
    async with assembly() as running:
        broken, other = await ready(running), await ready(running)
        armed = Deadline(arming=99, due=running.clock.now())
        odd = replace(broken, version=broken.version + 1, deadlines={"nonsense": armed})
        await running.store.commit(Change(session=odd))
        running.sessions.live.put(odd)
        with capture_logs() as logged:
            after = await running.after(301.0, other.id)
        assert after.end_reason == "client_timeout"
        assert [line["event"] for line in logged if line["log_level"] == "error"] == ["deadline_not_fired"]
