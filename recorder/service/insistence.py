"""Repeats a blocking call in a thread until the chunk store or key service answers, within a time.

Source: house-style (retry is a wrapper around a port).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from vault.errors import KeyServiceError, StoreError, StoreFullError

FIRST_S: Final = 0.1
LAST_S: Final = 4.0

_T = TypeVar("_T")
_log = logging.getLogger("greenroom.recorder")


async def insist(act: Callable[[], _T], *, within_s: float, unless: asyncio.Event | None = None) -> _T:
    """Call ``act`` in a thread until it gives something.

    Args:
        act: may be repeated.
        within_s: no new try is made after so many seconds.
        unless: ends the trying when it is set.

    Raises:
        StoreFullError: at once; a full store is not asked again.
        StoreError, KeyServiceError: of the last try.
        Exception: whatever else ``act`` raises, at once.
    """
    clock = asyncio.get_running_loop().time
    until_s, wait_s = clock() + within_s, FIRST_S
    stop = asyncio.Event() if unless is None else unless
    while True:
        try:
            return await asyncio.to_thread(act)
        except StoreFullError:
            raise
        except (StoreError, KeyServiceError) as error:
            if clock() >= until_s or stop.is_set():
                raise
            if wait_s == FIRST_S:
                _log.warning("the chunk store or key service is asked until it answers: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)
            wait_s = min(2 * wait_s, LAST_S)
