"""The tree is RFC 9162's: known roots, every leaf proves itself and nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core.merkle import (
    EMPTY_ROOT,
    TreeBuilder,
    hash_leaf,
    hash_node,
    prove_inclusion,
    root_hash,
    verify_inclusion,
)
from vault.errors import ProofError

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "merkle.json").read_text())

leaves = st.lists(st.binary(max_size=8), min_size=1, max_size=70).map(
    lambda data: [hash_leaf(one) for one in data]
)


def reference_root(hashes: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word for word: split at the largest power of two below the size."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hash_node(reference_root(hashes[:split]), reference_root(hashes[split:]))


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert root_hash([]) == EMPTY_ROOT == hashlib.sha256(b"").digest()


def test_leaf_and_node_hashes_are_apart() -> None:
    assert hash_leaf(b"ab") == hash_leaf(b"a", b"b") == hashlib.sha256(b"\x00ab").digest()
    assert hash_node(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()


@pytest.mark.parametrize("tree", VECTORS["trees"], ids=lambda tree: str(tree["size"]))
def test_known_roots_and_proofs(tree: dict[str, Any]) -> None:
    hashes = [hash_leaf(bytes.fromhex(data)) for data in VECTORS["leaves"][: tree["size"]]]
    assert root_hash(hashes).hex() == tree["root"]
    for proof in tree["proofs"]:
        siblings = [bytes.fromhex(one) for one in proof["hashes"]]
        assert prove_inclusion(hashes, proof["index"]) == siblings
        verify_inclusion(
            hashes[proof["index"]],
            index=proof["index"],
            size=tree["size"],
            proof=siblings,
            root=bytes.fromhex(tree["root"]),
        )


@given(leaves)
def test_the_growing_tree_has_the_root_of_the_definition_at_every_size(hashes: list[bytes]) -> None:
    tree = TreeBuilder()
    for size, leaf_hash in enumerate(hashes, start=1):
        tree.append(leaf_hash)
        assert (tree.size, tree.root()) == (size, reference_root(hashes[:size]))


@given(leaves, st.data())
def test_a_leaf_proves_itself_and_no_other_place(hashes: list[bytes], data: st.DataObject) -> None:
    hashes = [hash_leaf(leaf_hash, bytes([number])) for number, leaf_hash in enumerate(hashes)]  # all differ
    size, root = len(hashes), root_hash(hashes)
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(hashes, index)
    assert len(proof) <= (size - 1).bit_length()
    verify_inclusion(hashes[index], index=index, size=size, proof=proof, root=root)
    for other in range(size):
        if other != index:
            with pytest.raises(ProofError):
                verify_inclusion(hashes[index], index=other, size=size, proof=proof, root=root)
            with pytest.raises(ProofError):
                verify_inclusion(hashes[other], index=index, size=size, proof=proof, root=root)


@given(leaves, st.data())
def test_an_altered_proof_is_refused(hashes: list[bytes], data: st.DataObject) -> None:
    size, root = len(hashes), root_hash(hashes)
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(hashes, index)
    altered = [[*proof, bytes(32)], [bytes(32), *proof]]
    if proof:
        spot, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
        flipped = (int.from_bytes(proof[spot], "big") ^ 1 << bit).to_bytes(32, "big")
        altered += [proof[:-1], proof[1:], [*proof[:spot], flipped, *proof[spot + 1 :]]]
    for wrong in altered:
        with pytest.raises(ProofError):
            verify_inclusion(hashes[index], index=index, size=size, proof=wrong, root=root)


def test_no_tree_with_its_last_leaf_repeated_has_the_same_root() -> None:
    hashes = [hash_leaf(bytes([number])) for number in range(3)]
    assert root_hash(hashes) != root_hash([*hashes, hashes[-1]])


@pytest.mark.parametrize(("index", "size"), [(3, 3), (-1, 3), (0, 0)])
def test_an_index_outside_the_tree_is_the_callers_mistake(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"index {index} is outside a tree of {size} leaves"):
        verify_inclusion(bytes(32), index=index, size=size, proof=[], root=bytes(32))
    with pytest.raises(ValueError, match="outside a tree"):
        prove_inclusion([bytes(32)] * size, index)


def test_a_hash_of_another_length_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        TreeBuilder().append(bytes(31))
    with pytest.raises(ValueError, match="31 bytes"):
        verify_inclusion(bytes(32), index=0, size=1, proof=[], root=bytes(31))


def test_a_proof_in_a_two_hour_recording_is_small() -> None:
    hashes = [hash_leaf(number.to_bytes(4, "big")) for number in range(14_400)]
    assert sum(map(len, prove_inclusion(hashes, 9_999))) <= 1024
