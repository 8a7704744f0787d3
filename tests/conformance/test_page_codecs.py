"""A page in Chromium chooses the codec of what it publishes; the SDK and another page see it.

GREENROOM_FULL=1 tries every kind of layers in both signallings, else what pages choose by themselves.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from livekit import rtc
from livekit.protocol import models

from tests.conformance.cameras import publishing, viewing
from tests.conformance.differences import livekit_does
from tests.conformance.pages import Guest, browser_here, open_page
from tests.conformance.stage import Stage, eventually, until

pytestmark = pytest.mark.integration

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
BY_THEMSELVES: list[dict[str, Any]] = [
    {"videoCodec": "vp9"},
    {"videoCodec": "av1"},
]  # L3T3_KEY, with VP8 in reserve
CASES: dict[str, list[dict[str, Any]]] = {
    "as they are": BY_THEMSELVES,
    "nothing in reserve": [{**one, "backupCodec": False} for one in BY_THEMSELVES],
    "one layer": [{**one, "scalabilityMode": "L1T3"} for one in BY_THEMSELVES],
    "layers that need each other": [{**one, "scalabilityMode": "L3T1"} for one in BY_THEMSELVES],
    "older ones": [{"videoCodec": "vp8", "simulcast": False}, {"videoCodec": "h264", "simulcast": False}],
}
HAVE_LAYERS = ("as they are", "nothing in reserve", "layers that need each other")
SIGNALLINGS = {"one connection": True, "two connections": False}


@pytest.fixture
async def pages() -> AsyncIterator[tuple[Guest, Guest]]:
    async with browser_here() as browser, open_page(browser) as one, open_page(browser) as other:
        yield one, other


@pytest.mark.parametrize("signalling", list(SIGNALLINGS)[: 2 if IS_FULL else 1])
@pytest.mark.parametrize("case", list(CASES)[: len(CASES) if IS_FULL else 1])
async def test_a_page_publishes_the_codec_that_it_names(
    stage: Stage, pages: tuple[Guest, Guest], case: str, signalling: str
) -> None:
    alice, (page, other) = rtc.Room(), pages
    options: Any = {"singlePeerConnection": SIGNALLINGS[signalling]}
    async with viewing(alice) as seen:
        await stage.join("alice", into=alice)
        await page.do("join", stage.engine.url, stage.token("page"), options)
        sids = {await page.do("film", one): one["videoCodec"] for one in CASES[case]}
        first = {sid: (await seen.sees(sid, count=10))[0] for sid in sids}
        if case in HAVE_LAYERS:  # of one the browser makes the size as it can
            await until(lambda: all((640, 360) in seen.sizes[sid] for sid in sids), lambda: seen.sizes)
        await other.do("join", stage.engine.url, stage.token("other"), options)
        for sid in sids:
            assert min(await other.sees(sid)) > first[sid]
            assert all(later >= earlier for earlier, later in pairwise(seen.read(sid)))
        told = {track.sid: track.mime_type.lower() for track in (await stage.participants())["page"].tracks}
    assert told == {sid: f"video/{codec}" for sid, codec in sids.items()}


if IS_FULL:  # a test that is there and skipped fails in CI
    # What a page shows of its like is held above.
    @pytest.mark.parametrize("mode", ["L1T1", "L3T3_KEY", "L3T1"])
    @pytest.mark.parametrize("codec", ["VP9", "AV1"])
    async def test_a_page_shows_what_the_sdk_publishes(
        stage: Stage, pages: tuple[Guest, Guest], codec: str, mode: str
    ) -> None:
        page, _ = pages
        async with publishing(await stage.join("alice")) as alice:
            kind = rtc.VideoCodec.Value(codec)
            camera = await alice.draw(size=(640, 360), video_codec=kind, scalability_mode=mode)
            await page.do("join", stage.engine.url, stage.token("page"), {})
            await page.sees(camera.sid)

    # Without it tests/conformance/test_codecs.py holds it of the SDK alone.
    async def test_a_page_shows_upright_what_is_sent_on_its_side(
        stage: Stage, pages: tuple[Guest, Guest]
    ) -> None:
        page, _ = pages
        async with publishing(await stage.join("alice")) as alice:
            camera = await alice.draw(turned=1)
            await page.do("join", stage.engine.url, stage.token("page"), {})
            await page.sees(camera.sid)

    # Both engines leave it to the browser.
    async def test_of_frames_that_a_page_made_itself_those_on_their_side_are_not_sent(
        stage: Stage, pages: tuple[Guest, Guest]
    ) -> None:
        """Chromium drops them where the header extension that says it is not taken: on either engine."""
        page, _ = pages
        alice = rtc.Room()
        async with viewing(alice) as seen:
            await stage.join("alice", into=alice)
            await page.do("join", stage.engine.url, stage.token("page"), {})
            turned, upright = await page.do("filmFrames", 90), await page.do("filmFrames", 0)
            await until(lambda: len(seen.counters.get(upright, [])) >= 20)
            assert seen.counters.get(turned) == []


@pytest.mark.parametrize("signalling", list(SIGNALLINGS)[: 2 if IS_FULL else 1])
async def test_who_has_no_decoder_is_told_and_sees_the_rest(
    stage: Stage, pages: tuple[Guest, Guest], signalling: str
) -> None:
    page, other = pages
    options: Any = {"singlePeerConnection": SIGNALLINGS[signalling]}
    await page.do("decodeNo", "video/VP9")
    await page.do("join", stage.engine.url, stage.token("page"), options)
    async with publishing(await stage.join("alice")) as alice:
        unseen = await alice.draw(video_codec=rtc.VideoCodec.VP9)
        told = [[unseen.sid, "alice", models.SubscriptionError.SE_CODEC_UNSUPPORTED]]
        await until_seen(page, "failed", told)
        await page.sees((await alice.draw()).sid)
    assert await page.do("look", unseen.sid) is None
    await other.do("join", stage.engine.url, stage.token("other"), options)
    with_reserve = await other.do("film", {"videoCodec": "vp9"})
    if livekit_does(stage.engine, "codec in reserve"):
        await page.sees(with_reserve)
    else:
        told.append([with_reserve, "other", models.SubscriptionError.SE_CODEC_UNSUPPORTED])
        await until_seen(page, "failed", told)


async def until_seen(page: Guest, what: str, expected: list[list[Any]]) -> None:
    """Wait until a page has noted this."""

    async def look() -> bool | None:
        return await page.seen(what) == expected or None

    await eventually(look)
