"""A page in Chromium with LiveKit's client for browsers meets a participant of the Python SDK in a room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from livekit import api, rtc

from tests.conformance.cameras import publishing, viewing
from tests.conformance.pages import Guest, browser_here, open_page
from tests.conformance.stage import Stage, eventually, until

pytestmark = pytest.mark.integration


@pytest.fixture
async def guest() -> AsyncIterator[Guest]:
    async with browser_here() as browser, open_page(browser) as page:
        yield page


@pytest.mark.parametrize("is_single", [True, False], ids=["one connection", "two connections"])
async def test_pictures_sound_data_calls_and_texts_go_both_ways(
    stage: Stage, guest: Guest, *, is_single: bool
) -> None:
    alice_room, got = rtc.Room(), list[tuple[bytes, str | None]]()
    alice_room.on("data_received", lambda packet: got.append((packet.data, packet.topic)))
    async with viewing(alice_room) as seen, publishing(await stage.join("alice", into=alice_room)) as alice:
        camera, microphone = await alice.film(first=1_000), await alice.hum(hz=600)
        joined = await guest.do(
            "join", stage.engine.url, stage.token("page"), {"singlePeerConnection": is_single}
        )
        assert joined["others"] == ["alice"]
        assert joined["sid"] == (await stage.here("alice", "page"))["page"].sid
        assert min(await guest.sees(camera.sid)) >= 1_000
        await guest.hears(microphone.sid, 600)
        canvas, tone = await guest.do("film", {"simulcast": False}), await guest.do("hum", 900)
        counters = await seen.sees(canvas, count=10)
        assert all(later >= earlier for earlier, later in pairwise(counters))
        await seen.hears(tone, 900)
        await alice.room.local_participant.publish_data(b"from alice", topic="t")
        await guest.do("send", "from the page", "t", ["alice"])
        await until(lambda: (b"from the page", "t") in got, lambda: got)
        assert await eventually(lambda: noted(guest, "data")) == [["from alice", "alice", "t"]]
        await call_and_talk(alice.room, guest)


async def noted(guest: Guest, what: str) -> list[object] | None:
    return await guest.seen(what) or None


async def call_and_talk(alice: rtc.Room, guest: Guest) -> None:
    """Remote calls and long texts, from either side."""
    texts: list[tuple[str, str]] = []
    reading: list[asyncio.Task[None]] = []

    async def read(reader: rtc.TextStreamReader, who: str) -> None:
        texts.append((await reader.read_all(), who))

    async def triple(call: rtc.RpcInvocationData) -> str:
        return str(3 * int(call.payload))

    alice.register_text_stream_handler(
        "chat", lambda reader, who: reading.append(asyncio.create_task(read(reader, who)))
    )
    alice.local_participant.register_rpc_method("triple", triple)
    async with asyncio.timeout(60):
        assert await guest.do("call", "alice", "triple", "14") == "42"
        doubled = await alice.local_participant.perform_rpc(
            destination_identity="page", method="double", payload="21"
        )
        assert doubled == "42"
        text = "größer als ein Paket " * 2_000
        await guest.do("say", text)
        await until(lambda: texts, lambda: texts)
        assert texts == [(text, "page")]
        await alice.local_participant.send_text(text, topic="chat")
        assert await eventually(lambda: noted(guest, "texts")) == [[text, "alice"]]
        await asyncio.gather(*reading)


async def test_of_a_page_s_simulcast_the_top_layer_comes_and_its_mute_is_told(
    stage: Stage, guest: Guest
) -> None:
    alice, muted = rtc.Room(), list[str]()
    alice.on("track_muted", lambda who, publication: muted.append(publication.sid))
    async with viewing(alice) as seen:
        await stage.join("alice", into=alice)
        await guest.do("join", stage.engine.url, stage.token("page"), {})
        canvas = await guest.do("film", {"simulcast": True})
        await until(lambda: (640, 360) in seen.sizes.get(canvas, []), lambda: set(seen.sizes.get(canvas, [])))
        await seen.sees(canvas, count=10)
        assert seen.sizes[canvas][-1] == (640, 360)
        await guest.do("mute", canvas)
        await until(lambda: muted == [canvas])


async def test_why_a_page_is_refused_and_how_its_stay_ends_is_told(stage: Stage, guest: Guest) -> None:
    secret = "another-secret-of-more-than-32-letters"
    refused = await guest.do("tryJoin", stage.engine.url, stage.token("page", secret=secret))
    assert refused["status"] == 401
    refused = await guest.do("tryJoin", stage.engine.url, stage.token("page", room="of-nobody"))
    assert refused["status"] == 404
    await stage.join("alice")
    await guest.do("join", stage.engine.url, stage.token("page"), {})
    await stage.here("alice", "page")
    await stage.rooms.remove_participant(api.RoomParticipantIdentity(room=stage.name, identity="page"))
    assert await eventually(lambda: noted(guest, "left")) == [rtc.DisconnectReason.PARTICIPANT_REMOVED]
    await guest.do("join", stage.engine.url, stage.token("page"), {})
    await stage.here("alice", "page")
    await guest.do("leave")
    await stage.here("alice")
    await guest.do("join", stage.engine.url, stage.token("page"), {})
    await stage.here("alice", "page")
    await guest.reload()
    await stage.here("alice")
