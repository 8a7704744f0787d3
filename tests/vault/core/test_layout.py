"""Names say what a file is, and only names in their one spelling are taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core.layout import (
    CheckpointFile,
    ChunkFile,
    CustodyFile,
    KeyRecordFile,
    ManifestFile,
    TemporaryFile,
    UnknownFile,
    checkpoint_name,
    chunk_name,
    custody_name,
    key_record_name,
    may_hold_key,
    parse_name,
)

attempts = st.integers(1, 2**32 - 1)
numbers = st.integers(1, 2**32 - 1)


@given(attempts, numbers)
def test_names_are_read_back(attempt: int, number: int) -> None:
    assert parse_name(chunk_name(attempt, number)) == ChunkFile(attempt, number)
    assert parse_name(checkpoint_name(attempt, number)) == CheckpointFile(attempt, number)
    assert parse_name(key_record_name(attempt, number)) == KeyRecordFile(attempt, number)
    assert parse_name(custody_name(number)) == CustodyFile(number)


def test_the_names_are_those_of_the_format() -> None:
    assert chunk_name(1, 0) == "1/chunk-0000000000"
    assert checkpoint_name(12, 52) == "12/checkpoint-0000000052"
    assert key_record_name(1, 1) == "1/key-record-0000000001"
    assert custody_name(3) == "custody-0000000003"
    assert parse_name("manifest") == ManifestFile()
    assert parse_name("1/chunk-0000000000") == ChunkFile(1, 0)
    assert parse_name("1/chunk-0000000000.00ff.tmp") == TemporaryFile()


@pytest.mark.parametrize(
    "name",
    [
        "Manifest",
        "manifest ",
        "1/manifest",
        "01/chunk-0000000000",
        "0/chunk-0000000000",
        "4294967296/chunk-0000000000",
        "1/chunk-000000000",
        "1/chunk-00000000000",
        "1/chunk-4294967296",
        "1/chunk-0000000000\n",
        "1/chunk-" + "\u0660" * 10,
        "1/checkpoint-0000000000",
        "1/key-record-0000000000",
        "1/2/chunk-0000000000",
        "custody-0000000000",
        "custody-4294967296",
        "custody-1",
        "1/custody-0000000001",
        "chunk-0000000000",
        "README",
    ],
)
def test_anything_else_is_unknown(name: str) -> None:
    assert parse_name(name) == UnknownFile()


@pytest.mark.parametrize("name", ["1/key-record-0000000001", "12/key-record-0000000002.00ff.tmp"])
def test_what_may_hold_a_key(name: str) -> None:
    assert may_hold_key(name)


@pytest.mark.parametrize(
    "name", ["1/chunk-0000000001", "manifest", "key-record-0000000001", "1/key-record-0000000001.txt"]
)
def test_what_holds_none(name: str) -> None:
    assert not may_hold_key(name)
