"""The Merkle tree over the leaves of one attempt, and proofs that a leaf is in it.

Source: RFC 9162 section 2.1; docs/RECORDING.md §6.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Final

from vault.errors import ProofError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


class TreeBuilder:
    """Grows a tree leaf by leaf, keeping one hash per level, and knows its root at every size."""

    def __init__(self) -> None:
        self._size = 0
        self._peaks: list[bytes] = []  # roots of the perfect subtrees, largest first

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._size

    def append(self, leaf_hash: bytes) -> None:
        """Add the next leaf by its 32-byte leaf hash."""
        _check_hash(leaf_hash)
        node, merges = leaf_hash, self._size
        while merges & 1:  # a trailing one bit of the old size is a subtree that is now complete
            node = hash_node(self._peaks.pop(), node)
            merges >>= 1
        self._peaks.append(node)
        self._size += 1

    def root(self) -> bytes:
        """Root hash over the leaves so far, 32 bytes."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = hash_node(peak, node)
        return node


def hash_leaf(*parts: bytes | memoryview) -> bytes:
    """Leaf hash of the concatenated ``parts``: SHA-256(0x00 ‖ data)."""
    digest = hashlib.sha256(b"\x00")
    for part in parts:
        digest.update(part)
    return digest.digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Node hash: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_hash(leaf_hashes: Iterable[bytes]) -> bytes:
    """Root hash over all leaves in order; of no leaves SHA-256 of nothing."""
    tree = TreeBuilder()
    for leaf_hash in leaf_hashes:
        tree.append(leaf_hash)
    return tree.root()


def prove_inclusion(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Sibling hashes that lead from leaf ``index`` to the root, lowest level first.

    Raises:
        ValueError: index outside the tree (the caller's mistake).

    Source: RFC 9162 section 2.1.3.1.
    """
    size = len(leaf_hashes)
    _check_index(index, size)
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)  # largest power of two below the width
        if index < middle:
            proof.append(root_hash(leaf_hashes[middle:end]))
            end = middle
        else:
            proof.append(root_hash(leaf_hashes[start:middle]))
            start = middle
    proof.reverse()
    return proof


def verify_inclusion(leaf_hash: bytes, *, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf stands at ``index`` in the tree of ``size`` leaves with this ``root``.

    Args:
        leaf_hash: 32 bytes, `hash_leaf` of the sealed chunk.
        index: number of the leaf, 0 <= index < size.
        size: leaves in the tree, as the checkpoint states it.
        proof: sibling hashes, 32 bytes each, lowest level first.
        root: 32 bytes, the checkpoint's root hash.

    Raises:
        ValueError: index out of range or a hash of the wrong length (the caller's mistake).
        ProofError: the proof does not lead to ``root`` (the data's fault).

    Source: RFC 9162 section 2.1.3.2.
    """
    _check_index(index, size)
    for value in (leaf_hash, root, *proof):
        _check_hash(value)
    first, last, node = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            raise ProofError(f"the proof for leaf {index} is longer than a tree of {size} leaves allows")
        if first & 1 or first == last:
            node = hash_node(sibling, node)
            while not first & 1 and first != 0:
                first, last = first >> 1, last >> 1
        else:
            node = hash_node(node, sibling)
        first, last = first >> 1, last >> 1
    if last != 0 or not hmac.compare_digest(node, root):
        raise ProofError(f"the proof for leaf {index} does not lead to the root of the tree of {size} leaves")


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside a tree of {size} leaves")


def _check_hash(value: bytes) -> None:
    if len(value) != HASH_BYTES:
        raise ValueError(f"a hash of {len(value)} bytes where {HASH_BYTES} are needed")
