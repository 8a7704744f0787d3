"""A spool in memory that can be full or broken; it passes the suite of the port."""

from __future__ import annotations

from vault.core.ids import RecordingId
from vault.errors import FileMissingError, StoreError

Place = tuple[RecordingId, int]


class MemoryShare:
    """One attempt's files."""

    def __init__(self, spool: MemorySpool, place: Place) -> None:
        self._spool, self._place = spool, place

    @property
    def _files(self) -> dict[str, bytes]:
        return self._spool.kept.setdefault(self._place, {})

    def keep(self, name: str, data: bytes) -> bool:
        self._check()
        if sum(map(len, self._files.values())) + len(data) > self._spool.share_bytes:
            return False
        self._files[name] = data
        return True

    def read(self, name: str) -> bytes:
        self._check()
        if name not in self._files:
            raise FileMissingError(f"{name} is missing")
        return self._files[name]

    def drop(self, name: str) -> None:
        self._check()
        self._files.pop(name, None)

    def names(self) -> list[str]:
        self._check()
        return sorted(self._files)

    def release(self) -> None:
        self._spool.claimed.discard(self._place)
        if not self._files:
            self._spool.kept.pop(self._place)

    def _check(self) -> None:
        if self._spool.is_broken:
            raise StoreError("the disk is broken")


class MemorySpool:
    """A `Spool`; set ``is_broken`` to have every call refused."""

    def __init__(self, share_bytes: int = 1 << 20) -> None:
        self.share_bytes = share_bytes
        self.is_broken = False
        self.kept: dict[Place, dict[str, bytes]] = {}
        self.claimed: set[Place] = set()

    def claim(self, recording_id: RecordingId, attempt: int) -> MemoryShare | None:
        place = (recording_id, attempt)
        if place in self.claimed:
            return None
        self.claimed.add(place)
        return MemoryShare(self, place)

    def left_behind(self) -> list[Place]:
        return sorted(place for place, files in self.kept.items() if files)
