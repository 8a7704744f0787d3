"""What clients say in the URL that they join with, and what of it cannot be read."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request
from livekit.protocol import models, rtc

from engine.joining import bring_along, read_join
from engine.limits import MOST_TEXT, JoinRefusedError
from tests.engine.clients import claims_for
from tests.engine.sessions import RunningEngine, join_request, running_engine


@pytest.fixture
async def engine() -> AsyncIterator[RunningEngine]:
    async with running_engine() as running:
        yield running


def test_v1_says_it_all_in_a_packed_message() -> None:
    said = join_request(
        client_info=models.ClientInfo(version="9"), connection_settings=rtc.ConnectionSettings()
    )
    join = read_join(make_mocked_request("GET", f"/rtc/v1?join_request={said}"))
    assert (join.is_single, join.request.client_info.version) == (True, "9")
    assert not join.request.connection_settings.auto_subscribe


@pytest.mark.parametrize(
    ("query", "wants_all", "protocol", "resumes"),
    [
        ({"protocol": "16", "auto_subscribe": "1"}, True, 16, False),
        ({"protocol": "\u00b2", "auto_subscribe": "0"}, False, 0, False),
        ({"reconnect": "1", "sid": "PA_1"}, True, 0, True),
    ],
)
def test_v0_says_it_in_its_query(
    query: dict[str, str], wants_all: bool, protocol: int, resumes: bool
) -> None:
    join = read_join(make_mocked_request("GET", f"/rtc?{urlencode(query)}"))
    assert not join.is_single
    assert join.request.connection_settings.auto_subscribe == wants_all
    assert join.request.client_info.protocol == protocol
    assert join.request.reconnect == resumes


@pytest.mark.parametrize("said", ["%%%", "AAAA", "a", join_request()[:-9], "x" * 9_000])
async def test_a_join_that_cannot_be_read_is_refused_with_400(engine: RunningEngine, said: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await engine.connect("ada", f"/rtc/v1?join_request={said}")
    assert refused.value.status == 400
    assert engine.world.names() == ["room_started"]


def test_v0_says_what_it_can_and_its_attributes_too() -> None:
    attributes = base64.urlsafe_b64encode(b'{"a":"1"}').decode()
    said = {
        "client_protocol": "1",
        "capabilities": "CAP_PACKET_TRAILER,CAP_OF_NOBODY",
        "attributes": attributes,
    }
    join = read_join(make_mocked_request("GET", f"/rtc?{urlencode(said)}")).request
    client = join.client_info
    assert (client.client_protocol, list(client.capabilities)) == (1, [models.ClientInfo.CAP_PACKET_TRAILER])
    assert join.participant_attributes == {"a": "1"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("attributes=%25%25", 400),
        ("attributes=WzFd", 400),
        ("protocol=1" + "0" * 30, 0),
        ("publish=cam", 501),
    ],
)
def test_v0_is_refused_with_a_status(query: str, status: int) -> None:
    request = make_mocked_request("GET", f"/rtc?{query}")
    if not status:
        assert read_join(request).request.client_info.protocol == 0
        return
    with pytest.raises(JoinRefusedError) as refused:
        read_join(request)
    assert refused.value.status == status


def test_what_comes_along_is_added_to_what_the_token_says() -> None:
    claims = claims_for("ada", can_update_own_metadata=True)
    claims = msgspec.structs.replace(claims, metadata="m", attributes={"a": "1", "b": "1"})
    brought = bring_along(claims, rtc.JoinRequest(participant_attributes={"a": "2", "b": ""}))
    assert (brought.metadata, brought.attributes) == ("m", {"a": "2", "b": "1"})
    assert bring_along(claims, rtc.JoinRequest(metadata="n")).metadata == "n"
    held = claims_for("ada")
    assert bring_along(held, rtc.JoinRequest()) == held


@pytest.mark.parametrize("of_token", [False, True])
def test_more_than_is_kept_is_refused(of_token: bool) -> None:
    claims, much = claims_for("ada", can_update_own_metadata=True), "m" * (MOST_TEXT + 1)
    if of_token:
        claims = msgspec.structs.replace(claims, metadata=much)
    with pytest.raises(JoinRefusedError, match="262144 are allowed") as refused:
        bring_along(claims, rtc.JoinRequest(metadata="" if of_token else much))
    assert refused.value.status == 400


async def test_a_bomb_is_not_unpacked(engine: RunningEngine) -> None:
    said = join_request(metadata="0" * 50_000_000)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await engine.connect("ada", f"/rtc/v1?join_request={said}")
    assert refused.value.status == 400
