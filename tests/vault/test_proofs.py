"""A proof of one chunk is checkable with the public key and the chunk alone, and small."""

from __future__ import annotations

import base64

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import RECORDING, make_key_ring, write_recording
from vault.core.checkpoint import TreeHead, decode_checkpoint
from vault.core.merkle import hash_leaf, verify_inclusion
from vault.errors import IntegrityError, ProofError
from vault.proofs import AttemptProver

RING = make_key_ring()


def written(seconds: int = 30) -> tuple[dict[str, bytes], TreeHead]:
    store = MemoryChunkStore()
    manifest = write_recording(store, RING, seconds=seconds)
    return store.recordings[RECORDING], manifest.attempts[0].head


def prover(stored: dict[str, bytes], head: TreeHead) -> AttemptProver:
    return AttemptProver.read(MemoryRecording(stored), RING.public_key, recording_id=RECORDING, head=head)


def check(text: str, chunk: bytes) -> None:
    """What a second implementation does, from docs/PLAYBACK.md."""
    proof, checkpoint = text.split("\n\n", 1)
    first, index, *hashes = proof.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    head = decode_checkpoint(
        checkpoint.encode(), recording_id=RECORDING, attempt=1, public_key=RING.public_key
    )
    verify_inclusion(
        hash_leaf(chunk[:-64]),
        index=int(index.removeprefix("index ")),
        size=head.size,
        proof=[base64.b64decode(line) for line in hashes],
        root=head.root,
    )


def test_every_chunk_is_proven_and_no_other_by_its_proof() -> None:
    stored, head = written()
    made = prover(stored, head)
    for leaf in range(head.size):
        text = made.prove(leaf)
        assert len(text) <= 1024
        check(text, stored[f"1/chunk-{leaf:010}"])
        with pytest.raises(ProofError):
            check(text, stored[f"1/chunk-{(leaf + 1) % head.size:010}"])


def test_a_proof_in_two_hours_of_two_tracks_has_less_than_a_kilobyte() -> None:
    stored, head = written(1)
    note = stored[f"1/checkpoint-{head.size:010}"]
    made = AttemptProver(note, [bytes(32)] * 14_402)
    assert max(len(made.prove(leaf)) for leaf in (0, 7_000, 14_401)) <= 1024


def test_a_chunk_that_was_altered_makes_no_proof() -> None:
    stored, head = written()
    stored["1/chunk-0000000003"] = stored["1/chunk-0000000003"][:-70] + bytes(70)
    with pytest.raises(ProofError, match="not the root over the stored chunks"):
        prover(stored, head)


def test_a_checkpoint_that_is_another_or_bad_makes_no_proof() -> None:
    stored, head = written()
    with pytest.raises(ProofError):
        prover(stored, TreeHead(attempt=1, size=head.size, root=bytes(32)))
    stored[f"1/checkpoint-{head.size:010}"] = b"x\n"
    with pytest.raises(IntegrityError, match="checkpoint"):
        prover(stored, head)


def test_a_leaf_that_is_not_there_is_the_callers_mistake() -> None:
    stored, head = written(1)
    with pytest.raises(ValueError, match="outside a tree"):
        prover(stored, head).prove(head.size)
