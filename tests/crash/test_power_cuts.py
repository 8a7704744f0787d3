"""R1, R4: after a power cut nothing acknowledged is missing, and no manifest names a chunk that is not there.

GREENROOM_FULL=1 takes 200 cuts (about two minutes), else 20.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.crash.disk_log import Entry, Flush, Promise, Write, cut_power, promises
from tests.crash.power_cuts import Damage, DiskUnavailableError, WrittenDisk, look_after_cut, write_disk

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
CUTS = 200 if IS_FULL else 20
RECORDINGS = 20 if IS_FULL else 6
CUTS_OF_NAIVE = 6
SEED = 20261121

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1_200 if IS_FULL else 240)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: the disk is a file of it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as name:
        yield Path(name)


def written(place: Path, manner: str) -> WrittenDisk:
    try:
        return write_disk(place, count=RECORDINGS, manner=manner)
    except DiskUnavailableError as error:
        pytest.skip(f"this machine cannot: {error}")


def cut_evenly(disk: WrittenDisk, cuts: int, place: Path) -> list[Damage]:
    """Cut the power that many times, from the first promise to the end."""
    first = next(at for at, entry in enumerate(disk.log) if isinstance(entry, Promise)) + 1
    places = [first + (len(disk.log) - first) * number // (cuts - 1) for number in range(cuts)]
    return [look_after_cut(disk, at, seed=SEED + at, place=place) for at in places]


def test_what_was_acknowledged_is_there_after_every_power_cut(place: Path) -> None:
    disk = written(place, "durable")
    damages = cut_evenly(disk, CUTS, place)
    assert len(damages) == CUTS
    assert [damage for damage in damages if damage != Damage()] == []
    assert len(promises(disk.log, len(disk.log))) == 3 * RECORDINGS


@pytest.mark.parametrize("manner", ["careless", "manifest_only"])
def test_a_writer_that_does_not_wait_for_the_disk_is_caught(place: Path, manner: str) -> None:
    damages = cut_evenly(written(place, manner), CUTS_OF_NAIVE, place)
    assert sum(len(damage.lost) for damage in damages) > 0
    assert sum(len(damage.false_manifests) for damage in damages) > 0


def test_a_cut_keeps_what_was_flushed_and_some_of_what_came_after() -> None:
    log: list[Entry] = [
        Write(0, b"a" * 4096),
        Promise("early"),
        Flush(),
        Write(4096, b"b" * 8192),
        Promise("late"),
    ]
    empty = bytes(12_288)
    assert promises(log, 2) == ["early"]
    assert promises(log, 1) == []
    left = {bytes(cut_power(empty, log, len(log), Random(seed))) for seed in range(50)}
    assert {image[:4096] for image in left} == {b"a" * 4096}
    assert len(left) == 4  # each piece of the second write is there or not
    unflushed = {bytes(cut_power(empty, log, 2, Random(seed)))[:1] for seed in range(50)}
    assert unflushed == {b"a", b"\0"}
