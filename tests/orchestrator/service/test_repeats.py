"""Requests that come again: one session however often, whatever failed or died in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.core.errors import (
    BarredError,
    KeyOutlivedError,
    KeyReusedError,
    RoomNameTakenError,
    RoomServerUnavailableError,
    ServicesTimeoutError,
    SessionNotFoundError,
    StoreError,
)
from orchestrator.core.ids import CallerId, Identity, InstanceId, SessionId
from orchestrator.core.request_keys import KEPT, KeyScope, RequestKey
from orchestrator.core.states import RoomStatus
from orchestrator.service.new_session import CreatedSession, NewSession
from orchestrator.service.push import NewWorker
from tests.fakes.assembly import Assembly, assembly

ALONE = NewSession(user_identity="anna", required_services=())
WORKER = NewWorker(service_id="asr", endpoint="http://127.0.0.1:1")


def key_of(key: str = "k", *, route: str = "create-session", fingerprint: str = "f") -> RequestKey:
    return RequestKey(scope=KeyScope(caller=CallerId(""), route=route, key=key), fingerprint=fingerprint)


TERMINATE = key_of(route="terminate")
REGISTER = key_of(route="register")


def create(
    running: Assembly,
    key: RequestKey | None = None,
    request: NewSession = ALONE,
    *,
    wait_s: float | None = None,
) -> asyncio.Task[CreatedSession]:
    return asyncio.ensure_future(running.repeats.create(lambda: request, key, wait_s=wait_s))


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


async def sessions_of(running: Assembly) -> list[str]:
    return [session.id for session in await running.store.open_sessions()]


async def rooms_of(running: Assembly) -> list[str]:
    return [room.name for room in await running.fake_rooms.list_rooms()]


async def test_a_repeat_is_answered_for_the_same_session_with_a_token_of_its_own() -> None:
    async with assembly() as running:
        first = await create(running, key_of())
        await running.settled()
        again = await create(running, key_of())
        assert again.session.id == first.session.id
        assert again.session.room_status is RoomStatus.READY
        assert again.token is not first.token
        assert again.livekit_url == first.livekit_url
        assert await sessions_of(running) == [first.session.id]


async def test_twenty_at_once_make_one_session_and_one_room() -> None:
    async with assembly() as running:
        made = await asyncio.gather(*(create(running, key_of()) for _ in range(20)))
        assert len({created.session.id for created in made}) == 1
        assert len(await sessions_of(running)) == len(await rooms_of(running)) == 1


async def test_without_a_key_twenty_make_twenty() -> None:
    async with assembly() as running:
        made = await asyncio.gather(*(create(running) for _ in range(20)))
        assert len({created.session.id for created in made}) == 20
        assert len(await rooms_of(running)) == 20


async def test_of_two_instances_that_race_one_makes_the_session() -> None:
    async with assembly() as running:
        parts = replace(running.parts, instance=InstanceId("instance-2"))
        other = Assembly(parts, running.settings, running.fake_rooms, running.caller)
        await other.open()
        one, two = await asyncio.gather(create(running, key_of()), create(other, key_of()))
        assert one.session.id == two.session.id
        assert running.store.commits >= 2  # both tried
        await running.settled()
        await other.settled()
        assert await sessions_of(running) == [one.session.id]
        for _ in range(2):  # what the slower one had asked for is nobody's room
            await running.reconciler.compare_rooms()
            running.clock.advance(1.1)
        assert await rooms_of(running) == [one.session.room_name]
        await other.close()


async def test_another_request_under_the_key_is_refused() -> None:
    async with assembly() as running:
        await create(running, key_of())
        with pytest.raises(KeyReusedError):
            await create(running, key_of(fingerprint="another"))
        assert len(await sessions_of(running)) == 1


async def test_a_request_that_is_wrong_binds_no_key() -> None:
    def wrong() -> NewSession:
        raise ValueError("no such thing")

    async with assembly() as running:
        with pytest.raises(ValueError, match="no such thing"):
            await running.repeats.create(wrong, key_of(), wait_s=None)
        assert (await create(running, key_of())).session.room_status is RoomStatus.READY
        # A repeat was right when it came first, whatever has changed since.
        assert (await running.repeats.create(wrong, key_of(), wait_s=None)).session.is_live


async def test_a_repeat_waits_for_the_first() -> None:
    async with assembly() as running:
        running.fake_rooms.slow = asyncio.Event()
        first = create(running, key_of())
        await until(running.sessions.live.all)
        repeats = [create(running, key_of()) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in repeats)
        running.fake_rooms.slow.set()
        ids = {created.session.id for created in await asyncio.gather(first, *repeats)}
        assert len(ids) == 1
        assert running.fake_rooms.calls.count("create_room") == 1


async def test_when_livekit_is_down_all_are_told_and_the_key_is_free() -> None:
    async with assembly() as running:
        running.fake_rooms.slow = asyncio.Event()
        waiting = [create(running, key_of()) for _ in range(3)]
        await until(running.sessions.live.all)
        await asyncio.sleep(0.02)
        running.fake_rooms.down = True
        running.fake_rooms.slow.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, RoomServerUnavailableError) for outcome in outcomes)
        failed = {note for outcome in outcomes for note in getattr(outcome, "__notes__", ())}
        assert len(failed) == 1
        running.fake_rooms.down = False
        again = await create(running, key_of(fingerprint="it may even be another request"))
        assert {again.session.id}.isdisjoint(failed)


async def test_a_room_that_does_not_come_in_time_frees_the_key_too() -> None:
    async with assembly() as running:
        running.fake_rooms.slow = asyncio.Event()
        first = create(running, key_of())
        await until(running.sessions.live.all)
        (session,) = running.sessions.live.all()
        slow, running.fake_rooms.slow = running.fake_rooms.slow, None  # only what was asked already hangs
        running.clock.advance(15.0)
        await running.deadlines.sweep()
        assert await running.store.bound_key(key_of().scope) is None
        slow.set()
        await asyncio.wait({first})
        assert (await create(running, key_of())).session.id != session.id


async def test_a_name_that_is_taken_binds_no_key() -> None:
    async with assembly() as running:
        lobby = replace(ALONE, room_name="lobby")
        running.fake_rooms.add_foreign_room("lobby")
        for _ in range(2):
            with pytest.raises(RoomNameTakenError):
                await create(running, key_of(), lobby)
        running.fake_rooms.lose_room("lobby")
        assert (await create(running, key_of(), lobby)).session.room_name == "lobby"


async def test_a_commit_whose_answer_was_lost_is_found_by_the_repeat() -> None:
    async with assembly() as running:
        running.store.done_but_failed = True
        with pytest.raises(StoreError):
            await create(running, key_of())
        (session_id,) = await sessions_of(running)
        repeat = create(running, key_of())
        await asyncio.sleep(0.02)
        assert not repeat.done()
        running.clock.advance(10.0)  # the lease of the row that nobody carries out
        running.commands.submit(tuple(await running.store.claim_commands(9)))
        created = await repeat
        assert (created.session.id, created.session.room_status) == (session_id, RoomStatus.READY)


async def test_killed_between_the_commit_and_the_answer() -> None:
    async with assembly() as running:
        running.fake_rooms.slow = asyncio.Event()
        first = create(running, key_of())
        await until(running.sessions.live.all)
        after = await running.restarted()
        assert first.cancelled()
        running.fake_rooms.slow = None
        (session_id,) = await sessions_of(after)
        after.commands.submit(tuple(await after.store.claim_commands(9, all_orphaned=True)))
        created = await create(after, key_of())
        assert created.session.id == session_id
        assert created.session.room_status is RoomStatus.READY
        assert await rooms_of(after) == [created.session.room_name]


async def test_after_the_end_there_is_no_token() -> None:
    async with assembly() as running:
        created = await create(running, key_of())
        await running.now(created.session.id)
        await running.sessions.terminate(created.session.id)
        with pytest.raises(KeyOutlivedError) as caught:
            await create(running, key_of())
        assert caught.value.details == {"session_id": created.session.id}
        await running.now(created.session.id)
        with pytest.raises(KeyOutlivedError, match="terminated"):
            await create(running, key_of())
        running.clock.advance(KEPT.total_seconds())
        assert (await create(running, key_of())).session.id != created.session.id


async def test_a_creator_who_was_removed_gets_no_token_by_a_repeat() -> None:
    async with assembly() as running:
        created = await create(running, key_of())
        await running.now(created.session.id)
        await running.sessions.remove(created.session.id, Identity("anna"), is_barred=True)
        with pytest.raises(BarredError):
            await create(running, key_of())


async def test_a_repeat_changes_no_role() -> None:
    async with assembly() as running:
        created = await create(running, key_of())
        await running.now(created.session.id)
        await running.sessions.token(created.session.id, Identity("anna"), "", "operator")
        before = await running.now(created.session.id)
        assert (await create(running, key_of())).session == before
        assert await running.now(created.session.id) == before


async def test_a_repeat_waits_for_the_services_again() -> None:
    async with assembly() as running:
        wanted = replace(ALONE, required_services=("asr",), policy="strict")
        first = await create(running, key_of(), wanted)
        assert first.session.room_status is RoomStatus.WAITING
        repeat = create(running, key_of(), wanted, wait_s=100.0)
        await asyncio.sleep(0.05)
        assert not repeat.done()
        await running.after(61.0, first.session.id)
        with pytest.raises(ServicesTimeoutError):
            await asyncio.wait_for(repeat, 5)


# --- terminate ---


async def test_a_repeated_terminate_ends_nothing_more() -> None:
    async with assembly() as running:
        created = await create(running)
        await running.now(created.session.id)
        await running.repeats.terminate(created.session.id, TERMINATE)
        over = await running.now(created.session.id)
        again = await asyncio.gather(
            *(running.repeats.terminate(created.session.id, TERMINATE) for _ in range(5))
        )
        assert again == [over] * 5
        with pytest.raises(KeyReusedError):
            await running.repeats.terminate(created.session.id, replace(TERMINATE, fingerprint="other"))


async def test_a_terminate_that_changed_nothing_is_remembered_too() -> None:
    async with assembly() as running:
        created = await create(running)
        await running.now(created.session.id)
        await running.sessions.terminate(created.session.id)
        over = await running.now(created.session.id)
        noted = await running.repeats.terminate(created.session.id, TERMINATE)
        assert noted == replace(over, version=over.version + 1)
        other = await create(running)
        with pytest.raises(KeyReusedError):
            await running.repeats.terminate(other.session.id, replace(TERMINATE, fingerprint="other"))
        assert (await running.now(other.session.id)).is_live


async def test_an_unknown_session_binds_no_key() -> None:
    async with assembly() as running:
        with pytest.raises(SessionNotFoundError):
            await running.repeats.terminate(SessionId("nobody"), TERMINATE)
        created = await create(running)
        await running.now(created.session.id)
        session = await running.repeats.terminate(created.session.id, TERMINATE)
        assert not session.is_live


# --- register ---


async def register(running: Assembly, worker: NewWorker, key: RequestKey | None) -> None:
    async def make() -> NewWorker:
        return worker

    await running.repeats.register(make, key)


async def test_a_late_repeat_does_not_undo_a_later_registration() -> None:
    async with assembly() as running:
        await register(running, WORKER, REGISTER)
        moved = replace(WORKER, endpoint="http://127.0.0.1:2")
        await register(running, moved, replace(REGISTER, scope=replace(REGISTER.scope, key="k2")))
        await register(running, WORKER, REGISTER)
        (worker,) = running.registry.all()
        assert worker.registration.endpoint == "http://127.0.0.1:2"
        await register(running, WORKER, None)  # the control
        (worker,) = running.registry.all()
        assert worker.registration.endpoint == "http://127.0.0.1:1"


async def test_a_repeated_registration_is_a_sign_of_life() -> None:
    async with assembly() as running:
        await register(running, WORKER, REGISTER)
        (worker,) = running.registry.all()
        worker.is_dead = True
        await register(running, WORKER, REGISTER)
        assert worker.is_up
        page = await running.store.feed_after(0, session_id=None, limit=9)
        assert [event.name for event in page.events] == ["microservice_registered"]


async def test_a_repeat_after_unregistering_registers_nobody() -> None:
    async with assembly() as running:
        await register(running, WORKER, REGISTER)
        with pytest.raises(KeyReusedError):
            await register(running, WORKER, replace(REGISTER, fingerprint="another"))
        await running.push.unregister("asr")
        with pytest.raises(KeyOutlivedError) as caught:
            await register(running, WORKER, REGISTER)
        assert caught.value.details == {"worker_id": "asr"}
        assert running.registry.all() == []


# --- old keys ---


async def test_old_keys_are_swept_also_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.service.repeats._SWEEP_S", 0.01)
    async with assembly() as running:
        await create(running, key_of())
        running.clock.advance(KEPT.total_seconds())
        running.store.down = True
        sweeping = asyncio.ensure_future(running.repeats.run())
        await asyncio.sleep(0.03)
        assert len(running.store.keys) == 1
        running.store.down = False
        await until(lambda: not running.store.keys)
        sweeping.cancel()
        await asyncio.wait({sweeping})
