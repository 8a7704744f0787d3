"""Whose end-to-end encrypted media opens with our key: the media SDK tells who does, and not who does not.

Seen with livekit 1.2.0: with the right key it says so at the first frame; with a wrong one nothing comes, no
frame and no event, whatever its failure tolerance. So the packets that come are counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from recorder.ports import FrameSink, SourceTrackId

LOOK_S: Final = 1.0
PACKETS: Final = 40  # so many came of a track and nothing was opened: about a second of sound


class SealedTracks:
    """The encrypted tracks of a room for which there is a key.

    Args:
        sink: is told whose media opens, and whose does not.
    """

    def __init__(self, sink: FrameSink) -> None:
        self._sink = sink
        self._tracks: dict[SourceTrackId, tuple[str, Callable[[], Awaitable[int]]]] = {}
        self._opened: set[str] = set()  # identities

    def begin(self, track_id: SourceTrackId, identity: str, packets: Callable[[], Awaitable[int]]) -> None:
        """A track comes encrypted from now on; ``packets`` counts those that came."""
        self._tracks[track_id] = identity, packets

    def end(self, track_id: SourceTrackId) -> None:
        """A track comes no more; of one that is not encrypted no matter."""
        self._tracks.pop(track_id, None)

    def told(self, identity: str, *, is_opened: bool) -> None:
        """Take the SDK's word about a participant."""
        if is_opened:
            self._opened.add(identity)
        else:
            self._opened.discard(identity)
        self._sink.opened(identity, is_opened=is_opened)

    async def watch(self) -> None:
        """Look every second for tracks that come and do not open, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Say of every participant whose packets came, and of whom nothing was opened yet, that it is so."""
        for identity, packets in list(self._tracks.values()):
            is_enough = identity not in self._opened and await packets() >= PACKETS
            if is_enough and identity not in self._opened:  # it may have opened meanwhile
                self._sink.opened(identity, is_opened=False)
