"""Takes a room's media as it is, or decoded where that cannot be. Source: recording.md §1."""

from __future__ import annotations

import logging

from recorder.core.errors import PassthroughUnfitError
from recorder.ports import FrameSink, TrackSource
from vault.core.manifest import CaptureMode

_log = logging.getLogger("greenroom.recorder")


class FallingBack:
    """A `TrackSource` that goes over to a second one when the first finds itself unfit; it stays there."""

    def __init__(self, first: TrackSource, second: TrackSource) -> None:
        self._current = first
        self._second = second

    @property
    def mode(self) -> CaptureMode:
        """How the media is taken now."""
        return self._current.mode

    def want_keyframes(self) -> None:
        """Pass it on to the source in use."""
        self._current.want_keyframes()

    async def capture(self, sink: FrameSink) -> None:
        """Hand everything over, by the first source or the second."""
        try:
            await self._current.capture(sink)
        except PassthroughUnfitError as error:
            _log.warning("recording goes on decoded, because %s", error)
            self._current = self._second
            await self._second.capture(sink)
