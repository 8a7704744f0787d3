"""Going over from encoded to decoded capture."""

from __future__ import annotations

import pytest

from recorder.core.errors import PassthroughUnfitError, RemovedFromRoomError
from recorder.ports import FrameSink
from recorder.service.fallback import FallingBack
from vault.core.manifest import CaptureMode


class Source:
    """A source that ends at once, as it is told."""

    def __init__(self, mode: CaptureMode, error: Exception | None = None) -> None:
        self.mode: CaptureMode = mode
        self.error = error
        self.captures = 0
        self.keyframes = 0

    def want_keyframes(self) -> None:
        self.keyframes += 1

    async def capture(self, sink: FrameSink) -> None:
        self.captures += 1
        if self.error is not None:
            raise self.error


async def test_the_first_source_is_enough_when_it_is_fit() -> None:
    second = Source("decoded")
    source = FallingBack(Source("passthrough"), second)
    await source.capture(None)  # type: ignore[arg-type]
    assert (source.mode, second.captures) == ("passthrough", 0)


async def test_keyframes_are_wanted_of_the_source_in_use() -> None:
    first, second = Source("passthrough", PassthroughUnfitError("no UDP")), Source("decoded")
    source = FallingBack(first, second)
    source.want_keyframes()
    await source.capture(None)  # type: ignore[arg-type]
    source.want_keyframes()
    assert (first.keyframes, second.keyframes) == (1, 1)


async def test_an_unfit_one_gives_way_and_the_mode_says_so(caplog: pytest.LogCaptureFixture) -> None:
    second = Source("decoded")
    source = FallingBack(
        Source("passthrough", PassthroughUnfitError("track TR_1 comes as video/vp9")), second
    )
    assert source.mode == "passthrough"
    await source.capture(None)  # type: ignore[arg-type]
    assert (source.mode, second.captures) == ("decoded", 1)
    assert "video/vp9" in caplog.text


async def test_other_ends_pass() -> None:
    source = FallingBack(Source("passthrough", RemovedFromRoomError("out")), Source("decoded"))
    with pytest.raises(RemovedFromRoomError):
        await source.capture(None)  # type: ignore[arg-type]
