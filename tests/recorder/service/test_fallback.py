"""Going over from encoded to decoded capture, for some tracks or for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from recorder.core.errors import PassthroughUnfitError, RemovedFromRoomError
from recorder.ports import FrameSink, SourceTrackId
from recorder.service.fallback import FallingBack
from vault.core.manifest import CaptureMode

VP9 = SourceTrackId("TR_vp9")


class Source:
    """A source that captures until it is told how to end."""

    def __init__(self, mode: CaptureMode, *ends: Exception | None) -> None:
        self.mode: CaptureMode = mode
        self.ends = list(ends)
        self.captures = 0
        self.live = 0
        self.keyframes = 0
        self.chosen: list[frozenset[SourceTrackId] | None] = []
        self.on_left: Callable[[Mapping[SourceTrackId, str]], None] = lambda _: None

    def choose(self, track_ids: frozenset[SourceTrackId] | None) -> None:
        self.chosen.append(track_ids)

    def want_keyframes(self) -> None:
        self.keyframes += 1

    async def capture(self, sink: FrameSink) -> None:
        self.captures += 1
        self.live += 1
        try:
            if not self.ends:
                await asyncio.Event().wait()
            elif (error := self.ends.pop(0)) is not None:
                raise error
        finally:
            self.live -= 1


SINK: FrameSink = None  # type: ignore[assignment]


async def turns() -> None:
    """Let the tasks run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_source_is_enough_when_it_is_fit() -> None:
    second = Source("decoded")
    source = FallingBack(Source("passthrough", None), second)
    await source.capture(SINK)
    assert (source.mode, second.captures) == ("passthrough", 0)


async def test_one_track_that_is_left_out_is_taken_beside_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = Source("passthrough"), Source("decoded")
    source = FallingBack(first, second)
    capturing = asyncio.create_task(source.capture(SINK))
    await turns()
    assert (first.live, second.live, source.mode) == (1, 0, "passthrough")
    first.on_left({VP9: "comes as video/VP9"})
    await turns()
    assert (first.live, second.live, source.mode) == (1, 1, "decoded")
    assert second.chosen == [frozenset({VP9})]
    assert "TR_vp9" in caplog.text
    assert "video/VP9" in caplog.text
    source.want_keyframes()
    assert (first.keyframes, second.keyframes) == (1, 1)
    first.on_left({})  # it was unpublished
    await turns()
    assert second.chosen[-1] == frozenset()
    assert (first.live, second.live, source.mode) == (1, 1, "decoded")
    capturing.cancel()
    await asyncio.wait({capturing})
    assert (first.live, second.live) == (0, 0)


async def test_an_unfit_one_gives_way_and_the_mode_says_so(caplog: pytest.LogCaptureFixture) -> None:
    first, second = Source("passthrough", PassthroughUnfitError("there is no UDP")), Source("decoded", None)
    source = FallingBack(first, second)
    assert source.mode == "passthrough"
    await source.capture(SINK)
    assert (source.mode, second.captures, second.chosen) == ("decoded", 1, [None])
    assert "there is no UDP" in caplog.text
    source.want_keyframes()
    assert (first.keyframes, second.keyframes) == (0, 1)


async def test_where_nobody_can_come_beside_everything_is_decoded() -> None:
    first, second = Source("passthrough"), Source("decoded", PassthroughUnfitError("no token"), None)
    source = FallingBack(first, second)
    capturing = asyncio.create_task(source.capture(SINK))
    first.on_left({VP9: "comes as video/VP9"})
    await capturing
    assert (first.live, second.captures, second.chosen[-1]) == (0, 2, None)


@pytest.mark.parametrize("which", [0, 1])
async def test_other_ends_of_either_pass(which: int) -> None:
    sources = [Source("passthrough"), Source("decoded")]
    sources[which].ends = [RemovedFromRoomError("out")]
    source = FallingBack(*sources)
    sources[0].on_left({VP9: "comes as video/VP9"})
    with pytest.raises(RemovedFromRoomError):
        await source.capture(SINK)
    assert [one.live for one in sources] == [0, 0]
