"""The durable command that puts somebody out: whom it meets when it is carried out decides."""

from __future__ import annotations

from orchestrator.core.ids import Identity, RoomName
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import assembly

ALONE = NewSession(user_identity="anna", required_services=())
ANNA = Identity("anna")


async def test_who_is_removed_while_livekit_is_away_is_out_as_soon_as_it_is_back() -> None:
    async with assembly() as running:
        session = await running.now((await running.sessions.create(ALONE)).session.id)
        running.fake_rooms.add_participant(session.room_name, "anna", session_id=session.id)
        await running.reconciler.look(session.id)
        running.fake_rooms.down = True
        await running.sessions.remove(session.id, ANNA, is_barred=True)
        assert (await running.now(session.id)).room_status is RoomStatus.READY
        running.fake_rooms.down = False
        await running.after(0.5, session.id)
        assert await running.fake_rooms.list_participants(session.room_name) == []


async def test_a_late_removal_does_not_meet_who_came_back_with_a_new_token() -> None:
    async with assembly() as running:
        session = await running.now((await running.sessions.create(ALONE)).session.id)
        running.fake_rooms.down = True
        await running.sessions.remove(session.id, ANNA, is_barred=False)
        await running.settled()
        running.fake_rooms.down = False
        back = running.fake_rooms.add_participant(session.room_name, "anna", session_id=session.id, grant=1)
        await running.after(0.5, session.id)
        assert await running.fake_rooms.list_participants(session.room_name) == [back]
        assert "remove_participant" not in running.fake_rooms.calls


async def test_a_removal_does_not_meet_who_comes_while_it_looks() -> None:
    """One with a new token joins between the list, in which they are not, and what would put them out."""
    async with assembly() as running:
        session = await running.now((await running.sessions.create(ALONE)).session.id)
        rooms = running.fake_rooms
        plain = rooms.list_participants

        async def list_then_come(name: RoomName) -> list[Participant]:
            listed = await plain(name)
            rooms.add_participant(name, "anna", session_id=session.id, grant=1)
            return listed

        rooms.list_participants = list_then_come  # type: ignore[method-assign]
        await running.sessions.remove(session.id, ANNA, is_barred=False)
        await running.settled()
        assert [one.identity for one in await plain(RoomName(session.room_name))] == ["anna"]


async def test_a_removal_that_a_crash_interrupted_is_carried_out_by_the_next_start() -> None:
    async with assembly() as running:
        session = await running.now((await running.sessions.create(ALONE)).session.id)
        running.fake_rooms.add_participant(session.room_name, "anna", session_id=session.id)
        running.fake_rooms.down = True
        await running.sessions.remove(session.id, ANNA, is_barred=True)
        again = await running.restarted()
        running.fake_rooms.down = False
        rows = await again.parts.store.claim_commands(10, all_orphaned=True)
        again.commands.submit(tuple(rows))
        await again.settled()
        assert await running.fake_rooms.list_participants(session.room_name) == []
