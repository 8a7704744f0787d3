"""Completion: from closed attempts to the signed manifest, which makes a recording complete.

Source: docs/RECORDING.md §11.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vault.attempts import VerifiedAttempt
from vault.continuity import read_continuity
from vault.core.checkpoint import TreeHead, encode_checkpoint, recording_root
from vault.core.coverage import CoverageBuilder
from vault.core.ids import RecordingId
from vault.core.layout import MANIFEST_NAME, checkpoint_name, chunk_name
from vault.core.manifest import (
    AttemptClose,
    CaptureMode,
    Gap,
    Manifest,
    ManifestAttempt,
    decode_manifest,
    encode_manifest,
    place_track,
)
from vault.core.merkle import root_hash
from vault.core.note import MAX_NOTE_BYTES
from vault.errors import IntegrityError
from vault.listing import read_listing
from vault.ports import ChunkStore, KeyRing
from vault.recovery import check_attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFacts:
    """What the chunks do not say and the manifest shall.

    Attributes:
        session: the session's id, opaque here; 1 to 256 characters.
        capture: how the media was meant to be taken; what was encoded by a recorder is ``decoded`` anyway.
        cut_marks_us: Unix times in microseconds at which capture was told to stop or pause.
        gaps: declared gaps in Unix microseconds (`Gap.start_us`, `Gap.end_us`), such as a pause; the gaps
            between attempts are found here.
        expected_us: by (attempt, track), media time that should have been recorded, in microseconds, where
            it is more than the span from the track's first to its last media.
    """

    session: str
    capture: CaptureMode
    cut_marks_us: Sequence[int] = ()
    gaps: Sequence[Gap] = ()
    expected_us: Mapping[tuple[int, int], int] = field(default_factory=dict)


def complete_recording(
    store: ChunkStore,
    key_ring: KeyRing,
    *,
    recording_id: RecordingId,
    closes: Sequence[AttemptClose],
    facts: RecordingFacts,
) -> Manifest:
    """Verify all closed attempts, then sign and store the manifest; last, sweep what came too late.

    May be repeated after a crash with the same arguments: what is stored already is no error.

    Args:
        store: where the recording lies.
        key_ring: signs.
        recording_id: the recording.
        closes: every attempt of it, as committed, in rising order.
        facts: what else the manifest says.

    Returns:
        The manifest that is stored.

    Raises:
        ValueError: there is no attempt, or the facts are malformed (the caller's mistake).
        IntegrityError: what is stored does not lead to a closed head: the manifest is not written.
        ChunkExistsError: a manifest that says something else is there already.
        StoreError, KeyServiceError: worth trying again.
    """
    attempts: list[ManifestAttempt] = []
    verified: list[VerifiedAttempt] = []
    for close in closes:
        result = check_attempt(
            store.files(recording_id), key_ring.public_key, recording_id=recording_id, attempt=close.attempt
        )
        verified.append(_cut_at_close(result, close))
        assert result.key_record is not None
        wall_start_us = result.key_record.wall_start_us
        attempts.append(
            ManifestAttempt(
                attempt=close.attempt,
                size=close.size,
                root=close.root,
                closed=close.closed,
                wall_start_us=wall_start_us,
            )
        )
    if not attempts:
        raise ValueError(f"recording {recording_id} has no attempt to complete")
    media_start_us = min(attempt.wall_start_us for attempt in attempts)
    tracks = [
        place_track(
            coverage,
            attempt,
            media_start_us=media_start_us,
            expected_us=facts.expected_us.get((attempt.attempt, coverage.track), 0),
        )
        for attempt, result in zip(attempts, verified, strict=True)
        for coverage in result.tracks
    ]
    continuity = read_continuity(
        store.files(recording_id), key_ring, recording_id=recording_id, attempts=verified
    )
    declared = [
        Gap(start_us=gap.start_us - media_start_us, end_us=gap.end_us - media_start_us, reason=gap.reason)
        for gap in facts.gaps
    ]
    manifest = Manifest(
        recording=recording_id,
        session=facts.session,
        capture="decoded" if continuity.was_encoded else facts.capture,
        media_start_us=media_start_us,
        attempts=attempts,
        root=recording_root(recording_id, (attempt.head for attempt in attempts)).hex(),
        tracks=tracks,
        gaps=sorted(declared + continuity.takeover_gaps(tracks), key=lambda gap: (gap.start_us, gap.end_us)),
        cut_marks_us=sorted(mark - media_start_us for mark in facts.cut_marks_us),
    )
    note = encode_manifest(manifest, public_key=key_ring.public_key, sign=key_ring.sign)
    for attempt in attempts:
        _store_final_checkpoint(store, key_ring, recording_id, attempt.head)
    store.put(recording_id, MANIFEST_NAME, note)
    _settle(store, key_ring, manifest)
    return manifest


def settle_recording(store: ChunkStore, key_ring: KeyRing, *, recording_id: RecordingId) -> None:
    """Do once more what follows a stored manifest, for a completer that was cut short there.

    Stores the checkpoint at each closed size where it is missing, and sweeps what is no part of the
    recording. May be repeated; a recording that is as it should be stays as it is.

    Raises:
        FileMissingError: there is no manifest.
        IntegrityError: the manifest is bad; nothing is touched.
        StoreError: worth trying again.
    """
    data = store.files(recording_id).read(MANIFEST_NAME, max_bytes=MAX_NOTE_BYTES)
    _settle(store, key_ring, decode_manifest(data, recording_id=recording_id, public_key=key_ring.public_key))


def _settle(store: ChunkStore, key_ring: KeyRing, manifest: Manifest) -> None:
    # The checkpoints again: a recorder that woke meanwhile removed one, if it had not seen the manifest yet.
    for attempt in manifest.attempts:
        _store_final_checkpoint(store, key_ring, manifest.recording, attempt.head)
    _sweep(store, manifest.recording, {attempt.attempt: attempt.size for attempt in manifest.attempts})


def _cut_at_close(result: VerifiedAttempt, close: AttemptClose) -> VerifiedAttempt:
    chunks = result.chunks[: close.size]
    root = root_hash(chunk.leaf_hash for chunk in chunks)
    if len(chunks) != close.size or root.hex() != close.root:
        raise IntegrityError(
            f"attempt {close.attempt} was closed at {close.size} leaves with root {close.root}, "
            f"but {len(result.chunks)} verified leaves do not lead there"
        )
    coverage = CoverageBuilder()
    for chunk in chunks:
        coverage.add(chunk.header)
    tracks = coverage.tracks()
    if close.closed == "own" and not all(track.has_last for track in tracks):
        raise IntegrityError(f"attempt {close.attempt} closed itself, but a track lacks its final chunk")
    return VerifiedAttempt(attempt=close.attempt, chunks=chunks, tracks=tracks)


def _store_final_checkpoint(
    store: ChunkStore, key_ring: KeyRing, recording_id: RecordingId, head: TreeHead
) -> None:
    if head.size:
        note = encode_checkpoint(recording_id, head, public_key=key_ring.public_key, sign=key_ring.sign)
        store.put(recording_id, checkpoint_name(head.attempt, head.size), note)


def _sweep(store: ChunkStore, recording_id: RecordingId, sizes: Mapping[int, int]) -> None:
    # Only what the manifest excludes: leaves after the close, their checkpoints, and puts cut short.
    listing = read_listing(store.files(recording_id))
    for attempt, size in sizes.items():
        found = listing.attempts.get(attempt)
        if found is not None:
            late = [chunk_name(attempt, leaf) for leaf in found.leaves if leaf >= size]
            late += [checkpoint_name(attempt, other) for other in found.sizes if other > size]
            for name in late:
                store.delete(recording_id, name)
    for name in listing.temporary:
        store.delete(recording_id, name)
