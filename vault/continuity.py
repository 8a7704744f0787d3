"""What goes on over the attempts of a recording: whose track is whose, gaps at takeovers, how it was taken.

Headers do not say whose a track is; that stands in the sealed init chunks. A completer whose keys open none
declares what it can see without them.

Source: docs/RECORDING.md §5.2 (`gaps`, `capture`), recording.md §3 (one timeline, the gap declared).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from vault.attempts import VerifiedAttempt
from vault.core.chunk_header import ChunkKind
from vault.core.coverage import MIN_GAP_US, find_gaps
from vault.core.ids import RecordingId
from vault.core.manifest import Gap, ManifestTrack
from vault.errors import (
    FileMissingError,
    IntegrityError,
    KeyFileError,
    NotARecordingError,
    ShreddedError,
    WrongKeyError,
)
from vault.ports import KeyRing, RecordingFiles
from vault.reading import RecordingReader

TAKEOVER: Final = "takeover"
# A track that ended longer before its attempt did had ended by itself; a kill takes 2 s of media at most.
_LIVE_US: Final = 3_000_000
# FFmpeg names itself in the heads that it writes; those of media that is stored as it came are our own.
_ENCODED_BY: Final = b"Lavf"
# For good: then the recording is completed all the same. A key service that is away is waited for.
_CANNOT_BE_READ: Final = (
    FileMissingError,
    IntegrityError,
    KeyFileError,
    NotARecordingError,
    ShreddedError,
    WrongKeyError,
)

TrackOwner = tuple[str, str, str]
"""Kind, identity and name: runs with the same three are one track of the session."""


class Continuity:
    """What the init chunks of a recording say."""

    def __init__(self, owners: Mapping[tuple[int, int], TrackOwner], *, was_encoded: bool) -> None:
        """Make one.

        Args:
            owners: by (attempt, track); empty where no key is at hand.
            was_encoded: some run was encoded by its recorder, not stored as it came.
        """
        self._owners = owners
        self.was_encoded = was_encoded

    def takeover_gaps(self, tracks: Sequence[ManifestTrack]) -> list[Gap]:
        """Give what was not recorded between attempts, each stretch once, in order.

        For each track that goes on, from its end in one attempt to its beginning in the next, since fragments
        of tracks end at different times; and where none goes on, from the end of all to the beginning of all.
        """
        stored = [track for track in tracks if track.end_us > track.start_us]
        spans = _spans(stored)
        of_owner: dict[TrackOwner, list[ManifestTrack]] = {}
        for track in stored:
            if (owner := self._owners.get((track.attempt, track.track))) is not None:
                of_owner.setdefault(owner, []).append(track)
        found: set[tuple[int, int]] = set()
        for own in of_owner.values():
            own_spans = _spans(own)
            for (attempt, (_, end_us)), (_, (start_us, _)) in pairwise(sorted(own_spans.items())):
                if start_us - end_us > MIN_GAP_US and spans[attempt][1] - end_us <= _LIVE_US:
                    found.add((end_us, start_us))
        for start_us, end_us in find_gaps(sorted(spans.values())):
            if not any(start <= start_us and end_us <= end for start, end in found):
                found.add((start_us, end_us))
        return [Gap(start_us=start, end_us=end, reason=TAKEOVER) for start, end in sorted(found)]


def read_continuity(
    files: RecordingFiles,
    key_ring: KeyRing,
    *,
    recording_id: RecordingId,
    attempts: Sequence[VerifiedAttempt],
) -> Continuity:
    """Read the init chunks of verified attempts, as far as the keys at hand open them.

    Raises:
        StoreError, KeyServiceError: worth trying again.
    """
    owners: dict[tuple[int, int], TrackOwner] = {}
    was_encoded = False
    try:
        reader = RecordingReader.open(files, key_ring, recording_id=recording_id)
        for attempt in attempts:
            for leaf, chunk in enumerate(attempt.chunks):
                if chunk.header.kind is not ChunkKind.INIT:
                    continue
                about, init_part = reader.read_init(attempt.attempt, leaf, leaf_hash=chunk.leaf_hash)
                owners[attempt.attempt, chunk.header.track] = (about.kind, about.identity, about.name)
                was_encoded = was_encoded or _ENCODED_BY in init_part
    except _CANNOT_BE_READ:
        pass  # what was read until then is true
    return Continuity(owners, was_encoded=was_encoded)


def _spans(tracks: Iterable[ManifestTrack]) -> dict[int, tuple[int, int]]:
    """From the first beginning to the last end of tracks, by attempt."""
    spans: dict[int, tuple[int, int]] = {}
    for track in tracks:
        start_us, end_us = spans.get(track.attempt, (track.start_us, track.end_us))
        spans[track.attempt] = (min(start_us, track.start_us), max(end_us, track.end_us))
    return spans
