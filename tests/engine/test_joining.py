"""What clients say in the URL that they join with, and what of it cannot be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from livekit.protocol import models, rtc

from engine.joining import read_join
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


async def test_a_bomb_is_not_unpacked(engine: RunningEngine) -> None:
    said = join_request(metadata="0" * 50_000_000)
    assert len(said) < 80_000
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await engine.connect("ada", f"/rtc/v1?join_request={said[:60_000]}")
    assert refused.value.status == 400
