"""A key ring that asks a key service again while it does not answer, for a limited time.

Only opening an attempt or a recording asks a key service: what is open already has its data key in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from vault.core.ids import KekId, VerifyKey
from vault.core.sealing import AttemptScope, WrappedKey
from vault.errors import KeyServiceError
from vault.ports import Kek, KekRing

FIRST_PAUSE_S: Final = 0.2
MOST_PAUSE_S: Final = 2.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RetriedKeys:
    """A KekRing around another one.

    Attributes:
        ring: the one that is asked.
        patience_s: for how long a call is tried again before its error is let through.
        monotonic: seconds that only rise.
        pause: waits some seconds; blocks.
    """

    ring: KekRing
    patience_s: float
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    @property
    def kek_id(self) -> KekId:
        """See `KeyRing.kek_id`."""
        return self._try(lambda: self.ring.kek_id)

    @property
    def public_key(self) -> VerifyKey:
        """See `KeyRing.public_key`."""
        return self.ring.public_key

    def wrap(self, data_key: bytes, scope: AttemptScope) -> WrappedKey:
        """See `KeyRing.wrap`."""
        return self._try(lambda: self.ring.wrap(data_key, scope))

    def unwrap(self, wrapped: WrappedKey, scope: AttemptScope) -> bytes:
        """See `KeyRing.unwrap`."""
        return self._try(lambda: self.ring.unwrap(wrapped, scope))

    def has_kek(self, kek_id: KekId) -> bool:
        """See `KeyRing.has_kek`."""
        return self.ring.has_kek(kek_id)

    def sign(self, message: bytes) -> bytes:
        """See `KeyRing.sign`."""
        return self.ring.sign(message)

    def keks(self) -> list[Kek]:
        """See `KekRing.keks`."""
        return self._try(self.ring.keks)

    def rotate(self, now_s: int) -> KekId:
        """See `KekRing.rotate`. Not tried again: it may have happened, and then there would be two."""
        return self.ring.rotate(now_s)

    def destroy(self, kek_id: KekId) -> None:
        """See `KekRing.destroy`."""
        self.ring.destroy(kek_id)

    def _try(self, call: Callable[[], Answer]) -> Answer:
        give_up = self.monotonic() + self.patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return call()
            except KeyServiceError as error:
                if self.monotonic() + pause_s > give_up:
                    raise KeyServiceError(f"{error} (tried for {self.patience_s:g} s)") from error
            self.pause(pause_s)
            pause_s = min(2 * pause_s, MOST_PAUSE_S)
