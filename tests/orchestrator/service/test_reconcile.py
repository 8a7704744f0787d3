"""LiveKit's lists make our view right: lost rooms, ghosts, absences believed twice, nothing of others."""

from __future__ import annotations

from orchestrator.core.commands import CreateRoom
from orchestrator.core.ids import RoomName
from orchestrator.core.states import RoomStatus
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import assembly

ALONE = NewSession(user_identity="anna", required_services=())


async def test_a_room_that_livekit_lost_is_made_again() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        before = await running.now(created.session.id)
        running.fake_rooms.lose_room(before.room_name)
        await running.reconciler.compare_rooms()
        session = await running.now(before.id)
        assert session.room_status is RoomStatus.READY
        assert session.room_sid not in (None, before.room_sid)
        (room,) = await running.fake_rooms.list_rooms()
        assert (room.name, room.sid) == (before.room_name, session.room_sid)


async def test_a_room_made_again_by_a_call_whose_answer_was_lost_is_taken_over() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        before = await running.now(created.session.id)
        running.fake_rooms.lose_room(before.room_name)
        room = await running.fake_rooms.create_room(before.room_name, before.id)
        await running.reconciler.compare_rooms()
        assert (await running.now(before.id)).room_sid == room.sid


async def test_a_ghost_is_deleted_after_two_passes_and_a_strangers_room_never() -> None:
    async with assembly() as running:
        running.fake_rooms.add_foreign_room("lobby")
        await running.fake_rooms.create_room(RoomName("ghost"), "nobody")  # type: ignore[arg-type]
        await running.reconciler.compare_rooms()
        assert {room.name for room in await running.fake_rooms.list_rooms()} == {"lobby", "ghost"}
        running.clock.advance(1.1)
        await running.reconciler.compare_rooms()
        assert {room.name for room in await running.fake_rooms.list_rooms()} == {"lobby"}


async def test_an_absence_seen_once_is_not_believed() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        session = await running.now(created.session.id)
        running.fake_rooms.add_participant(session.room_name, "anna")
        await running.reconciler.look(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE
        running.fake_rooms.hide_participants_once = True  # the list lags
        await running.reconciler.look(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE
        running.fake_rooms.remove_participants(session.room_name)
        await running.reconciler.look(session.id)
        assert (await running.now(session.id)).room_status is RoomStatus.READY


async def test_a_create_found_in_an_ending_session_is_dropped() -> None:
    async with assembly() as running:
        created = await running.sessions.create(ALONE)
        session = await running.now(created.session.id)
        running.fake_rooms.lose_room(session.room_name)
        running.fake_rooms.down = True
        await running.sessions.terminate(session.id)
        await running.settled()
        running.fake_rooms.down = False
        session = await running.after(1.0, session.id)
        assert session.room_status is RoomStatus.TERMINATED
        assert await running.fake_rooms.list_rooms() == []
        rows = await running.parts.store.claim_commands(10, all_orphaned=True)
        assert not [row for row in rows if isinstance(row.command, CreateRoom)]
