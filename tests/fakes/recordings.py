"""Small recordings for tests: keys made from a number, attempts with invented or with real media."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fakes.media import Track
from vault.adapters.key_files import KeyFiles
from vault.completion import RecordingFacts, complete_recording
from vault.core.ids import RecordingId, VerifyKey
from vault.core.manifest import AttemptClose, Manifest
from vault.core.prologue import TrackPrologue
from vault.core.sealing import derive_kek_id
from vault.ports import ChunkStore, KeyRing
from vault.writing import AttemptWriter

RECORDING = RecordingId("0f0e0d0c-0b0a-4908-8706-050403020100")
OTHER_RECORDING = RecordingId("ffffffff-0b0a-4908-8706-050403020100")
WALL_START_US = 1_800_000_000_000_000
MILLISECONDS = Fraction(1, 1000)
PROLOGUE = TrackPrologue(kind="video", codec="h264", mime="video/mp4", identity="alice", name="camera")


def make_key_ring(number: int = 1) -> KeyFiles:
    """A key ring that lies nowhere; the same number gives the same keys."""
    kek = bytes((number + index * 7) % 256 for index in range(32))
    signing_key = Ed25519PrivateKey.from_private_bytes(
        bytes((number + index * 5) % 256 for index in range(32))
    )
    return KeyFiles(
        Path("nowhere"),
        keks={derive_kek_id(kek): kek},
        signing_key=signing_key,
        public_key=VerifyKey(signing_key.public_key().public_bytes_raw()),
    )


def open_writer(
    store: ChunkStore,
    key_ring: KeyRing,
    *,
    recording_id: RecordingId = RECORDING,
    attempt: int = 1,
    wall_start_us: int = WALL_START_US,
) -> AttemptWriter:
    """An attempt that has begun."""
    return AttemptWriter.open(
        store, key_ring, recording_id=recording_id, attempt=attempt, wall_start_us=wall_start_us
    )


def put_init(writer: AttemptWriter, track: int, *, offset_us: int = 0) -> None:
    """Begin an init run with an invented init part; its pts are milliseconds."""
    writer.put(writer.seal_init(track, PROLOGUE, b"init part", time_base=MILLISECONDS, offset_us=offset_us))


def put_second(writer: AttemptWriter, track: int, second: int, plaintext: bytes = b"fragments") -> None:
    """Put one second of invented media."""
    sealed = writer.seal(
        track, plaintext, first_pts=second * 1000, duration_pts=1000, has_keyframe=second == 0
    )
    writer.put(sealed)


def write_seconds(writer: AttemptWriter, *, tracks: Iterable[int] = (1, 2), seconds: int = 3) -> None:
    """Put an init run and some seconds of invented media on each track, second by second."""
    for track in tracks:
        put_init(writer, track)
    for second in range(seconds):
        for track in tracks:
            put_second(writer, track, second)


def write_media(writer: AttemptWriter, tracks: Iterable[tuple[int, int, Track]]) -> None:
    """Put real media: (track number, offset in microseconds, track), a run each, fragment by fragment."""
    for number, offset_us, track in tracks:
        writer.put(
            writer.seal_init(
                number, track.prologue, track.init_part, time_base=track.time_base, offset_us=offset_us
            )
        )
        for fragment in track.fragments:
            sealed = writer.seal(
                number,
                fragment.data,
                first_pts=fragment.first_pts,
                duration_pts=fragment.duration_pts,
                has_keyframe=fragment.has_keyframe,
            )
            writer.put(sealed)


def complete(
    store: ChunkStore, key_ring: KeyRing, *closes: AttemptClose, recording_id: RecordingId = RECORDING
) -> Manifest:
    """Write the manifest of a recording."""
    facts = RecordingFacts(session="session-1", capture="passthrough")
    return complete_recording(store, key_ring, recording_id=recording_id, closes=closes, facts=facts)


def write_recording(
    store: ChunkStore, key_ring: KeyRing, *, recording_id: RecordingId = RECORDING, seconds: int = 3
) -> Manifest:
    """A complete recording of one attempt with two tracks of invented media."""
    writer = open_writer(store, key_ring, recording_id=recording_id)
    write_seconds(writer, seconds=seconds)
    return complete(store, key_ring, writer.close(), recording_id=recording_id)
