"""The room service over HTTP: both encodings, its errors, and whom it lets call what."""

from __future__ import annotations

import base64
import json
from typing import Any

import aiohttp
import pytest
from livekit import api
from livekit.protocol import room as rooms_proto

from tests.conformance.differences import livekit_does
from tests.conformance.stage import Stage

pytestmark = pytest.mark.integration

JSON = "application/json"
PROTOBUF = "application/protobuf"


def admin(stage: Stage, **grants: Any) -> str:
    token = api.AccessToken(stage.engine.api_key, stage.engine.api_secret)
    return token.with_grants(api.VideoGrants(**grants)).to_jwt()


async def call(
    stage: Stage,
    method: str,
    body: bytes | dict[str, Any],
    *,
    token: str | None = None,
    content_type: str = JSON,
    verb: str = "POST",
) -> tuple[int, bytes]:
    """Call a method; by default with every grant that there is."""
    if token is None:
        token = admin(stage, room_create=True, room_list=True, room_admin=True, room=stage.name)
    headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"{stage.engine.http}/twirp/livekit.RoomService/{method}"
    async with aiohttp.ClientSession() as http, http.request(verb, url, data=data, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_json_is_answered_in_json_with_the_names_of_the_proto_file(stage: Stage) -> None:
    status, body = await call(stage, "CreateRoom", {"name": stage.name, "emptyTimeout": 9})
    assert status == 200
    room = json.loads(body)
    assert (room["name"], room["empty_timeout"], room["departure_timeout"]) == (stage.name, 60, 60)
    assert isinstance(room["creation_time"], str), "protojson writes 64 bits as text"
    status, body = await call(stage, "ListParticipants", {"room": stage.name})
    assert (status, json.loads(body)) == (200, {"participants": []})


async def test_fields_that_are_not_known_are_passed_over(stage: Stage) -> None:
    status, body = await call(stage, "ListRooms", {"names": [stage.name], "of_a_later_version": 1})
    assert status == 200
    assert [room["name"] for room in json.loads(body)["rooms"]] == [stage.name]


async def test_protobuf_is_answered_in_protobuf(stage: Stage) -> None:
    asked = rooms_proto.ListRoomsRequest(names=[stage.name]).SerializeToString()
    status, body = await call(stage, "ListRooms", asked, content_type=PROTOBUF)
    assert status == 200
    assert [room.name for room in rooms_proto.ListRoomsResponse.FromString(body).rooms] == [stage.name]


@pytest.mark.parametrize(
    ("status", "code", "given"),
    [
        pytest.param(400, "malformed", {"body": b"{"}, id="no JSON"),
        pytest.param(400, "malformed", {"body": b"\xff\xff", "content_type": PROTOBUF}, id="no protobuf"),
        pytest.param(404, "bad_route", {"content_type": "text/plain"}, id="neither of the encodings"),
        pytest.param(404, "bad_route", {"method": "Nonsense"}, id="no such method"),
        pytest.param(404, "bad_route", {"verb": "GET"}, id="not a POST"),
        pytest.param(401, "unauthenticated", {"token": ""}, id="no token"),
    ],
)
async def test_what_is_no_call_is_refused(
    stage: Stage, status: int, code: str, given: dict[str, Any]
) -> None:
    found, body = await call(stage, **({"method": "ListRooms", "body": b"{}"} | given))
    assert (found, json.loads(body)["code"]) == (status, code)


async def test_a_token_of_another_secret_is_refused_without_being_repeated(stage: Stage) -> None:
    made = api.AccessToken(stage.engine.api_key, "another-secret-of-more-than-32-letters")
    token = made.with_grants(api.VideoGrants(room_list=True)).to_jwt()
    status, body = await call(stage, "ListRooms", {}, token=token)
    assert status == 401
    assert (token.encode() in body) is livekit_does(stage.engine, "token repeated")


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ("CreateRoom", {"room_create": True}),
        ("DeleteRoom", {"room_create": True}),
        ("ListRooms", {"room_list": True}),
        ("ListParticipants", {"room_admin": True}),
        ("UpdateRoomMetadata", {"room_admin": True}),
    ],
)
async def test_each_method_needs_its_own_grant(stage: Stage, method: str, needs: dict[str, bool]) -> None:
    body = {"name": stage.name, "room": stage.name}
    everything = ("room_create", "room_list", "room_admin", "room_join")
    others: dict[str, Any] = {name: name not in needs for name in everything}
    token = stage.token("alice", **others)
    assert (await call(stage, method, body, token=token))[0] == 401
    if "room_admin" in needs:
        elsewhere = admin(stage, room_admin=True, room="another-room")
        assert (await call(stage, method, body, token=elsewhere))[0] == 401
    assert (await call(stage, method, body, token=admin(stage, **needs, room=stage.name)))[0] == 200


@pytest.mark.parametrize("method", ["GetParticipant", "RemoveParticipant", "UpdateParticipant"])
@pytest.mark.parametrize("is_room_there", [True, False], ids=["nobody", "no room"])
async def test_who_is_not_there_is_not_found(stage: Stage, method: str, *, is_room_there: bool) -> None:
    room = stage.name if is_room_there else "of-nobody"
    body = {"room": room, "identity": "nobody"}
    status, answer = await call(stage, method, body, token=admin(stage, room_admin=True, room=room))
    assert (status, json.loads(answer)["code"]) == (404, "not_found")


async def test_a_room_that_is_not_there_has_no_participants(stage: Stage) -> None:
    token = admin(stage, room_admin=True, room="of-nobody")
    assert await call(stage, "ListParticipants", {"room": "of-nobody"}, token=token) == (
        200,
        b'{"participants":[]}',
    )
    status, answer = await call(
        stage, "UpdateRoomMetadata", {"room": "of-nobody", "metadata": "x"}, token=token
    )
    assert (status, json.loads(answer)["code"]) == (404, "not_found")


async def test_calls_to_somebody_who_is_not_there_fail(stage: Stage) -> None:
    muting = {"room": stage.name, "identity": "nobody", "track_sid": "TR_none", "muted": True}
    status, answer = await call(stage, "MutePublishedTrack", muting)
    expected = (503, "unavailable") if livekit_does(stage.engine, "nobody there") else (404, "not_found")
    assert (status, json.loads(answer)["code"]) == expected


async def test_data_to_an_empty_room_is_taken(stage: Stage) -> None:
    body = {"room": stage.name, "data": base64.b64encode(b"hi").decode(), "kind": "RELIABLE"}
    assert await call(stage, "SendData", body) == (200, b"{}")
