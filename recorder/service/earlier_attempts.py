"""Closes the attempts before one's own, once, beside the capture: reading a long recording takes its time.

Source: recording.md §3 (fencing).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from recorder.service.archive import Archive
from recorder.service.insistence import insist
from recorder.service.recording_plan import RecordingPlan
from vault.core.manifest import AttemptClose

_log = logging.getLogger("greenroom.recorder")


class EarlierAttempts:
    """What a recording was before this attempt.

    Args:
        archive: where it is stored.
        plan: of this attempt.
        within_s: how long the store may take to answer.
        on_closed: gets the closes once they are known, in the event loop.
    """

    def __init__(
        self,
        archive: Archive,
        plan: RecordingPlan,
        *,
        within_s: float,
        on_closed: Callable[[list[AttemptClose]], None],
    ) -> None:
        self._archive, self._plan = archive, plan
        self._within_s, self._on_closed = within_s, on_closed
        self._closing: asyncio.Task[list[AttemptClose]] | None = None

    def close(self) -> asyncio.Task[list[AttemptClose]]:
        """Close them; every call gives the same task."""
        if self._closing is None:
            plan = self._plan
            act = partial(
                self._archive.close_earlier,
                plan.recording_id,
                before=plan.attempt,
                committed=plan.closes,
            )
            self._closing = asyncio.create_task(insist(act, within_s=self._within_s))
            self._closing.add_done_callback(self._take)
        return self._closing

    async def stop(self) -> None:
        """Give up, when it is not done."""
        if self._closing is not None:
            self._closing.cancel()
            await asyncio.wait({self._closing})

    def _take(self, closing: asyncio.Task[list[AttemptClose]]) -> None:
        if closing.cancelled():
            return
        if (error := closing.exception()) is not None:
            _log.warning("earlier attempts could not be closed: %s", error)
        else:
            self._on_closed(closing.result())
