"""Which files a stored recording has, and what their names say.

Source: docs/RECORDING.md §3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vault.core.ids import MAX_ATTEMPT, MAX_LEAF

MANIFEST_NAME: Final = "manifest"
TEMPORARY_SUFFIX: Final = ".tmp"  # a put that did not finish; never part of a recording

_NUMBER: Final = r"(0|[1-9][0-9]{0,9})"
_KEY_FILE: Final = re.compile(rf"{_NUMBER}/key-record-[0-9]{{10}}(.*\.tmp)?\Z", re.DOTALL)
_CUSTODY: Final = re.compile(r"custody-([0-9]{10})\Z")
_IN_ATTEMPT: Final = re.compile(rf"{_NUMBER}/(chunk|checkpoint|key-record)-([0-9]{{10}})\Z")


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """The manifest's place."""


@dataclass(frozen=True, slots=True)
class CustodyFile:
    """The place of one custody record."""

    number: int


@dataclass(frozen=True, slots=True)
class ChunkFile:
    """The place of leaf ``leaf`` of one attempt."""

    attempt: int
    leaf: int


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """The place of the checkpoint over ``size`` leaves of one attempt."""

    attempt: int
    size: int


@dataclass(frozen=True, slots=True)
class KeyRecordFile:
    """The place of one revision of an attempt's key record."""

    attempt: int
    revision: int


@dataclass(frozen=True, slots=True)
class TemporaryFile:
    """What a put that was cut short left behind."""


@dataclass(frozen=True, slots=True)
class UnknownFile:
    """A name that this format does not have."""


Place = ManifestFile | CustodyFile | ChunkFile | CheckpointFile | KeyRecordFile | TemporaryFile | UnknownFile


def custody_name(number: int) -> str:
    """Name of a custody record below the recording's folder; numbers count from 1."""
    return f"custody-{number:010}"


def check_file_name(name: str) -> str:
    """Check that a name stays below its recording's folder or key prefix, and give it.

    Raises:
        ValueError: it does not (the caller's mistake).
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is not a name below a recording's folder")
    return name


def chunk_name(attempt: int, leaf: int) -> str:
    """Name of a sealed chunk below the recording's folder."""
    return f"{attempt}/chunk-{leaf:010}"


def checkpoint_name(attempt: int, size: int) -> str:
    """Name of the checkpoint over ``size`` leaves below the recording's folder."""
    return f"{attempt}/checkpoint-{size:010}"


def key_record_name(attempt: int, revision: int) -> str:
    """Name of a key record below the recording's folder; revisions count from 1."""
    return f"{attempt}/key-record-{revision:010}"


def parse_name(name: str) -> Place:
    """Say what a name below the recording's folder stands for; the inverse of those above."""
    if name == MANIFEST_NAME:
        return ManifestFile()
    if name.endswith(TEMPORARY_SUFFIX):
        return TemporaryFile()
    custody = _CUSTODY.match(name)
    if custody is not None:
        number = int(custody[1])
        return CustodyFile(number) if 1 <= number <= MAX_LEAF else UnknownFile()
    match = _IN_ATTEMPT.match(name)
    if match is None:
        return UnknownFile()
    attempt, number = int(match[1]), int(match[3])
    if not 1 <= attempt <= MAX_ATTEMPT or number > MAX_LEAF:
        return UnknownFile()
    if match[2] == "chunk":
        return ChunkFile(attempt, number)
    if number == 0:
        return UnknownFile()
    return CheckpointFile(attempt, number) if match[2] == "checkpoint" else KeyRecordFile(attempt, number)


def may_hold_key(name: str) -> bool:
    """Whether a file may hold a wrapped key: a key record, or what a put or removal of one left behind."""
    return _KEY_FILE.match(name) is not None
