"""VP9 and AV1, one layer or several in a stream, and pictures that are sent on their side.

GREENROOM_FULL=1 tries every kind of layers in both signallings, else one of each codec.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import pytest
from livekit import rtc

from tests.conformance.cameras import publishing, viewing
from tests.conformance.stage import Stage, until

pytestmark = pytest.mark.integration

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
SIZE = (640, 360)
ONE = rtc.RoomOptions(single_peer_connection=True)
TWO = rtc.RoomOptions(single_peer_connection=False)
LAYERS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "simulcast": {"simulcast": True},  # of these codecs the SDK makes it layers in one stream
    "L2T1": {"scalability_mode": "L2T1"},
    "L3T3_KEY": {"scalability_mode": "L3T3_KEY"},
}
CASES = [
    pytest.param(codec, layers, options, id=f"{codec}, {layers}, {name}")
    for codec in ("VP9", "AV1")
    for layers in LAYERS
    for name, options in (("one connection", ONE), ("two connections", TWO))
    if IS_FULL or (codec, layers, options) in [("VP9", "simulcast", ONE), ("AV1", "L3T3_KEY", TWO)]
]


@pytest.mark.parametrize(("codec", "layers", "options"), CASES)
async def test_pictures_of_newer_codecs_come_in_full_size_to_who_is_there_and_who_joins_late(
    stage: Stage, codec: str, layers: str, options: rtc.RoomOptions
) -> None:
    bob, carol = rtc.Room(), rtc.Room()
    async with (
        viewing(bob) as seen,
        viewing(carol) as seen_late,
        publishing(await stage.join("alice", options=options)) as alice,
    ):
        await stage.join("bob", into=bob, options=options)
        camera = await alice.draw(size=SIZE, video_codec=rtc.VideoCodec.Value(codec), **LAYERS[layers])
        counters = await seen.sees(camera.sid, count=15)
        await stage.join("carol", into=carol, options=options)
        late = await seen_late.sees(camera.sid)
    assert all(later > earlier for earlier, later in pairwise(counters))
    assert late[0] >= counters[0] + 10
    for viewer in (seen, seen_late):
        assert None not in viewer.counters[camera.sid], "no picture is damaged"
        assert set(viewer.sizes[camera.sid]) == {SIZE}
    (track,) = (await stage.participants())["alice"].tracks
    assert (track.mime_type, track.simulcast) == (f"video/{codec}", False)


@pytest.mark.parametrize("turned", [1, 2, 3] if IS_FULL else [1])
async def test_a_picture_that_is_sent_on_its_side_is_shown_upright(stage: Stage, turned: int) -> None:
    bob = rtc.Room()
    async with viewing(bob) as seen, publishing(await stage.join("alice")) as alice:
        await stage.join("bob", into=bob)
        camera, unsaid = await alice.draw(turned=turned), await alice.draw(turned=turned, is_said=False)
        await seen.sees(camera.sid, count=10)
        await until(lambda: len(seen.counters.get(unsaid.sid, [])) >= 10)
    assert None not in seen.counters[camera.sid]
    assert set(seen.sizes[camera.sid]) == {(320, 180)}
    assert seen.read(unsaid.sid) == [], "nobody turns a picture of which nothing is said"
