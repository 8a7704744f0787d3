"""Join tokens: which are let in, with which status the others are refused, and what comes with a join."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import jwt
import pytest
from livekit import rtc

from tests.conformance.differences import livekit_does
from tests.conformance.stage import Stage, until

pytestmark = pytest.mark.integration

OTHER_SECRET = "a-secret-of-somebody-else-that-is-long-enough"


def sign(stage: Stage, *, algorithm: str = "HS256", **claims: Any) -> str:
    """Sign claims as they are; those of None are left out."""
    now = int(time.time())
    plain = {
        "iss": stage.engine.api_key,
        "sub": "alice",
        "nbf": now,
        "exp": now + 600,
        "video": {"roomJoin": True, "room": stage.name},
    }
    kept = {name: value for name, value in (plain | claims).items() if value is not None}
    return jwt.encode(kept, stage.engine.api_secret if algorithm != "none" else "", algorithm=algorithm)


async def validate(
    stage: Stage, token: str, *, in_query: bool = False, origin: str = ""
) -> tuple[int, str, dict[str, str]]:
    headers = {} if in_query or not token else {"Authorization": f"Bearer {token}"}
    if origin:
        headers["Origin"] = origin
    query = {"access_token": token} if in_query else {}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{stage.engine.http}/rtc/validate", headers=headers, params=query) as answer,
    ):
        return answer.status, await answer.text(), dict(answer.headers)


async def test_a_good_token_is_let_in_by_header_and_by_query(stage: Stage) -> None:
    assert (await validate(stage, sign(stage)))[:2] == (200, "success")
    assert (await validate(stage, sign(stage), in_query=True))[:2] == (200, "success")


@pytest.mark.parametrize(
    ("status", "claims"),
    [
        pytest.param(200, {"exp": -30}, id="expired within the minute that clocks may differ"),
        pytest.param(401, {"exp": -120}, id="expired"),
        pytest.param(200, {"nbf": 30}, id="valid in half a minute"),
        pytest.param(401, {"nbf": 120}, id="valid in two minutes"),
        pytest.param(401, {"iss": "another-key"}, id="of a key that is not there"),
        pytest.param(401, {"video": {"room": "here"}}, id="without roomJoin"),
        pytest.param(401, {"video": {"roomAdmin": True, "room": "here"}}, id="an admin's"),
        pytest.param(400, {"video": {"roomJoin": True}}, id="of no room"),
        pytest.param(400, {"sub": None}, id="of nobody"),
        pytest.param(
            404, {"video": {"roomJoin": True, "room": "of-nobody"}}, id="of a room that is not there"
        ),
        pytest.param(401, {"algorithm": "none"}, id="not signed"),
        pytest.param(401, {"algorithm": "HS384"}, id="signed in another way"),
    ],
)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")  # HS384 with our key
async def test_each_token_has_its_status(stage: Stage, status: int, claims: dict[str, Any]) -> None:
    given = dict(claims)
    for name in ("exp", "nbf"):
        if name in given:
            given[name] += int(time.time())
    if given.get("video", {}).get("room") == "here":
        given["video"] = given["video"] | {"room": stage.name}
    assert (await validate(stage, sign(stage, **given)))[0] == status


@pytest.mark.parametrize("token", ["", "garbage", "a.b.c"])
async def test_what_is_no_token_is_refused(stage: Stage, token: str) -> None:
    assert (await validate(stage, token))[0] == 401


async def test_a_page_of_another_origin_may_ask_and_join(stage: Stage) -> None:
    status, _, headers = await validate(stage, sign(stage), in_query=True, origin="http://example.org")
    assert status == 200
    assert headers["Access-Control-Allow-Origin"] in ("*", "http://example.org")


async def test_a_refusal_says_why_without_the_token(stage: Stage) -> None:
    token = stage.token("alice", secret=OTHER_SECRET)
    status, said, _ = await validate(stage, token)
    assert status == 401
    assert said
    assert (token in said) is livekit_does(stage.engine, "token repeated")


@pytest.mark.parametrize(
    ("status", "given"),
    [
        ("401", {"secret": OTHER_SECRET}),
        ("401", {"key": "another-key"}),
        ("401", {"ttl_s": -120}),
        ("401", {"room_join": False}),
        ("404", {"room": "of-nobody"}),
    ],
    ids=["wrong secret", "wrong key", "expired", "no roomJoin", "no such room"],
)
async def test_the_sdk_sees_the_same_status(stage: Stage, status: str, given: dict[str, Any]) -> None:
    with pytest.raises(rtc.ConnectError, match=rf"\b{status}\b"):
        await stage.join("alice", **given)
    assert await stage.participants() == {}


async def test_a_token_opens_its_own_room_only(stage: Stage) -> None:
    other = await stage.make_room()
    alice = await stage.join("alice", room=other.name)
    assert alice.name == other.name
    assert await stage.participants() == {}


async def test_a_token_with_no_end_is_taken(stage: Stage) -> None:
    alice = await stage.join("alice", jwt=sign(stage, exp=None))
    assert alice.local_participant.identity == "alice"


async def test_a_refreshed_token_says_what_the_first_said_and_opens_the_room(stage: Stage) -> None:
    attributes = {"greenroom.role": "client", "greenroom.session": "s1"}
    given = stage.token("alice", name="Alice", metadata="{}", attributes=attributes, can_publish=False)
    alice = await stage.join("alice", jwt=given)
    await until(lambda: alice._token != given)
    claims = jwt.decode(
        str(alice._token),
        stage.engine.api_secret,
        algorithms=["HS256"],
        issuer=stage.engine.api_key,
        leeway=5,
    )
    assert claims["sub"] == "alice"
    assert (claims["name"], claims["metadata"], claims["attributes"]) == ("Alice", "{}", attributes)
    video = claims["video"]
    assert (video["roomJoin"], video["room"], video["canPublish"]) == (True, stage.name, False)
    assert claims["exp"] > time.time() + 60
    await alice.disconnect()
    again = await stage.join("alice", jwt=str(alice._token))
    assert again.local_participant.attributes == attributes
    assert not again.local_participant.permissions.can_publish
