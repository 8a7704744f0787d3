"""The room service as livekit-api calls it, and what it answers to what is wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from livekit import api
from livekit.protocol import models

from engine.app import make_app
from engine.participants import Participant
from tests.engine.clients import KEY, World, published, seen
from tests.engine.test_app import greet

DENIED = {"code": "unauthenticated", "msg": "permissions denied"}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def url(world: World) -> AsyncIterator[str]:
    server = TestServer(make_app(world.rooms, KEY, greet))
    await server.start_server()
    yield str(server.make_url("/"))
    await server.close()


@pytest.fixture
async def backend(url: str) -> AsyncIterator[api.LiveKitAPI]:
    async with api.LiveKitAPI(url, KEY.api_key, KEY.api_secret) as made:
        yield made


async def ask(
    url: str, method: str, body: Any, *, service: str = "RoomService", **grants: Any
) -> tuple[int, Any]:
    said = {"room_create": True, "room_list": True, "room_admin": True, "room": "tea", **grants}
    token = api.AccessToken(KEY.api_key, KEY.api_secret).with_grants(api.VideoGrants(**said)).to_jwt()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = body if isinstance(body, bytes) else json.dumps(body)
    where = f"{url}twirp/livekit.{service}/{method}"
    async with ClientSession() as http, http.post(where, data=data, headers=headers) as answer:
        assert token not in await answer.text()
        return answer.status, await answer.json()


async def test_rooms_are_made_listed_and_deleted(backend: api.LiveKitAPI, world: World) -> None:
    made = await backend.room.create_room(api.CreateRoomRequest(name="tea", metadata="m", max_participants=3))
    assert (made.name, made.metadata, made.max_participants, made.empty_timeout) == ("tea", "m", 3, 300)
    again = await backend.room.create_room(api.CreateRoomRequest(name="tea", max_participants=9))
    assert (again.sid, again.max_participants) == (made.sid, 3)
    world.room("other")
    listed = await backend.room.list_rooms(api.ListRoomsRequest())
    assert {one.name for one in listed.rooms} == {"tea", "other"}
    some = await backend.room.list_rooms(api.ListRoomsRequest(names=["tea", "none"]))
    assert [one.name for one in some.rooms] == ["tea"]
    await backend.room.delete_room(api.DeleteRoomRequest(room="tea"))
    assert world.rooms.get("tea") is None
    with pytest.raises(api.TwirpError) as refused:
        await backend.room.delete_room(api.DeleteRoomRequest(room="tea"))
    assert (refused.value.code, refused.value.status) == ("not_found", 404)


async def test_participants_are_listed_changed_and_removed(backend: api.LiveKitAPI, world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada")
    who = api.RoomParticipantIdentity(room="tea", identity="ada")
    listed = await backend.room.list_participants(api.ListParticipantsRequest(room="tea"))
    assert [(one.identity, one.sid) for one in listed.participants] == [("ada", ada.sid)]
    nobody = await backend.room.list_participants(api.ListParticipantsRequest(room="none"))
    assert list(nobody.participants) == []
    change = api.UpdateParticipantRequest(room="tea", identity="ada", name="Ada", attributes={"a": "1"})
    changed = await backend.room.update_participant(change)
    assert (changed.name, dict(changed.attributes), changed.permission.can_publish) == (
        "Ada",
        {"a": "1"},
        True,
    )
    deaf = models.ParticipantPermission(can_publish=True)
    limit = api.UpdateParticipantRequest(room="tea", identity="ada", permission=deaf)
    assert not (await backend.room.update_participant(limit)).permission.can_subscribe
    assert (await backend.room.get_participant(who)).name == "Ada"
    await backend.room.remove_participant(who)
    assert seen(ada).closed == models.PARTICIPANT_REMOVED
    for call in (backend.room.get_participant, backend.room.remove_participant):
        with pytest.raises(api.TwirpError) as refused:
            await call(who)
        assert (refused.value.code, refused.value.message) == ("not_found", "participant does not exist")


async def test_tracks_are_muted_but_not_unmuted(backend: api.LiveKitAPI, world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada")
    track = published(room, ada)
    ask_for = api.MuteRoomTrackRequest(room="tea", identity="ada", track_sid=track.sid, muted=True)
    assert (await backend.room.mute_published_track(ask_for)).track.muted
    assert seen(ada).muted == [(track.sid, True)]
    ask_for.muted = False
    with pytest.raises(api.TwirpError) as refused:
        await backend.room.mute_published_track(ask_for)
    assert (refused.value.code, refused.value.status) == ("failed_precondition", 412)
    ask_for.track_sid = "TR_none"
    assert not (await backend.room.mute_published_track(ask_for)).HasField("track")


async def test_subscriptions_are_changed_within_what_is_allowed(
    backend: api.LiveKitAPI, world: World
) -> None:
    room = world.room()
    track = published(room, world.join(room, "ada"))
    bob, deaf = world.join(room, "bob"), world.join(room, "deaf", can_subscribe=False)

    async def change(who: Participant, *, wanted: bool) -> set[str]:
        request = api.UpdateSubscriptionsRequest(
            room="tea", identity=who.identity, track_sids=[track.sid, "TR_none"], subscribe=wanted
        )
        await backend.room.update_subscriptions(request)
        return seen(who).subscribed

    assert await change(bob, wanted=True) == {track.sid}
    assert await change(deaf, wanted=True) == set()
    assert await change(bob, wanted=False) == set()


async def test_data_is_sent_to_those_it_names(backend: api.LiveKitAPI, world: World) -> None:
    room = world.room()
    ada, bob = world.join(room, "ada"), world.join(room, "bob")
    said = api.SendDataRequest(room="tea", data=b"hi", topic="t", destination_identities=["bob"])
    await backend.room.send_data(said)
    assert seen(ada).packets == []
    assert [(one.user.payload, one.user.topic) for one in seen(bob).packets] == [(b"hi", "t")]


async def test_a_nonce_has_sixteen_bytes(url: str, world: World) -> None:
    world.room()
    status, said = await ask(url, "SendData", {"room": "tea", "data": "aGk=", "nonce": "aGk="})
    assert (status, said["code"]) == (400, "invalid_argument")
    assert "16-bytes or not present, got: 2" in said["msg"]


async def test_room_metadata_is_changed(backend: api.LiveKitAPI, world: World) -> None:
    room = world.room()
    ada = world.join(room, "ada")
    request = api.UpdateRoomMetadataRequest(room="tea", metadata="new")
    assert (await backend.room.update_room_metadata(request)).metadata == "new"
    assert seen(ada).sent[-1].room_update.room.metadata == "new"


async def test_json_answers_in_livekits_form(url: str, world: World) -> None:
    status, made = await ask(url, "CreateRoom", {"name": "tea", "unknown_field": 1})
    assert status == 200
    assert made["empty_timeout"] == 300
    assert made["num_participants"] == 0
    assert made["creation_time"] == str(int(world.time))


@pytest.mark.parametrize(
    ("method", "body", "status", "code"),
    [
        ("CreateRoom", {"name": "n" * 257}, 400, "invalid_argument"),
        ("CreateRoom", {"name": "a", "metadata": "m" * 300_000}, 400, "invalid_argument"),
        ("CreateRoom", {"name": "a", "agents": [{"agent_name": "x"}]}, 501, "unimplemented"),
        ("CreateRoom", {"name": "a", "egress": {"room": {"room_name": "a"}}}, 501, "unimplemented"),
        ("CreateRoom", {"name": "a", "sync_streams": True}, 501, "unimplemented"),
        ("RemoveParticipant", {"room": "tea", "identity": "x", "revoke_token_ts": 1}, 501, "unimplemented"),
        (
            "UpdateParticipant",
            {"room": "tea", "permission": {"can_subscribe_metrics": True}},
            501,
            "unimplemented",
        ),
        ("CreateRoom", {"name": "a", "empty_timeout": "seven"}, 400, "malformed"),
        ("ListRooms", b"{", 400, "malformed"),
        ("ListRooms", b"\xff", 400, "malformed"),
        ("ListRooms", b"[" * 100_000, 400, "malformed"),
        ("SendData", {"room": "tea", "data": "aGk="}, 404, "not_found"),
        ("UpdateRoomMetadata", {"room": "tea"}, 404, "not_found"),
        ("MutePublishedTrack", {"room": "tea", "identity": "x"}, 404, "not_found"),
        ("PerformRpc", {"room": "tea"}, 501, "unimplemented"),
        ("MoveParticipant", {"room": "tea"}, 501, "unimplemented"),
        ("Nothing", {}, 404, "bad_route"),
    ],
)
async def test_what_is_wrong_or_not_done_is_said_in_a_code(
    url: str, world: World, method: str, body: Any, status: int, code: str
) -> None:
    got, said = await ask(url, method, body)
    assert (got, said["code"]) == (status, code)
    assert list(world.rooms) == []


@pytest.mark.parametrize("service", ["Egress", "Ingress", "SIP", "AgentDispatchService"])
async def test_services_that_are_not_here_are_refused_with_a_sentence(url: str, service: str) -> None:
    status, said = await ask(url, "ListEgress", {}, service=service)
    assert (status, said["code"]) == (501, "unimplemented")
    assert f"has no {service}/ListEgress" in said["msg"]


@pytest.mark.parametrize(
    ("method", "grant"),
    [
        *[(name, "room_create") for name in ("CreateRoom", "DeleteRoom")],
        ("ListRooms", "room_list"),
        *[(name, "room_admin") for name in ("ListParticipants", "GetParticipant", "RemoveParticipant")],
        *[(name, "room_admin") for name in ("UpdateParticipant", "UpdateRoomMetadata", "SendData")],
        *[(name, "room_admin") for name in ("MutePublishedTrack", "UpdateSubscriptions")],
    ],
)
async def test_each_call_needs_its_grant(url: str, world: World, method: str, grant: str) -> None:
    room = world.room()
    ada = world.join(room, "ada")
    body = {"CreateRoom": {"name": "x"}, "ListRooms": {}}.get(method, {"room": "tea"})
    without: dict[str, Any] = {grant: False}
    assert await ask(url, method, body, **without) == (401, DENIED)
    if grant == "room_admin":
        assert await ask(url, method, body, room="other") == (401, DENIED)
    assert seen(ada).closed is None
    assert list(world.rooms) == [room]
    assert (await ask(url, method, body))[1] != DENIED


@pytest.mark.parametrize(
    ("verb", "kind", "body", "status", "code"),
    [
        ("GET", "application/json", b"", 404, "bad_route"),
        ("POST", "text/x", b"{}", 404, "bad_route"),
        ("POST", "application/json", b"{}", 401, "unauthenticated"),
        ("POST", "application/protobuf", b"\xff\xff", 400, "malformed"),
    ],
)
async def test_other_verbs_and_types_and_no_token_are_refused(
    url: str, verb: str, kind: str, body: bytes, status: int, code: str
) -> None:
    where, headers = f"{url}twirp/livekit.RoomService/ListRooms", {"Content-Type": kind}
    async with ClientSession() as http, http.request(verb, where, data=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (status, code)
