"""The routes of who is in a room: the list with who is admitted, and removal with the way back."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from orchestrator.core.states import RoomStatus
from tests.orchestrator.web.world import World, error_of


async def test_the_list_says_who_is_there_and_who_is_about_to_be_put_out(
    world: World, client: ClientSession
) -> None:
    created = await world.create(client)
    path = f"/api/v1/sessions/{created['session_id']}/participants"
    world.rooms.add_participant(created["room_name"], "alice", session_id=created["session_id"])
    world.rooms.add_participant(created["room_name"], "eve", session_id="an-ended-session")
    world.rooms.add_participant(created["room_name"], "zoe")
    answer = await client.get(path)
    assert answer.status == 200
    body = await answer.json()
    assert body["session_id"] == created["session_id"]
    assert [(p["identity"], p["role"], p["admitted"]) for p in body["participants"]] == [
        ("alice", "client", True),
        ("eve", "client", False),
        ("zoe", "client", True),  # let in by somebody else who has the key
    ]
    assert body["barred"] == []


async def test_a_removed_one_is_out_barred_and_gets_no_token(world: World, client: ClientSession) -> None:
    created = await world.create(client)
    session_path = f"/api/v1/sessions/{created['session_id']}"
    world.rooms.add_participant(created["room_name"], "alice", session_id=created["session_id"])
    answer = await client.delete(f"{session_path}/participants/alice")
    assert answer.status == 200
    assert await answer.json() == {
        "session_id": created["session_id"],
        "identity": "alice",
        "barred": True,
    }
    await world.orchestrator.commands.close()  # lets what runs come to its end
    listed = await (await client.get(f"{session_path}/participants")).json()
    assert (listed["participants"], listed["barred"]) == ([], ["alice"])
    refused = await client.post(f"{session_path}/token", json={"user_identity": "alice"})
    body = await error_of(refused)
    assert (refused.status, body["error"]) == (403, "Forbidden")
    assert "'alice' was removed from this session and is kept out" in body["message"]
    again = await client.delete(f"{session_path}/participants/alice")
    assert (again.status, (await again.json())["barred"]) == (200, True)


async def test_bar_false_lets_them_ask_again_and_the_new_token_has_a_higher_number(
    world: World, client: ClientSession
) -> None:
    created = await world.create(client)
    session_path = f"/api/v1/sessions/{created['session_id']}"
    await client.delete(f"{session_path}/participants/alice")
    answer = await client.delete(f"{session_path}/participants/alice?bar=false")
    assert (answer.status, (await answer.json())["barred"]) == (200, False)
    granted = await client.post(f"{session_path}/token", json={"user_identity": "alice"})
    assert granted.status == 200
    assert [(g.number, g.session_id) for g in world.mint.grants] == [
        (0, created["session_id"]),
        (2, created["session_id"]),
    ]


async def test_another_role_has_a_higher_number_and_the_same_role_the_same(
    world: World, client: ClientSession
) -> None:
    created = await world.create(client)
    path = f"/api/v1/sessions/{created['session_id']}/token"
    for role in ("client", "operator", "operator", "client"):
        assert (await client.post(path, json={"user_identity": "alice", "role": role})).status == 200
    assert [(g.role, g.number) for g in world.mint.grants[1:]] == [
        ("client", 0),
        ("operator", 1),
        ("operator", 1),
        ("client", 2),
    ]


async def test_an_identity_with_a_slash_can_be_removed(world: World, client: ClientSession) -> None:
    created = await world.create(client)
    answer = await client.delete(f"/api/v1/sessions/{created['session_id']}/participants/a%2Fb%20c")
    assert (answer.status, (await answer.json())["identity"]) == (200, "a/b c")


@pytest.mark.parametrize(
    ("rest", "field"), [("alice?bar=no", "bar"), ("a%01b", "identity"), ("a" * 129, "identity")]
)
async def test_what_cannot_be_is_422_and_removes_nobody(
    world: World, client: ClientSession, rest: str, field: str
) -> None:
    created = await world.create(client)
    answer = await client.delete(f"/api/v1/sessions/{created['session_id']}/participants/{rest}")
    body = await error_of(answer)
    assert answer.status == 422
    assert [problem["field"] for problem in body["details"]["fields"]] == [field]
    assert "remove_participant" not in world.rooms.calls


async def test_the_recorder_an_ended_and_an_unknown_session_are_refused(
    world: World, client: ClientSession
) -> None:
    created = await world.create(client, record=True)
    path = f"/api/v1/sessions/{created['session_id']}"
    assert (await client.delete(f"{path}/participants/recorder")).status == 409
    await client.post(f"{path}/terminate")
    answer = await client.delete(f"{path}/participants/alice")
    assert (answer.status, (await error_of(answer))["error"]) == (409, "IllegalTransition")
    assert (await client.delete("/api/v1/sessions/nobody/participants/alice")).status == 404


async def test_a_removal_by_the_short_path_and_its_effect_on_the_session(
    world: World, client: ClientSession
) -> None:
    created = await world.create(client)
    alice = world.rooms.add_participant(created["room_name"], "alice", session_id=created["session_id"])
    await world.orchestrator.reconciler.look(created["session_id"])
    session = await world.sessions.get(created["session_id"])
    assert (session.room_status, list(session.participants)) == (RoomStatus.ACTIVE, [alice.sid])
    assert (await client.delete(f"/sessions/{created['session_id']}/participants/alice")).status == 200
    assert (await world.sessions.get(created["session_id"])).room_status is RoomStatus.READY
