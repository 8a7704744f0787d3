"""The manifest: what one recording holds, signed, written last. It names no participant and no codec.

It does not cover the key records, so that re-wrapping or shredding the keys leaves it as it is.

Source: docs/RECORDING.md §5.2.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from vault.core.canonical_json import decode_json, encode_json
from vault.core.checkpoint import TreeHead, recording_root
from vault.core.coverage import TrackCoverage
from vault.core.ids import MAX_ATTEMPT, MAX_LEAF, RecordingId, VerifyKey, is_recording_id
from vault.core.key_record import decode_hex
from vault.core.note import Sign, open_note, sign_note
from vault.errors import FormatError

MAX_SESSION_CHARS: Final = 256

CaptureMode = Literal["passthrough", "decoded", "upload"]
Closed = Literal["own", "recovered"]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all parts of a manifest share: no field may be missing, none may be new."""


class AttemptClose(_Part, frozen=True, kw_only=True):
    """At which tree head an attempt was closed, and by whom.

    Attributes:
        root: 32 bytes in lowercase hex.
        closed: ``own`` by its own last report, every track with its final chunk; ``recovered`` by a
            successor, from the listing.
    """

    attempt: int
    size: int
    root: str
    closed: Closed

    @property
    def head(self) -> TreeHead:
        """The same as a tree head."""
        return TreeHead(attempt=self.attempt, size=self.size, root=decode_hex("root", self.root, 32))


class ManifestAttempt(AttemptClose, frozen=True, kw_only=True):
    """An attempt in the manifest.

    Attributes:
        wall_start_us: Unix time in microseconds at which the attempt's clock begins.
    """

    wall_start_us: int


class Gap(_Part, frozen=True, kw_only=True):
    """Media time that was not recorded, microseconds after the media start."""

    start_us: int
    end_us: int
    reason: str = ""


class ManifestRun(_Part, frozen=True, kw_only=True):
    """An init run of a track, microseconds after the media start."""

    run: int
    init_leaf: int
    offset_us: int
    start_us: int
    end_us: int


class ManifestTrack(_Part, frozen=True, kw_only=True):
    """A track of one attempt, microseconds after the media start.

    Attributes:
        expected_us: media time that should have been recorded, as the recorder saw the track.
        recorded_us: media time that was recorded.
        cut: the track lacks its final chunk, because its attempt was closed by another.
    """

    attempt: int
    track: int
    start_us: int
    end_us: int
    expected_us: int
    recorded_us: int
    cut: bool
    gaps: list[Gap]
    runs: list[ManifestRun]


class Manifest(_Part, frozen=True, kw_only=True):
    """What one recording holds.

    Attributes:
        session: the session's id, opaque here.
        media_start_us: Unix time in microseconds at which the recording's timeline begins: the smallest
            ``wall_start_us`` of its attempts.
        root: `recording_root` over the attempts, lowercase hex.
        gaps: declared gaps of the whole recording, such as a takeover.
        cut_marks_us: when capture was told to stop or pause.
    """

    recording: RecordingId
    session: str
    capture: CaptureMode
    media_start_us: int
    attempts: list[ManifestAttempt]
    root: str
    tracks: list[ManifestTrack]
    gaps: list[Gap]
    cut_marks_us: list[int]
    tenant: str = bytes(16).hex()
    format: Literal["greenroom-manifest/1"] = "greenroom-manifest/1"


def manifest_name(recording_id: RecordingId) -> str:
    """First line of the manifest, and the name of the key that signs it."""
    return f"greenroom/recording/{recording_id}/manifest"


def encode_manifest(manifest: Manifest, *, public_key: VerifyKey, sign: Sign) -> bytes:
    """Sign a manifest and give the bytes to be stored.

    Raises:
        ValueError: the manifest contradicts itself (the caller's mistake).
    """
    try:
        _check_manifest(manifest)
    except FormatError as error:
        raise ValueError(f"this manifest cannot be written: {error}") from error
    text = f"{manifest_name(manifest.recording)}\n{encode_json(manifest)}\n"
    return sign_note(text, public_key=public_key, sign=sign)


def decode_manifest(data: bytes, *, recording_id: RecordingId, public_key: VerifyKey) -> Manifest:
    """Check a manifest's signature and read it.

    Raises:
        FormatError: not the manifest of this recording, or one that contradicts itself.
        SignatureError: not signed by ``public_key``.
    """
    lines = open_note(data, name=manifest_name(recording_id), public_key=public_key).split("\n")
    if len(lines) != 3:
        raise FormatError("its text is not a name and one line of JSON")
    manifest = decode_json(lines[1], Manifest)
    if manifest.recording != recording_id:
        raise FormatError(f"it is the manifest of {manifest.recording}")
    _check_manifest(manifest)
    return manifest


def place_track(
    coverage: TrackCoverage, attempt: ManifestAttempt, *, media_start_us: int, expected_us: int = 0
) -> ManifestTrack:
    """State a track's coverage on the recording's timeline.

    Args:
        coverage: the track within its attempt.
        attempt: that attempt.
        media_start_us: beginning of the recording's timeline.
        expected_us: what the recorder expected; never below the span from first to last media.
    """
    shift = attempt.wall_start_us - media_start_us
    return ManifestTrack(
        attempt=attempt.attempt,
        track=coverage.track,
        start_us=coverage.start_us + shift,
        end_us=coverage.end_us + shift,
        expected_us=max(expected_us, coverage.end_us - coverage.start_us),
        recorded_us=coverage.recorded_us,
        cut=not coverage.has_last,
        gaps=[Gap(start_us=start + shift, end_us=end + shift) for start, end in coverage.gaps],
        runs=[
            ManifestRun(
                run=run.run,
                init_leaf=run.init_leaf,
                offset_us=run.offset_us + shift,
                start_us=run.start_us + shift,
                end_us=run.end_us + shift,
            )
            for run in coverage.runs
        ],
    )


def _check_manifest(manifest: Manifest) -> None:
    if not is_recording_id(manifest.recording):
        raise FormatError(f"its recording id {manifest.recording!r} is not a lowercase UUID")
    if not 1 <= len(manifest.session) <= MAX_SESSION_CHARS:
        raise FormatError(f"its session id is not 1..{MAX_SESSION_CHARS} characters long")
    decode_hex("tenant", manifest.tenant, 16)
    if not manifest.attempts:
        raise FormatError("it has no attempt")
    for close in manifest.attempts:
        if not 1 <= close.attempt <= MAX_ATTEMPT or not 0 <= close.size <= MAX_LEAF:
            raise FormatError(
                f"it closes attempt {close.attempt} at {close.size} leaves, which no file can name"
            )
    if manifest.cut_marks_us != sorted(manifest.cut_marks_us):
        raise FormatError("its cut marks are out of order")
    try:
        root = recording_root(manifest.recording, (attempt.head for attempt in manifest.attempts))
    except ValueError as error:
        raise FormatError(f"its attempts are out of order: {error}") from error
    if root.hex() != manifest.root:
        raise FormatError("its root is not the root over its attempts")
    if manifest.media_start_us != min(attempt.wall_start_us for attempt in manifest.attempts):
        raise FormatError("its media start is not the earliest start of its attempts")
    places = [(track.attempt, track.track) for track in manifest.tracks]
    if places != sorted(set(places)):
        raise FormatError("its tracks are out of order")
