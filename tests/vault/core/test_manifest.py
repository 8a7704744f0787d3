"""The manifest contradicts itself never, and stands on the recording's timeline."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring
from vault.core.canonical_json import encode_json
from vault.core.checkpoint import recording_root
from vault.core.coverage import RunCoverage, TrackCoverage
from vault.core.manifest import (
    Gap,
    Manifest,
    ManifestAttempt,
    ManifestRun,
    ManifestTrack,
    decode_manifest,
    encode_manifest,
    place_track,
)
from vault.core.note import sign_note
from vault.errors import FormatError, OtherSignerError

RING = make_key_ring()
FIRST = ManifestAttempt(attempt=1, size=3, root="00" * 32, closed="recovered", wall_start_us=1_000_000)
SECOND = ManifestAttempt(attempt=4, size=5, root="ff" * 32, closed="own", wall_start_us=3_000_000)
TRACK = ManifestTrack(
    attempt=1,
    track=1,
    start_us=0,
    end_us=10,
    expected_us=10,
    recorded_us=8,
    cut=True,
    gaps=[Gap(start_us=1, end_us=3)],
    runs=[ManifestRun(run=0, init_leaf=0, offset_us=0, start_us=0, end_us=10)],
)
MANIFEST = Manifest(
    recording=RECORDING,
    session="session-1",
    capture="passthrough",
    media_start_us=1_000_000,
    attempts=[FIRST, SECOND],
    root=recording_root(RECORDING, [FIRST.head, SECOND.head]).hex(),
    tracks=[TRACK],
    gaps=[Gap(start_us=5, end_us=6, reason="takeover")],
    cut_marks_us=[11],
)


def encode(manifest: Manifest = MANIFEST) -> bytes:
    return encode_manifest(manifest, public_key=RING.public_key, sign=RING.sign)


def test_a_manifest_is_read_back() -> None:
    assert decode_manifest(encode(), recording_id=RECORDING, public_key=RING.public_key) == MANIFEST


def test_the_same_manifest_has_the_same_bytes() -> None:
    assert encode() == encode(msgspec.structs.replace(MANIFEST))


def test_another_recording_or_signer_is_refused() -> None:
    with pytest.raises(FormatError):
        decode_manifest(encode(), recording_id=OTHER_RECORDING, public_key=RING.public_key)
    with pytest.raises(OtherSignerError):
        decode_manifest(encode(), recording_id=RECORDING, public_key=make_key_ring(2).public_key)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attempts": []}, "no attempt"),
        ({"attempts": [SECOND, FIRST]}, "out of order"),
        ({"attempts": [FIRST, FIRST]}, "out of order"),
        ({"attempts": [FIRST]}, "root is not the root"),
        ({"root": "00" * 32}, "root is not the root"),
        ({"media_start_us": 999_999}, "media start"),
        ({"session": ""}, "session id"),
        ({"session": "x" * 257}, "session id"),
        ({"tenant": "00"}, "tenant"),
        ({"tracks": [TRACK, TRACK]}, "tracks are out of order"),
        ({"recording": "x"}, "recording id"),
    ],
)
def test_a_contradiction_is_neither_written_nor_read(changes: dict[str, Any], message: str) -> None:
    manifest = msgspec.structs.replace(MANIFEST, **changes)
    with pytest.raises(ValueError, match=message):
        encode(manifest)
    name = f"greenroom/recording/{RECORDING}/manifest"
    note = sign_note(f"{name}\n{encode_json(manifest)}\n", public_key=RING.public_key, sign=RING.sign)
    with pytest.raises(FormatError):
        decode_manifest(note, recording_id=RECORDING, public_key=RING.public_key)


def test_a_track_is_placed_on_the_recordings_timeline() -> None:
    run = RunCoverage(run=0, init_leaf=2, offset_us=100, start_us=100, end_us=900)
    coverage = TrackCoverage(
        track=3, start_us=100, end_us=900, recorded_us=700, gaps=((300, 400),), has_last=True, runs=(run,)
    )
    placed = place_track(coverage, SECOND, media_start_us=1_000_000, expected_us=1000)
    assert placed == ManifestTrack(
        attempt=4,
        track=3,
        start_us=2_000_100,
        end_us=2_000_900,
        expected_us=1000,
        recorded_us=700,
        cut=False,
        gaps=[Gap(start_us=2_000_300, end_us=2_000_400)],
        runs=[ManifestRun(run=0, init_leaf=2, offset_us=2_000_100, start_us=2_000_100, end_us=2_000_900)],
    )
    assert place_track(coverage, SECOND, media_start_us=1_000_000).expected_us == 800
