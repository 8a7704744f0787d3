"""Our verifier and the one written from docs/RECORDING.md alone, side by side over files in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from examples.verify_recording import Verification
from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.media import make_audio, make_video
from tests.fakes.recordings import (
    RECORDING,
    WALL_START_US,
    complete,
    make_key_ring,
    open_writer,
    put_init,
    put_second,
    write_media,
    write_recording,
    write_seconds,
)
from vault.core.checkpoint import TreeHead
from vault.core.ids import VerifyKey
from vault.recovery import recover_attempt
from vault.verification import check_recording

RING = make_key_ring()
Stored = dict[str, bytes]


class MemoryVerification(Verification):
    """The second verifier without a disk, so that tens of thousands of alterations take no time."""

    def __init__(self, stored: Stored, key: VerifyKey, heads: Iterable[TreeHead]) -> None:
        self.stored = stored
        super().__init__(Path(RECORDING), key, [(head.attempt, head.size, head.root) for head in heads])

    def list_files(self) -> list[tuple[str, bool]]:
        return [(name, True) for name in sorted(self.stored)]

    def read(self, name: str, most_bytes: int) -> bytes:
        if name not in self.stored:
            raise FileNotFoundError("it is missing")
        return self.stored[name]

    def check_signature(self, signature: bytes, signed: bytes) -> None:
        _check_signature(self.key, signature, signed)


@lru_cache(maxsize=100)
def _check_signature(key: bytes, signature: bytes, signed: bytes) -> None:
    # What was good for the same bytes before is good again; a bad one raises, and is not kept.
    Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)


def our_verdict(
    stored: Stored, *, heads: tuple[TreeHead, ...] = (), key: VerifyKey = RING.public_key
) -> tuple[int, str]:
    """Let ours alone verify; give the exit code, and the first bad file ("" when none is bad)."""
    report = check_recording(MemoryRecording(stored), key, recording_id=RECORDING, against=heads).report
    return report.exit_code, report.problems[0].file if report.problems else ""


def second_verdict(
    stored: Stored, *, heads: tuple[TreeHead, ...] = (), key: VerifyKey = RING.public_key
) -> tuple[int, str]:
    """Let the second one alone verify; give the same."""
    second = MemoryVerification(stored, key, heads)
    return second.exit_code, second.bad[0][0] if second.bad else ""


def verdict(
    stored: Stored, *, heads: tuple[TreeHead, ...] = (), key: VerifyKey = RING.public_key
) -> tuple[int, str]:
    """Let both verify, and see that they say the same of what somebody without the signing key altered."""
    ours, theirs = (judge(stored, heads=heads, key=key) for judge in (our_verdict, second_verdict))
    assert ours == theirs
    return ours


def signed_verdict(stored: Stored) -> tuple[int, str]:
    """Let ours judge what the right key signed against the rules of the page.

    The second takes the signer's word. It must come to an end, and may refuse nothing that ours takes.
    """
    ours, theirs = our_verdict(stored), second_verdict(stored)
    assert theirs == ours or ours[0] == 1
    return ours


def one_run(*, media_bytes: int, chunks: int = 1) -> Stored:
    """A complete recording of one track whose chunks hold so many bytes together."""
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    put_init(writer, 1)
    for second in range(chunks):
        put_second(writer, 1, second, bytes(range(251)) * (media_bytes // chunks // 251 + 1))
    complete(store, RING, writer.close())
    return store.recordings[RECORDING]


def plain() -> Stored:
    """Two tracks, three seconds, closed by itself."""
    store = MemoryChunkStore()
    write_recording(store, RING)
    return store.recordings[RECORDING]


def with_media() -> Stored:
    """H.264 and Opus as a camera and a microphone give them, the camera in two runs."""
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    camera = make_video(1.0)
    write_media(writer, [(1, 0, camera), (2, 3_000, make_audio(1.0)), (1, 2_500_000, camera)])
    complete(store, RING, writer.close())
    return store.recordings[RECORDING]


def with_vp8() -> Stored:
    """VP8 in WebM clusters."""
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_media(writer, [(1, -4_000, make_video(1.0, codec="vp8"))])
    complete(store, RING, writer.close())
    return store.recordings[RECORDING]


def taken_over() -> Stored:
    """Two recovered attempts and a third that closed itself, and late files of the first."""
    store = MemoryChunkStore()
    closes = []
    for attempt in (1, 2):
        writer = open_writer(store, RING, attempt=attempt, wall_start_us=WALL_START_US + attempt * 7_000_000)
        write_seconds(writer, seconds=2)
        writer.checkpoint()
        put_second(writer, 1, 3)
        files = store.files(RECORDING)
        closes.append(recover_attempt(files, RING.public_key, recording_id=RECORDING, attempt=attempt))
    third = open_writer(store, RING, attempt=3, wall_start_us=WALL_START_US + 30_000_000)
    write_seconds(third, tracks=(1,), seconds=2)
    complete(store, RING, *closes, third.close())
    return store.recordings[RECORDING]


def with_late_files() -> Stored:
    """Closed by a successor while the recorder was frozen, and another attempt that nobody closed."""
    store = MemoryChunkStore()
    frozen = open_writer(store, RING)
    write_seconds(frozen, seconds=2)
    frozen.checkpoint()
    put_second(frozen, 1, 2)
    files = store.files(RECORDING)
    close = recover_attempt(files, RING.public_key, recording_id=RECORDING, attempt=1)
    complete(store, RING, close)
    put_second(frozen, 2, 2)
    frozen.checkpoint()
    put_second(frozen, 1, 3)
    write_seconds(open_writer(store, RING, attempt=2), seconds=1)
    return store.recordings[RECORDING]


def unfinished() -> Stored:
    """What a killed recorder leaves: leaves beyond the checkpoint, and a cut put."""
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=2)
    writer.checkpoint()
    put_second(writer, 1, 2)
    put_second(writer, 2, 2)
    return store.recordings[RECORDING] | {"1/chunk-0000000009.0011223344556677.tmp": b"half"}


def only_begun() -> Stored:
    """A key record and nothing else."""
    store = MemoryChunkStore()
    open_writer(store, RING)
    return store.recordings[RECORDING]


def empty() -> Stored:
    """Complete, and nobody published."""
    store = MemoryChunkStore()
    complete(store, RING, open_writer(store, RING).close())
    return store.recordings[RECORDING]


def silent() -> Stored:
    """Complete, with a track that never had media, in two runs."""
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    put_init(writer, 1, offset_us=5)
    put_init(writer, 1, offset_us=900_000)
    complete(store, RING, writer.close())
    return store.recordings[RECORDING]


ALL: dict[str, Callable[[], Stored]] = {
    make.__name__: make
    for make in (
        plain,
        with_media,
        with_vp8,
        taken_over,
        with_late_files,
        unfinished,
        only_begun,
        empty,
        silent,
    )
}
"""Every kind of recording, by the name of what makes it."""
