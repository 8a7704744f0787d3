"""Inclusion proofs: that one chunk is a leaf of its attempt's signed tree, in a kilobyte of text.

Source: docs/RECORDING.md §6; RFC 9162 section 2.1.3; C2SP tlog-proof.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable

from vault.core.checkpoint import TreeHead, decode_checkpoint
from vault.core.ids import RecordingId, VerifyKey
from vault.core.layout import checkpoint_name, chunk_name
from vault.core.merkle import hash_leaf, prove_inclusion, root_hash
from vault.core.note import MAX_NOTE_BYTES, SIGNATURE_BYTES
from vault.core.sealing import MAX_CHUNK_BYTES
from vault.errors import IntegrityError, ProofError
from vault.ports import RecordingFiles

_FIRST_LINE = "c2sp.org/tlog-proof@v1"


class AttemptProver:
    """Proves leaves of one attempt at one signed size. Holds 32 bytes a leaf; made by `read`."""

    def __init__(self, note: bytes, leaf_hashes: list[bytes]) -> None:
        self._note = note
        self._leaf_hashes = leaf_hashes

    @classmethod
    def read(
        cls,
        files: RecordingFiles,
        public_key: VerifyKey,
        *,
        recording_id: RecordingId,
        head: TreeHead,
        on_read: Callable[[int], None] = lambda count: None,
    ) -> AttemptProver:
        """Hash every chunk of the attempt, and compare with what its checkpoint signs.

        Args:
            files: the recording.
            public_key: the key that must have signed the checkpoint.
            recording_id: the recording.
            head: the size at which to prove; its checkpoint must be stored.
            on_read: is told how many more bytes were read; what it raises stops the reading.

        Raises:
            IntegrityError: the checkpoint is bad, or the chunks do not lead to its root.
            FileMissingError: a chunk or the checkpoint is missing.
            StoreError: worth trying again.
        """
        name = checkpoint_name(head.attempt, head.size)
        note = files.read(name, max_bytes=MAX_NOTE_BYTES)
        try:
            signed = decode_checkpoint(
                note, recording_id=recording_id, attempt=head.attempt, public_key=public_key
            )
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error}") from error
        leaf_hashes: list[bytes] = []
        for leaf in range(head.size):
            data = files.read(chunk_name(head.attempt, leaf), max_bytes=MAX_CHUNK_BYTES)
            leaf_hashes.append(hash_leaf(memoryview(data)[:-SIGNATURE_BYTES]))
            on_read(len(data))
        root = root_hash(leaf_hashes)
        if signed != head or not hmac.compare_digest(root, head.root):
            raise ProofError(f"{name}: its root hash is not the root over the stored chunks")
        return cls(note, leaf_hashes)

    def prove(self, leaf: int) -> str:
        """Give the proof: the leaf's number, sibling hashes in base64, lowest first, and the checkpoint.

        Raises:
            ValueError: no leaf of this number (the caller's mistake).
        """
        hashes = (base64.b64encode(node).decode() for node in prove_inclusion(self._leaf_hashes, leaf))
        return "\n".join((_FIRST_LINE, f"index {leaf}", *hashes, "", self._note.decode()))
