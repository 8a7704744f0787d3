"""LiveKit's webhooks as hints: taken when they fit, dropped when late, strange, or about somebody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from orchestrator.core.errors import StoreError
from orchestrator.core.ids import ParticipantSid, RoomSid
from orchestrator.core.jobs import JobState
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant, RoomLost
from orchestrator.ports import Notice
from orchestrator.service.new_session import NewSession
from tests.fakes.assembly import Assembly, assembly
from tests.fakes.rooms import client

ALONE = NewSession(user_identity="anna", required_services=())
ASR = NewSession(user_identity="anna", required_services=("asr",))
ANNA = client("anna", "PA_anna")


async def ready(running: Assembly, request: NewSession = ALONE) -> Session:
    return await running.now((await running.sessions.create(request)).session.id)


def notice(session: Session, event: str, participant: Participant | None = None) -> Notice:
    """A webhook as our own LiveKit sends it for this session's room."""
    return Notice(
        event=event,
        id="EV_1",
        room_name=session.room_name,
        room_sid=session.room_sid or RoomSid("RM_unknown"),
        deployment_id="ours",
        session_id=session.id,
        participant=participant,
    )


async def test_clients_come_and_go() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE
        await running.webhooks.accept(notice(session, "participant_left", ANNA))
        assert (await running.now(session.id)).room_status is RoomStatus.READY


async def test_a_connection_that_never_came_about_is_gone() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        await running.webhooks.accept(notice(session, "participant_connection_aborted", ANNA))
        assert (await running.now(session.id)).room_status is RoomStatus.READY


async def test_a_repeated_webhook_changes_nothing() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        once = await running.now(session.id)
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        assert await running.now(session.id) == once


async def test_a_late_leave_of_an_old_connection_is_not_the_new_ones() -> None:
    async with assembly() as running:
        session = await ready(running)
        again = replace(ANNA, sid=ParticipantSid("PA_again"))
        await running.webhooks.accept(notice(session, "participant_joined", again))
        await running.webhooks.accept(notice(session, "participant_left", ANNA))
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE


async def test_a_worker_that_joins_is_seen_at_once() -> None:
    async with assembly() as running:
        await running.add_push_worker("asr")
        session = await ready(running, ASR)
        asr = running.fake_rooms.add_participant(session.room_name, "asr", service_id="asr", attempt=1)
        await running.webhooks.accept(notice(session, "participant_joined", asr))
        after = await running.now(session.id)
        assert (after.room_status, after.jobs[0].state) == (RoomStatus.READY, JobState.JOINED)


async def test_the_rooms_end_is_the_sessions() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, "room_finished"))
        after = await running.now(session.id)
        assert (after.room_status, after.end_reason) == (RoomStatus.TERMINATED, "room_finished")


@pytest.mark.parametrize("event", ["participant_joined", "participant_left", "room_finished"])
async def test_a_room_of_another_sid_says_nothing(event: str) -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        before = await running.now(session.id)
        other = replace(
            notice(session, event, ANNA if event != "participant_joined" else client("ben", "PA_ben")),
            room_sid=RoomSid("RM_of_an_earlier_life"),
        )
        await running.webhooks.accept(other)
        assert await running.now(session.id) == before


async def test_a_room_of_another_session_says_nothing() -> None:
    async with assembly() as running:
        session = await ready(running)
        other = replace(notice(session, "participant_joined", ANNA), session_id="another")
        await running.webhooks.accept(other)
        assert await running.now(session.id) == session


async def test_before_the_room_is_known_only_our_own_is_believed() -> None:
    async with assembly() as running:
        running.fake_rooms.slow = asyncio.Event()
        creating = asyncio.create_task(running.sessions.create(ALONE))
        while not running.sessions.live.all():
            await asyncio.sleep(0)
        (session,) = running.sessions.live.all()
        assert session.room_sid is None
        strangers = replace(
            notice(session, "participant_joined", client("mallory", "PA_m")), deployment_id="", session_id=""
        )
        await running.webhooks.accept(strangers)
        assert running.sessions.live.all() == [session]
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))  # faster than the answer
        running.fake_rooms.slow.set()
        created = await creating
        assert (await running.now(created.session.id)).room_status is RoomStatus.ACTIVE


async def test_while_the_room_is_lost_an_old_one_says_nothing() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.fake_rooms.down = True
        await running.sessions.apply(session.id, RoomLost(sid=session.room_sid))
        lost = await running.now(session.id)
        await running.webhooks.accept(notice(session, "room_finished"))
        assert await running.now(session.id) == lost


@pytest.mark.parametrize("event", ["room_started", "track_published", "egress_ended", "of the future"])
async def test_what_says_nothing_to_us_is_accepted(event: str) -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, event, ANNA))
        assert await running.now(session.id) == session


@pytest.mark.parametrize("event", ["participant_joined", "participant_left"])
async def test_one_without_its_participant_is_accepted(event: str) -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, event))
        assert await running.now(session.id) == session


async def test_one_of_a_session_that_is_over_is_dropped() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.sessions.terminate(session.id)
        ended = await running.now(session.id)
        for event in ("participant_joined", "participant_left", "room_finished"):
            await running.webhooks.accept(notice(session, event, ANNA))
        assert await running.now(session.id) == ended


async def test_one_that_cannot_be_committed_is_not_accepted_and_comes_again() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.store.down = True
        with pytest.raises(StoreError):
            await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        running.store.down = False
        assert await running.now(session.id) == session
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE


async def test_what_a_crash_interrupted_is_seen_after_the_next_start() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        again = await running.restarted()
        assert (await again.now(session.id)).room_status is RoomStatus.ACTIVE
        with capture_logs() as logged:
            await again.webhooks.accept(notice(session, "participant_joined", ANNA))  # LiveKit repeats it
        assert (await again.now(session.id)).room_status is RoomStatus.ACTIVE
        assert logged == []


# --- who may not be there ---


async def test_a_joining_told_after_its_leaving_is_not_believed() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, "participant_left", ANNA))
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        assert await running.now(session.id) == session
        again = replace(ANNA, sid=ParticipantSid("PA_again"))
        await running.webhooks.accept(notice(session, "participant_joined", again))
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE


async def test_what_is_remembered_of_leavings_is_bounded() -> None:
    async with assembly() as running:
        session = await ready(running)
        for number in range(4097):
            gone = replace(ANNA, sid=ParticipantSid(f"PA_{number}"))
            await running.webhooks.accept(notice(session, "participant_left", gone))
        assert len(running.webhooks._left) == 4096
        assert "PA_0" not in running.webhooks._left


async def test_a_removed_one_that_joins_again_is_put_out_at_once_and_said_once() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.sessions.remove(session.id, ANNA.identity, is_barred=True)
        back = running.fake_rooms.add_participant(session.room_name, "anna", session_id=session.id)
        before = await running.now(session.id)
        for _ in range(3):  # LiveKit repeats itself
            await running.webhooks.accept(notice(session, "participant_joined", back))
        after = await running.now(session.id)
        assert await running.fake_rooms.list_participants(session.room_name) == []
        assert after.room_status is RoomStatus.READY
        assert after.events == before.events + 1


async def test_a_joining_of_long_ago_only_makes_us_look() -> None:
    async with assembly() as running:
        session = await ready(running)
        late = replace(notice(session, "participant_joined", ANNA), age_s=10.5)
        await running.webhooks.accept(late)
        assert await running.now(session.id) == session  # nobody of that name is there
        running.fake_rooms.add_participant(session.room_name, "anna")
        await running.webhooks.accept(late)
        assert (await running.now(session.id)).room_status is RoomStatus.ACTIVE


async def test_a_joining_of_long_ago_is_accepted_while_livekit_does_not_answer() -> None:
    async with assembly() as running:
        session = await ready(running)
        running.fake_rooms.down = True
        late = replace(notice(session, "participant_joined", ANNA), age_s=10.5)
        await running.webhooks.accept(late)
        assert await running.now(session.id) == session


async def test_a_leaving_of_long_ago_is_still_true_of_its_sid() -> None:
    async with assembly() as running:
        session = await ready(running)
        await running.webhooks.accept(notice(session, "participant_joined", ANNA))
        await running.webhooks.accept(replace(notice(session, "participant_left", ANNA), age_s=40.0))
        assert (await running.now(session.id)).room_status is RoomStatus.READY
