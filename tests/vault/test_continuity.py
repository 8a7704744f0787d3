"""What the attempts of a recording have in common: whose tracks, which gaps, and how the media was taken."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import pytest

from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.core.mp4_head import h264_format, opus_format
from recorder.core.units import CodecSetup
from recorder.core.webm import vp8_format
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import (
    RECORDING,
    WALL_START_US,
    complete,
    make_key_ring,
    open_writer,
)
from vault.continuity import Continuity
from vault.core.ids import RecordingId
from vault.core.manifest import Gap, Manifest, ManifestTrack
from vault.core.prologue import TrackPrologue
from vault.core.sealing import AttemptScope, WrappedKey
from vault.errors import WrongKeyError
from vault.ports import ChunkStore, KeyRing
from vault.recovery import recover_attempt

RING = make_key_ring()
CAMERA, MICROPHONE = ("video", "alice", "camera"), ("audio", "alice", "microphone")
H264 = CodecSetup(codec="h264", width=64, height=64, parameters=(bytes.fromhex("6742c00b"), b"\x68"))


def track(attempt: int, number: int, start_us: int, end_us: int) -> ManifestTrack:
    """A track that was recorded from start to end."""
    return ManifestTrack(
        attempt=attempt,
        track=number,
        start_us=start_us,
        end_us=end_us,
        expected_us=end_us - start_us,
        recorded_us=end_us - start_us,
        cut=True,
        gaps=[],
        runs=[],
    )


def gaps(*tracks: ManifestTrack, **owners: tuple[str, str, str]) -> list[tuple[int, int]]:
    """Takeover gaps; owners by `t<attempt>_<track>`."""
    known = {(int(name[1]), int(name[3])): owner for name, owner in owners.items()}
    found = Continuity(known, was_encoded=False).takeover_gaps(tracks)
    assert {gap.reason for gap in found} <= {"takeover"}
    return [(gap.start_us, gap.end_us) for gap in found]


def test_each_track_that_goes_on_has_a_gap_of_its_own() -> None:
    tracks = [
        track(1, 1, 0, 10_000_000),
        track(1, 2, 0, 9_400_000),
        track(2, 1, 12_000_000, 20_000_000),
        track(2, 2, 12_500_000, 20_000_000),
    ]
    # The second attempt numbers them the other way round.
    owners = {"t1_1": MICROPHONE, "t1_2": CAMERA, "t2_1": CAMERA, "t2_2": MICROPHONE}
    assert gaps(*tracks, **owners) == [(9_400_000, 12_000_000), (10_000_000, 12_500_000)]


def test_without_keys_the_gap_is_where_nothing_is() -> None:
    tracks = [
        track(1, 1, 0, 10_000_000),
        track(1, 2, 0, 9_400_000),
        track(2, 1, 12_000_000, 20_000_000),
    ]
    assert gaps(*tracks) == [(10_000_000, 12_000_000)]


def test_a_track_that_had_ended_before_has_no_gap() -> None:
    tracks = [
        track(1, 1, 0, 10_000_000),
        track(1, 2, 0, 4_000_000),
        track(2, 1, 12_000_000, 20_000_000),
        track(2, 2, 15_000_000, 20_000_000),
    ]
    owners = {"t1_1": MICROPHONE, "t1_2": CAMERA, "t2_1": MICROPHONE, "t2_2": CAMERA}
    assert gaps(*tracks, **owners) == [(10_000_000, 12_000_000)]


def test_an_attempt_that_was_killed_before_any_media_does_not_split_the_gap() -> None:
    tracks = [
        track(1, 1, 0, 10_000_000),
        track(2, 1, 12_000_000, 12_000_000),
        track(3, 1, 14_000_000, 20_000_000),
    ]
    owners = {"t1_1": CAMERA, "t2_1": CAMERA, "t3_1": CAMERA}
    assert gaps(*tracks) == gaps(*tracks, **owners) == [(10_000_000, 14_000_000)]


def test_attempts_that_overlap_leave_no_gap() -> None:
    tracks = [track(1, 1, 0, 10_000_000), track(2, 1, 9_000_000, 20_000_000)]
    assert gaps(*tracks, t1_1=CAMERA, t2_1=CAMERA) == []


class KeylessRing:
    """A `KeyRing` that may wrap and sign, but not unwrap, as a recorder with a key service."""

    def __init__(self, ring: KeyRing) -> None:
        self.kek_id, self.public_key = ring.kek_id, ring.public_key
        self.wrap, self.sign, self.has_kek = ring.wrap, ring.sign, ring.has_kek

    def unwrap(self, wrapped: WrappedKey, scope: AttemptScope) -> bytes:
        raise WrongKeyError("not allowed")


def write(store: ChunkStore, *, init_part: bytes = b"head") -> Manifest:
    """Two attempts with a camera and a microphone, of which the camera ends 0.5 s earlier; complete them."""
    for attempt, order in ((1, (1, 2)), (2, (2, 1))):
        writer = open_writer(
            store, RING, attempt=attempt, wall_start_us=WALL_START_US + (attempt - 1) * 7_000_000
        )
        kinds: tuple[Literal["video"], Literal["audio"]] = ("video", "audio")
        for number, kind in zip(order, kinds, strict=True):
            about = TrackPrologue(
                kind="video" if kind == "video" else "audio", codec="x", mime="x", identity="alice"
            )
            base = Fraction(1, 1000)
            writer.put(writer.seal_init(number, about, init_part, time_base=base, offset_us=0))
            length = 2_500 if kind == "video" else 3_000
            writer.put(writer.seal(number, b"f", first_pts=0, duration_pts=length, has_keyframe=True))
        writer.checkpoint()
    return finish(store, RING)


def finish(store: ChunkStore, ring: KeyRing) -> Manifest:
    files = store.files(RECORDING)
    closes = [
        recover_attempt(files, RING.public_key, recording_id=RecordingId(RECORDING), attempt=attempt)
        for attempt in (1, 2)
    ]
    return complete(store, ring, *closes)


def test_a_completer_reads_whose_tracks_they_are() -> None:
    manifest = write(MemoryChunkStore())
    assert manifest.gaps == [
        Gap(start_us=2_500_000, end_us=7_000_000, reason="takeover"),
        Gap(start_us=3_000_000, end_us=7_000_000, reason="takeover"),
    ]
    assert manifest.capture == "passthrough"


def test_a_completer_without_keys_completes_all_the_same() -> None:
    store = MemoryChunkStore()
    write(store)
    del store.recordings[RECORDING]["manifest"]
    manifest = finish(store, KeylessRing(RING))
    assert manifest.gaps == [Gap(start_us=3_000_000, end_us=7_000_000, reason="takeover")]


def test_what_a_recorder_encoded_is_decoded_capture_whatever_was_asked_for() -> None:
    head = PyavEncoders(named="low").video(width=64, height=48).format.init_part
    assert write(MemoryChunkStore(), init_part=head).capture == "decoded"


@pytest.mark.parametrize("container", ["mp4", "webm"])
def test_the_heads_of_what_is_encoded_differ_from_those_of_what_is_not(container: str) -> None:
    encoders = PyavEncoders(named="low", container=container)
    for form in (encoders.video(width=64, height=48).format, encoders.audio().format):
        assert b"Lavf" in form.init_part
    vp8 = CodecSetup(codec="vp8", width=64, height=48)
    for kept in (h264_format(H264), opus_format(CodecSetup(codec="opus", channels=2)), vp8_format(vp8)):
        assert b"Lavf" not in kept.init_part
