"""Create, look, token, terminate: what a caller is told, and what is left behind when LiveKit fails."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.core.errors import (
    IllegalTransitionError,
    RoomNameTakenError,
    RoomServerUnavailableError,
    ServicesTimeoutError,
    SessionNotFoundError,
)
from orchestrator.core.ids import Identity, SessionId
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import ParticipantsSeen
from orchestrator.service.new_session import NewSession, ServiceOptions
from tests.fakes.assembly import assembly
from tests.fakes.rooms import client

ALONE = NewSession(user_identity="anna", required_services=())


async def test_a_session_without_services_is_ready_at_once() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        assert created.session.room_status is RoomStatus.READY
        session = await running.now(created.session.id)
        assert session.room_status is RoomStatus.READY
        assert session.room_name == f"room-{session.id}"
        assert [room.name for room in await running.fake_rooms.list_rooms()] == [session.room_name]


async def test_the_answer_says_what_the_result_commit_will_write() -> None:
    async with assembly() as running:
        created = await running.sessions.create(NewSession(user_identity="anna", required_services=("asr",)))
        assert created.session.room_status is RoomStatus.WAITING
        assert created.session.missing_services == ("asr",)
        assert (await running.now(created.session.id)).version == created.session.version


async def test_a_result_that_the_store_refused_is_committed_long_before_the_creations_deadline() -> None:
    async with assembly() as running:
        running.store.fail_commits = frozenset({2})
        created = await running.sessions.create(ALONE)
        await running.settled()
        running.clock.advance(0.2)
        running.commands.submit(tuple(await running.store.claim_commands(9)))
        session = await running.now(created.session.id)
        assert session.room_status is RoomStatus.READY
        assert running.store.commits == 3


async def test_livekit_down_ends_the_session_in_the_same_commit() -> None:
    async with assembly() as running:
        running.fake_rooms.down = True
        with pytest.raises(RoomServerUnavailableError) as caught:
            await running.sessions.create(ALONE)
        (session_id,) = caught.value.__notes__
        assert (await running.now(session_id)).room_status is RoomStatus.TERMINATING
        running.fake_rooms.down = False
        session = await running.after(1.0, session_id)
        assert session.room_status is RoomStatus.TERMINATED
        assert session.end_reason == "create_failed"
        assert not session.is_name_held


async def test_a_room_that_was_made_but_not_answered_for_is_deleted() -> None:
    async with assembly() as running:
        running.fake_rooms.done_but_timed_out = True
        with pytest.raises(RoomServerUnavailableError) as caught:
            await running.sessions.create(ALONE)
        running.fake_rooms.done_but_timed_out = False
        (session_id,) = caught.value.__notes__
        session = await running.after(1.0, session_id)
        assert session.room_status is RoomStatus.TERMINATED
        assert await running.fake_rooms.list_rooms() == []


async def test_a_chosen_name_is_held_until_its_room_is_gone() -> None:
    async with assembly() as running:
        chosen = NewSession(user_identity="anna", required_services=(), room_name="lobby")
        first = await running.sessions.create(chosen)
        with pytest.raises(RoomNameTakenError):
            await running.sessions.create(chosen)
        await running.now(first.session.id)
        running.fake_rooms.down = True  # the deletion does not get through
        await running.sessions.terminate(first.session.id)
        await running.settled()
        with pytest.raises(RoomNameTakenError):
            await running.sessions.create(chosen)
        running.fake_rooms.down = False
        await running.after(1.0, first.session.id)
        again = await running.sessions.create(chosen)
        assert again.session.room_name == "lobby"


async def test_a_strangers_room_is_neither_taken_nor_deleted() -> None:
    async with assembly() as running:
        running.fake_rooms.add_foreign_room("lobby")
        with pytest.raises(RoomNameTakenError):
            await running.sessions.create(
                NewSession(user_identity="anna", required_services=(), room_name="lobby")
            )
        await running.settled()
        assert [room.name for room in await running.fake_rooms.list_rooms()] == ["lobby"]


async def test_terminating_twice_is_the_same_answer() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        await running.now(created.session.id)
        await running.sessions.terminate(created.session.id)
        session = await running.now(created.session.id)
        assert session.room_status is RoomStatus.TERMINATED
        again = await running.sessions.terminate(created.session.id, "something else")
        assert again == session


async def test_tokens_are_refused_once_the_session_ends() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        token = await running.sessions.token(created.session.id, Identity("ben"), "Ben")
        assert token.jwt
        assert token.jwt not in repr(token)
        await running.now(created.session.id)
        await running.sessions.terminate(created.session.id)
        with pytest.raises(IllegalTransitionError):
            await running.sessions.token(created.session.id, Identity("ben"), "Ben")


async def test_unknown_sessions_are_not_found() -> None:
    async with assembly() as running:
        with pytest.raises(SessionNotFoundError):
            await running.sessions.get(SessionId("nobody"))
        with pytest.raises(SessionNotFoundError):
            await running.sessions.terminate(SessionId("nobody"))


async def test_waiting_for_ready_ends_with_ready() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr")
        creating = asyncio.create_task(
            running.sessions.create(NewSession(user_identity="anna", required_services=("asr",), wait_s=20.0))
        )
        while not running.caller.joins:
            await asyncio.sleep(0.01)
        _, request = running.caller.joins[0]
        running.fake_rooms.add_participant(request.room_name, "asr", service_id="asr", attempt=1)
        await running.reconciler.look(SessionId(request.session_id))
        created = await asyncio.wait_for(creating, 5)
        assert created.session.room_status is RoomStatus.READY


async def test_strict_services_that_do_not_come_are_a_timeout() -> None:
    async with assembly() as running:
        creating = asyncio.create_task(
            running.sessions.create(
                NewSession(
                    user_identity="anna",
                    required_services=("asr",),
                    services={"asr": ServiceOptions(policy="strict")},
                    wait_s=200.0,
                )
            )
        )
        await asyncio.sleep(0.05)
        (session,) = running.sessions.live.all()
        await running.after(61.0, session.id)
        with pytest.raises(ServicesTimeoutError) as caught:
            await asyncio.wait_for(creating, 5)
        assert caught.value.missing == ("asr",)


async def test_default_services_are_those_that_have_a_worker_now() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr")
        await running.add_push_worker("hidden", in_default=False)
        created = await running.sessions.create(NewSession(user_identity="anna"))
        assert [job.service_id for job in created.session.jobs] == ["asr"]


async def test_clients_move_ready_and_active() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        await running.now(created.session.id)
        anna = client("anna", "PA_1")
        session = await running.sessions.apply(created.session.id, ParticipantsSeen(present=(anna,)))
        assert session.room_status is RoomStatus.ACTIVE
        session = await running.sessions.apply(
            created.session.id, ParticipantsSeen(gone=frozenset({anna.sid}))
        )
        assert session.room_status is RoomStatus.READY


async def test_nobody_is_timed_out_on_an_old_view() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        session = await running.now(created.session.id)
        running.fake_rooms.add_participant(session.room_name, "anna")  # no webhook told us
        session = await running.after(301.0, session.id)
        assert session.room_status is RoomStatus.ACTIVE


async def test_an_empty_ready_room_ends_after_the_client_timeout() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        await running.now(created.session.id)
        session = await running.after(301.0, created.session.id)
        assert session.room_status is RoomStatus.TERMINATED
        assert session.end_reason == "client_timeout"
