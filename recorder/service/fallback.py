"""Takes a room's media as it is, and decoded where that cannot be: by tracks. Source: recording.md §1."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from recorder.core.errors import PassthroughUnfitError
from recorder.ports import ChoosingSource, FrameSink, LeavingSource, SourceTrackId
from vault.core.manifest import CaptureMode

_log = logging.getLogger("greenroom.recorder")


class FallingBack:
    """A `TrackSource` of two: the second takes the tracks that the first leaves out, beside it.

    When the first finds itself unfit as a whole, the second takes everything and stays.
    """

    def __init__(self, first: LeavingSource, second: ChoosingSource) -> None:
        self._first = first
        self._second = second
        self._left: frozenset[SourceTrackId] = frozenset()
        self._has_left = asyncio.Event()
        self._is_whole = False  # the second takes everything
        first.on_left = self._leave

    @property
    def mode(self) -> CaptureMode:
        """That of the second source as soon as it took anything."""
        is_mixed = self._is_whole or self._has_left.is_set()
        return self._second.mode if is_mixed else self._first.mode

    def want_keyframes(self) -> None:
        """Pass it on to the sources in use."""
        if not self._is_whole:
            self._first.want_keyframes()
        if self._is_whole or self._has_left.is_set():
            self._second.want_keyframes()

    async def capture(self, sink: FrameSink) -> None:
        """Hand everything over, by the first source, the second, or both."""
        try:
            await self._capture_both(sink)
        except PassthroughUnfitError as error:
            _log.warning("recording goes on decoded, because %s", error)
            self._is_whole = True
            self._second.choose(None)
            await self._second.capture(sink)

    async def _capture_both(self, sink: FrameSink) -> None:
        tasks = {
            asyncio.create_task(self._first.capture(sink)),
            asyncio.create_task(self._capture_left(sink)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for task in done:
            task.result()

    async def _capture_left(self, sink: FrameSink) -> None:
        """Capture what is left out, from the first such track on; the second source then stays."""
        await self._has_left.wait()
        await self._second.capture(sink)

    def _leave(self, left: Mapping[SourceTrackId, str]) -> None:
        for track_id in left.keys() - self._left:
            _log.warning("track %s is recorded decoded, because it %s", track_id, left[track_id])
        self._left = frozenset(left)
        self._second.choose(self._left)
        if left:
            self._has_left.set()
