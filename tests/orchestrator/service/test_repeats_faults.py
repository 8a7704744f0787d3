"""Whatever fails, repeating the request until it is answered leaves one session that lives, and its room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from orchestrator.core.errors import RoomNameTakenError, RoomServerError, StoreError
from orchestrator.core.ids import CallerId, SessionId
from orchestrator.core.request_keys import KeyScope, RequestKey
from orchestrator.core.states import RoomStatus
from orchestrator.service.new_session import CreatedSession, NewSession
from tests.fakes.assembly import Assembly, assembly

KEY = RequestKey(scope=KeyScope(caller=CallerId(""), route="create-session", key="k"), fingerprint="f")
ALONE = NewSession(user_identity="anna", required_services=())
NAMED = NewSession(user_identity="anna", required_services=(), room_name="lobby")


def refuse(*commits: int) -> Callable[[Assembly], None]:
    def begin(running: Assembly) -> None:
        running.store.fail_commits = frozenset(commits)

    return begin


def lose_the_first_answer(running: Assembly) -> None:
    running.store.done_but_failed = True


def livekit_is_down(running: Assembly) -> None:
    running.fake_rooms.down = True


def livekit_does_not_answer(running: Assembly) -> None:
    running.fake_rooms.done_but_timed_out = True


FAULTS = {
    "nothing": refuse(),
    "the intent is refused": refuse(1),
    "the intent is refused twice": refuse(1, 2),
    "the result is refused": refuse(2),
    "the result is refused twice": refuse(2, 3),
    "the answer to the intent is lost": lose_the_first_answer,
    "LiveKit is down": livekit_is_down,
    "LiveKit does it and does not answer": livekit_does_not_answer,
}


async def repeated_until_answered(
    running: Assembly, request: NewSession, key: RequestKey | None
) -> CreatedSession:
    """Ask again and again, while time passes and what is left over is done."""
    for _ in range(6):
        asking = asyncio.ensure_future(running.repeats.create(lambda: request, key, wait_s=None))
        for _ in range(8):
            done, _ = await asyncio.wait({asking}, timeout=0.05)
            if done:
                break
            running.clock.advance(3.0)
            await running.deadlines.sweep()
            running.commands.submit(tuple(await running.store.claim_commands(9)))
        try:
            return await asyncio.wait_for(asking, 2)
        except RoomNameTakenError:
            running.clock.advance(1.0)  # a chosen name is held until the failed session's room is gone
            running.commands.submit(tuple(await running.store.claim_commands(9)))
            await running.settled()
        except (StoreError, RoomServerError):
            running.fake_rooms.down = running.fake_rooms.done_but_timed_out = False
    raise AssertionError("never answered")


async def live_sessions_after(running: Assembly, request: NewSession, key: RequestKey | None) -> list[str]:
    """Give the sessions that live once everything has come to rest; what was answered is among them."""
    first = await repeated_until_answered(running, request, key)
    await repeated_until_answered(running, request, key)
    for _ in range(4):  # leases lapse, deadlines fire, rooms of nobody are swept
        await running.settled()
        running.clock.advance(5.0)
        await running.deadlines.sweep()
        running.commands.submit(tuple(await running.store.claim_commands(9)))
        await running.settled()
        await running.reconciler.compare_rooms()
    live = [session for session in await running.store.open_sessions() if session.is_live]
    assert first.session.id in [session.id for session in live]
    assert all(session.room_status is RoomStatus.READY for session in live)
    rooms = sorted(room.name for room in await running.fake_rooms.list_rooms())
    assert rooms == sorted(session.room_name for session in live)
    return [session.id for session in live]


@pytest.mark.parametrize("request_", [ALONE, NAMED], ids=["made name", "chosen name"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_with_a_key_one_session_lives(fault: str, request_: NewSession) -> None:
    async with assembly() as running:
        FAULTS[fault](running)
        (session_id,) = await live_sessions_after(running, request_, KEY)
        bound = await running.store.bound_key(KEY.scope)
        assert bound is not None
        assert bound.target == session_id
        await running.sessions.get(SessionId(session_id))


async def test_without_a_key_a_lost_answer_leaves_three() -> None:
    async with assembly() as running:
        lose_the_first_answer(running)
        assert len(await live_sessions_after(running, ALONE, None)) == 3
