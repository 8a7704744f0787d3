"""The orchestrator's eye on the keys of recordings: recorders have the same, and they do not get too old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import structlog

from orchestrator.core.errors import OtherKeysError
from orchestrator.ports import Clock
from orchestrator.service.threads import BusyError, Threads
from vault.core.ids import KekId
from vault.core.public_key import derive_key_id
from vault.errors import KeyFileError, KeyServiceError
from vault.opening_keys import age_days, age_warning
from vault.ports import Kek, KekRing

LOOK_EVERY_S: Final = 3600.0
DEADLINE_S: Final = 5.0  # of a recorder that says hello; a passphrase takes up to a second the first time
LOOK_DEADLINE_S: Final = 60.0  # a key service is asked again for a while

log = structlog.get_logger(__name__)

T = TypeVar("T")


class KeyWatch:
    """Compares keys and tells their age. Waiting hellos: 64, then recorders are welcomed uncompared.

    Attributes:
        on_age: is told for how many days the key that wraps has been in use.
    """

    def __init__(
        self, open_ring: Callable[[], KekRing], *, rotation_days: int, clock: Clock, store: str = ""
    ) -> None:
        """Take how to open the ring (it blocks, and raises KeyFileError), and the URL of our chunk store."""
        self.on_age: Callable[[float], None] = lambda days: None
        self._open_ring = open_ring
        self._rotation_days = rotation_days
        self._clock = clock
        self._store = store
        self._threads = Threads("keys", threads=1, waiting=64)

    async def check_recorder(self, metadata: Mapping[str, str]) -> None:
        """Refuse a recorder whose recordings nobody could read or verify here.

        One that does not name its keys is not refused, nor is any while our own cannot be opened: they are
        made by the recorder that starts first. One that writes to another chunk store is warned of and
        welcome: its machine may have another name for the same one.

        Raises:
            OtherKeysError: it has other keys than we; trying again would not help.
        """
        theirs = metadata.get("store", "")
        if theirs and self._store and theirs != self._store:
            log.warning(
                "recorder_store_differs",
                recorder=theirs,
                orchestrator=self._store,
                fix="let [recording] chunk_store (CHUNK_STORAGE_PATH) be the same, or nothing plays here",
            )
        signing, kek = metadata.get("signing_key_id", ""), metadata.get("kek_id", "")
        if not signing and not kek:
            return
        try:
            ours, has_kek = await self._threads.run(
                lambda _: _compare(self._open_ring(), kek), deadline_s=DEADLINE_S
            )
        except (KeyFileError, KeyServiceError, BusyError) as error:
            log.warning("recorder_keys_not_compared", reason=str(error))
            return
        if signing and signing != ours:
            raise OtherKeysError(
                f"recorder signs with key {signing[:16]}, the orchestrator with {ours}: "
                "give both the same keys"
            )
        if kek and not has_kek:
            raise OtherKeysError(f"recorder wraps with key {kek[:40]}, unknown here: give both the same keys")

    async def run(self) -> None:
        """Tell the age of the key that wraps, at the start and every hour; loudly when it is too old."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    def close(self) -> None:
        """Look at nothing more."""
        self._threads.close()

    async def _look(self) -> None:
        try:
            keks = await self._threads.run(lambda _: self._open_ring().keks(), deadline_s=LOOK_DEADLINE_S)
        except (KeyFileError, KeyServiceError, BusyError) as error:
            log.info("keys_not_seen", reason=str(error))
            return
        self._tell(keks)

    def _tell(self, keks: list[Kek]) -> None:
        now_s = self._clock.now().timestamp()
        days = age_days(keks, now_s=now_s)
        if days is not None:
            self.on_age(days)
        warning = age_warning(keks, rotation_days=self._rotation_days, now_s=now_s)
        if warning:
            log.warning("key_is_old", reason=warning)


def _compare(ring: KekRing, kek: str) -> tuple[str, bool]:
    return derive_key_id(ring.public_key), ring.has_kek(KekId(kek))
