"""What a recorder had captured and acknowledged, in memory that outlives its kill.

A file of one page, mapped and shared: what the process wrote there is there after SIGKILL, and no call of the
kernel is needed to write it, so none can be cut short.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vault.core.checkpoint import TreeHead

_PICTURES, _SOUNDS, _HEADS, _LAG_US, _PUT_SINCE_US, _SLOTS = 0, 1, 2, 3, 4, 8  # places of 8 bytes
_SLOT: Final = 8
_PAGE: Final = 4096


class Witness:
    """A place that a recorder writes to and its judge reads."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_PAGE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _PAGE)
        self._words = memoryview(self._map).cast("Q")  # one store instruction each

    def fed(self, pictures: int, sounds: int, lag_s: float) -> None:
        """The recorder has taken so many, the last of them so late."""
        self._words[_PICTURES], self._words[_SOUNDS] = pictures, sounds
        self._lagged(lag_s)

    @contextmanager
    def putting(self) -> Iterator[None]:
        """A put goes on. In memory it costs nothing, so its time is the machine's."""
        began_s = time.monotonic()
        self._words[_PUT_SINCE_US] = round(began_s * 1_000_000)
        yield
        self._words[_PUT_SINCE_US] = 0
        self._lagged(time.monotonic() - began_s)

    def _lagged(self, lag_s: float) -> None:
        self._words[_LAG_US] = max(self._words[_LAG_US], round(lag_s * 1_000_000))

    def acknowledged(self, head: TreeHead) -> None:
        """The recorder holds this head for stored, whatever comes."""
        count = self._words[_HEADS] + 1
        at = _SLOTS + _SLOT * (count % 2)
        self._words[at], self._words[at + 1] = head.attempt, head.size
        for place in range(4):
            word = int.from_bytes(head.root[8 * place : 8 * place + 8], "big")
            self._words[at + 2 + place] = word
        self._words[_HEADS] = count  # last: a head counts when it is whole

    @property
    def pictures(self) -> int:
        """Pictures captured."""
        return self._words[_PICTURES]

    @property
    def sounds(self) -> int:
        """Blocks of sound captured."""
        return self._words[_SOUNDS]

    def lag_s(self, killed_s: float) -> float:
        """How late the machine let the recorder be at most until then: what no recorder can help."""
        since_us = self._words[_PUT_SINCE_US]
        return max(self._words[_LAG_US] / 1_000_000, killed_s - since_us / 1_000_000 if since_us else 0.0)

    @property
    def head(self) -> TreeHead | None:
        """What was acknowledged last."""
        count = self._words[_HEADS]
        if count == 0:
            return None
        at = _SLOTS + _SLOT * (count % 2)
        root = b"".join(self._words[at + 2 + place].to_bytes(8, "big") for place in range(4))
        return TreeHead(attempt=self._words[at], size=self._words[at + 1], root=root)
