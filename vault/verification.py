"""Verification of a whole recording with a public key and nothing else.

Every file in the folder is looked at; a bad one is named and the rest is still checked.

Source: docs/RECORDING.md §10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from vault.attempts import AttemptChecker, VerifiedAttempt
from vault.core.checkpoint import TreeHead
from vault.core.custody_record import CustodyRecord
from vault.core.ids import RecordingId, VerifyKey
from vault.core.layout import MANIFEST_NAME
from vault.core.manifest import Manifest, ManifestTrack, decode_manifest, place_track
from vault.core.note import MAX_NOTE_BYTES
from vault.core.public_key import derive_key_id
from vault.custody import check_custody
from vault.errors import (
    FileMissingError,
    FormatError,
    IntegrityError,
    NotARecordingError,
    OtherSignerError,
    StoreError,
)
from vault.listing import AttemptListing, Listing, find_recording_id, read_listing
from vault.ports import RecordingFiles
from vault.stores import open_recording
from vault.verification_report import AttemptReport, Problem, Status, TrackReport, VerificationReport

OnProgress = Callable[[int, int], None]
"""Is told how many bytes of how many are done."""

MAX_PROBLEMS: Final = 100  # more are counted, not listed


@dataclass(slots=True)
class CheckedRecording:
    """A report, and what reading goes on with when it is good."""

    report: VerificationReport
    attempts: list[VerifiedAttempt]
    manifest: Manifest | None
    unread: int = 0  # of the bad files, those that the store did not give: they may be good


def verify_recording(
    place: Path | str,
    public_key: VerifyKey,
    *,
    against: Sequence[TreeHead] = (),
    on_progress: OnProgress | None = None,
) -> VerificationReport:
    """Verify a recording by its place. Bad data is a report with exit code 1, never an exception.

    Args:
        place: the folder, or its URL (`open_recording`). When its name is a recording id, it must hold that
            recording.
        public_key: the key that must have signed everything, known from elsewhere than the folder.
        against: tree heads known from elsewhere (the orchestrator), so that a folder that was rolled back
            to an earlier state is seen.
        on_progress: called after each file.

    Raises:
        NotARecordingError: there is no recording at this place.
        StoreError: it cannot be listed.
    """
    files, expected = open_recording(str(place))
    try:
        return check_recording(
            files, public_key, recording_id=expected, against=against, on_progress=on_progress
        ).report
    except NotARecordingError as error:
        raise NotARecordingError(f"{place}: {error}") from None


def check_recording(
    files: RecordingFiles,
    public_key: VerifyKey,
    *,
    recording_id: RecordingId | None = None,
    against: Sequence[TreeHead] = (),
    on_progress: OnProgress | None = None,
) -> CheckedRecording:
    """Verify a recording wherever it is stored; see `verify_recording`.

    Args:
        recording_id: which recording this must be; None takes what it says of itself.

    Raises:
        NotARecordingError: there is no file of a recording here.
        StoreError: the files cannot be listed.
    """
    listing = read_listing(files)
    if listing.is_empty:
        raise NotARecordingError("there is no file of a recording; name one, STORE/RECORDING_ID")
    if recording_id is None:
        recording_id = find_recording_id(files, listing)
    return _Verification(files, listing, public_key, recording_id, tuple(against), on_progress).run()


@dataclass(slots=True)
class _Verification:
    files: RecordingFiles
    listing: Listing
    public_key: VerifyKey
    recording_id: RecordingId
    against: tuple[TreeHead, ...]
    on_progress: OnProgress | None
    problems: list[Problem] = field(default_factory=list)
    ignored: list[Problem] = field(default_factory=list)
    unlisted: int = 0
    unread: int = 0
    other_signer: list[str] = field(default_factory=list)
    bytes_done: int = 0
    custody: CustodyRecord | None = None  # the last record of the chain

    def run(self) -> CheckedRecording:
        manifest = self._read_manifest()
        self.custody = check_custody(
            self.files,
            self.public_key,
            recording_id=self.recording_id,
            listing=self.listing,
            blame=self._blame,
        )
        attempts = self._check_attempts(manifest)
        if manifest is not None:
            self._check_manifest(manifest, attempts)
        for name in self.listing.unknown:
            self._blame(name, FormatError("it is no file of a recording"))
        for name in self.listing.temporary:
            self.ignored.append(Problem(name, "what a put that was cut short left behind"))
        if self.unlisted:
            self.problems.append(Problem("…", f"{self.unlisted} more files are bad"))
        return CheckedRecording(self._report(manifest, attempts), attempts, manifest, self.unread)

    def _read_manifest(self) -> Manifest | None:
        if not self.listing.has_manifest:
            return None
        try:
            data = self.files.read(MANIFEST_NAME, max_bytes=MAX_NOTE_BYTES)
            self._count(len(data))
            return decode_manifest(data, recording_id=self.recording_id, public_key=self.public_key)
        except (IntegrityError, FileMissingError, StoreError) as error:
            self._blame(MANIFEST_NAME, error)
            return None

    def _check_attempts(self, manifest: Manifest | None) -> list[VerifiedAttempt]:
        closed = {} if manifest is None else {close.attempt: close.size for close in manifest.attempts}
        tombstone = self._tombstone
        shredded = [] if tombstone is None else [attempt.head for attempt in tombstone.attempts]
        # What the tombstone states is known, as from elsewhere; without a manifest it closes the recording.
        heads = [*self.against, *shredded]
        counted = set(closed) if manifest is not None else {head.attempt for head in shredded}
        results = []
        for attempt in sorted({*closed, *(head.attempt for head in heads), *self.listing.attempts}):
            listing = self.listing.attempts.get(attempt, AttemptListing(attempt))
            checker = AttemptChecker(
                files=self.files,
                listing=listing,
                recording_id=self.recording_id,
                public_key=self.public_key,
                blame=self._blame,
                closed_size=closed.get(attempt),
                tombstone=tombstone,
                against=tuple(head for head in heads if head.attempt == attempt),
                on_read=self._count,
            )
            result = checker.check()
            late = result.late
            if attempt in counted or (manifest is None and tombstone is None):
                results.append(result)
            else:
                late = listing.names()
            self.ignored += [Problem(name, "it came after the recording was closed") for name in late]
        return results

    def _check_manifest(self, manifest: Manifest, attempts: list[VerifiedAttempt]) -> None:
        by_number = {result.attempt: result for result in attempts}
        tracks = []
        for close in manifest.attempts:
            result = by_number[close.attempt]
            facts = result.facts
            if not result.root:
                return  # a leaf is bad or missing and has been named
            if result.root.hex() != close.root:
                reason = f"its root of attempt {close.attempt} is not the root over the stored chunks"
                self._blame(MANIFEST_NAME, FormatError(reason))
            if facts is None and self._tombstone is not None:
                self._blame(
                    MANIFEST_NAME, FormatError(f"its attempt {close.attempt} is not in the tombstone")
                )
            if facts is not None and facts.wall_start_us != close.wall_start_us:
                reason = f"its start of attempt {close.attempt} is not the key record's"
                self._blame(MANIFEST_NAME, FormatError(reason))
            if facts is not None and facts.tenant.hex() != manifest.tenant:
                reason = f"its tenant is not that of attempt {close.attempt}'s key record"
                self._blame(MANIFEST_NAME, FormatError(reason))
            if close.closed == "own" and not all(track.has_last for track in result.tracks):
                reason = f"attempt {close.attempt} closed itself, but a track lacks its final chunk"
                self._blame(MANIFEST_NAME, FormatError(reason))
            start_us = manifest.media_start_us
            tracks += [place_track(coverage, close, media_start_us=start_us) for coverage in result.tracks]
        if len(tracks) != len(manifest.tracks) or not all(map(_is_as_stored, manifest.tracks, tracks)):
            self._blame(MANIFEST_NAME, FormatError("its coverage is not what the chunks hold"))

    @property
    def _tombstone(self) -> CustodyRecord | None:
        return self.custody if self.custody is not None and self.custody.action == "shred" else None

    def _status(self, manifest: Manifest | None) -> Status:
        if self.problems:
            return "bad"
        if self._tombstone is not None:
            return "shredding" if self.listing.key_files else "shredded"
        return "incomplete" if manifest is None else "complete"

    def _report(self, manifest: Manifest | None, attempts: list[VerifiedAttempt]) -> VerificationReport:
        is_complete = manifest is not None and not self.problems
        tombstone = self._tombstone
        root = "" if self.problems or tombstone is None else tombstone.root
        notes = self.listing.has_manifest + len(self.listing.custody)
        notes += sum(
            len(attempt.revisions) + len(attempt.sizes) for attempt in self.listing.attempts.values()
        )
        if 0 < len(self.other_signer) == notes and not any(attempt.chunks for attempt in attempts):
            given = derive_key_id(self.public_key)
            reason = f"it is signed, as all of this recording, by another key than the one given ({given})"
            self.problems = [Problem(self.other_signer[0], reason)]
        return VerificationReport(
            status=self._status(manifest),
            recording_id=self.recording_id,
            attempts=tuple(_report_attempt(attempt, manifest) for attempt in attempts),
            tracks=tuple(_report_tracks(manifest, attempts)),
            root=manifest.root if manifest is not None and is_complete else root,
            problems=tuple(self.problems),
            ignored=tuple(self.ignored),
            capture=manifest.capture if manifest is not None and is_complete else "",
            custody=self.custody,
            keys_left=tuple(self.listing.key_files) if tombstone is not None else (),
        )

    def _blame(self, name: str, error: Exception) -> None:
        if isinstance(error, OtherSignerError):
            self.other_signer.append(name)
        if isinstance(error, StoreError):
            self.unread += 1
        if len(self.problems) >= MAX_PROBLEMS:
            self.unlisted += 1
        else:
            self.problems.append(Problem(name, str(error)))

    def _count(self, count: int) -> None:
        self.bytes_done += count
        if self.on_progress is not None:
            self.on_progress(self.bytes_done, self.listing.total_bytes)


def _is_as_stored(stated: ManifestTrack, stored: ManifestTrack) -> bool:
    # What was expected is the recorder's word; everything else follows from the chunks.
    return stated.expected_us >= stored.expected_us and stated == msgspec.structs.replace(
        stored, expected_us=stated.expected_us
    )


def _report_attempt(attempt: VerifiedAttempt, manifest: Manifest | None) -> AttemptReport:
    closes = [] if manifest is None else [one for one in manifest.attempts if one.attempt == attempt.attempt]
    return AttemptReport(
        attempt=attempt.attempt,
        size=attempt.size,
        root=attempt.root.hex(),
        unacknowledged=0 if closes else max(len(attempt.chunks) - attempt.size, 0),
        closed=closes[0].closed if closes else "",
    )


def _report_tracks(manifest: Manifest | None, attempts: list[VerifiedAttempt]) -> Iterator[TrackReport]:
    if manifest is not None:
        for track in manifest.tracks:
            yield TrackReport(
                attempt=track.attempt,
                track=track.track,
                expected_s=track.expected_us / 1e6,
                recorded_s=track.recorded_us / 1e6,
                gaps=len(track.gaps),
                cut=track.cut,
            )
        return
    for attempt in attempts:
        for coverage in attempt.tracks:
            yield TrackReport(
                attempt=attempt.attempt,
                track=coverage.track,
                expected_s=(coverage.end_us - coverage.start_us) / 1e6,
                recorded_s=coverage.recorded_us / 1e6,
                gaps=len(coverage.gaps),
                cut=not coverage.has_last,
            )
