"""A page in Chromium chooses the codec of what it publishes; the SDK and another page see it.

GREENROOM_FULL=1 tries every codec in both signallings, else one.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import pytest
from livekit import rtc

from tests.conformance.cameras import viewing
from tests.conformance.pages import browser_here, open_page
from tests.conformance.stage import Stage

pytestmark = pytest.mark.integration

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
CASES = [
    pytest.param(options, is_single, id=f"{options}, {'one connection' if is_single else 'two connections'}")
    for options in (
        {"videoCodec": "vp9"},
        {"videoCodec": "vp9", "backupCodec": False},
        {"videoCodec": "vp9", "scalabilityMode": "L1T3"},
        {"videoCodec": "h264"},
    )
    for is_single in (True, False)
    if IS_FULL or (options, is_single) == ({"videoCodec": "vp9"}, True)
]


@pytest.mark.parametrize(("options", "is_single"), CASES)
async def test_a_page_publishes_the_codec_that_it_names(
    stage: Stage, options: dict[str, Any], *, is_single: bool
) -> None:
    alice, signalling = rtc.Room(), {"singlePeerConnection": is_single}
    async with browser_here() as browser, open_page(browser) as page, open_page(browser) as other:
        async with viewing(alice) as seen:
            await stage.join("alice", into=alice)
            await page.do("join", stage.engine.url, stage.token("page"), signalling)
            canvas = await page.do("film", options)
            counters = await seen.sees(canvas, count=15)
            await other.do("join", stage.engine.url, stage.token("other"), signalling)
            late = await other.sees(canvas)
        told = (await stage.participants())["page"].tracks
    assert all(later >= earlier for earlier, later in pairwise(counters))
    assert late[0] > counters[0]
    assert seen.sizes[canvas][-1] == (640, 360)
    assert [track.mime_type.lower() for track in told] == [f"video/{options['videoCodec']}"]
