"""Whatever is altered in a recording, two verifiers refuse it, name the same file, and nothing is read.

GREENROOM_FULL=1 takes the long way: 100 kB, both bits of every byte, every length, 5,000 random alterations.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from tests.examples.both_verifiers import (
    ALL,
    RING,
    MemoryVerification,
    Stored,
    one_run,
    taken_over,
    unfinished,
    verdict,
    with_late_files,
    with_media,
)
from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import OTHER_RECORDING, RECORDING, open_writer, put_second, write_seconds
from vault.adapters.dir_store import DirChunkStore
from vault.errors import FileMissingError, IntegrityError, VaultError
from vault.export import export_recording
from vault.reading import RecordingReader
from vault.verification import check_recording

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
FLIPPED_BYTES = 100_000 if IS_FULL else 20_000
RANDOM_ALTERATIONS = 5_000 if IS_FULL else 500
MOST_CUTS = FLIPPED_BYTES if IS_FULL else 1_000  # of one file, each at another length
SLOW_S = 3_600 if IS_FULL else 300

Place = tuple[int, int]

# Recordings with files that nothing depends on.
LOOSE_ENDS = (taken_over, unfinished, with_late_files)


def places(stored: Stored) -> dict[str, Place]:
    """Attempt and leaf of every chunk, by its name."""
    parts = ((name, name.partition("/chunk-")) for name in stored if not name.endswith(".tmp"))
    return {name: (int(attempt), int(leaf)) for name, (attempt, word, leaf) in parts if word}


def read_all(stored: Stored) -> dict[Place, bytes]:
    """Every plaintext that reading releases, by the place that it was asked for."""
    released: dict[Place, bytes] = {}
    try:
        reader = RecordingReader.open(MemoryRecording(stored), RING, recording_id=RECORDING)
    except VaultError:
        return released
    for place in places(stored).values():
        try:
            released[place] = reader.read_chunk(*place)[1]
        except (IntegrityError, FileMissingError, KeyError):
            continue  # KeyError: its attempt has no key record, so the reader does not know it
    return released


@pytest.fixture(scope="module")
def long_run() -> Stored:
    """A complete recording of FLIPPED_BYTES in five files."""
    stored = one_run(media_bytes=FLIPPED_BYTES - 2_000)
    assert sum(map(len, stored.values())) >= FLIPPED_BYTES
    assert verdict(stored) == (0, "")
    return stored


@pytest.mark.acceptance  # takes a minute and a half: not in make check
@pytest.mark.timeout(SLOW_S)
@pytest.mark.parametrize("bit", [0, 7])
def test_every_flipped_bit_is_refused_and_named(long_run: Stored, bit: int) -> None:
    altered = dict(long_run)
    reader = RecordingReader.open(MemoryRecording(altered), RING, recording_id=RECORDING)
    for name, good in long_run.items():
        place = places(long_run).get(name)
        for position in range(len(good)):
            # Within the ciphertext one bit looks like another: the short way takes the two in turns there.
            is_bulk = place is not None and 104 <= position < len(good) - 80
            if is_bulk and not IS_FULL and position % 2 != bit % 2:
                continue
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            altered[name] = bytes(bad)
            assert verdict(altered) == (1, name), position
            if place is not None:
                with pytest.raises(IntegrityError):
                    reader.read_chunk(*place)
        altered[name] = good
    assert verdict(altered) == (0, "")


@pytest.mark.timeout(SLOW_S)
def test_every_truncation_is_refused_and_named(long_run: Stored) -> None:
    sealed = read_all(long_run)
    for name, good in long_run.items():
        step = -(-len(good) // MOST_CUTS)
        lengths = {*range(0, len(good), step), len(good) - 1}
        cut = (good[:length] for length in lengths)  # one at a time: together they would take gigabytes
        for altered in chain(cut, (good + b"\0", good + good)):
            stored = long_run | {name: altered}
            assert verdict(stored) == (1, name), len(altered)
            released = read_all(stored)
            assert released.items() <= sealed.items()
            assert places(stored).get(name) not in released


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_dropped_file_is_named_unless_nothing_is_lost_with_it(make: Callable[[], Stored]) -> None:
    stored = make()
    code = verdict(stored)[0]
    checkpoints = [name for name in stored if "checkpoint" in name]
    for name in stored:
        dropped = {other: data for other, data in stored.items() if other != name}
        if len(dropped) == 0:
            continue  # nothing is left to verify
        found = verdict(dropped)
        if name == "manifest":
            assert found == (3, "")
        elif found[0] != 1:
            # Temporary, late, not acknowledged, or an unfinished recording's word on what was acknowledged.
            assert found == (code, "")
            is_last_word = code == 3 and name in checkpoints
            assert name.endswith(".tmp") or make in LOOSE_ENDS or is_last_word
        else:
            assert found == (1, name)


def test_several_holes_and_bad_chunks_are_all_named() -> None:
    stored = one_run(media_bytes=4_000, chunks=12)
    files = [f"1/chunk-{leaf:010}" for leaf in (2, 3, 6, 9, 13)]
    for name in files[:4]:
        del stored[name]
    stored["1/chunk-0000000010"] += b"x"
    del stored[files[4]]
    named = ["1/chunk-0000000002", "1/chunk-0000000006", *(f"1/chunk-{leaf:010}" for leaf in (9, 10, 13))]
    assert verdict(stored) == (1, named[0])
    report = check_recording(MemoryRecording(stored), RING.public_key, recording_id=RECORDING).report
    assert [problem.file for problem in report.problems] == named
    assert [name for name, _ in MemoryVerification(stored, RING.public_key, ()).bad] == named


@pytest.mark.parametrize("make", [taken_over, unfinished, with_media])
def test_swapped_and_repeated_chunks_are_named_across_tracks_and_attempts(
    make: Callable[[], Stored],
) -> None:
    stored, sealed = make(), read_all(make())
    names = list(places(stored))
    for first in names:
        for second in names:
            if first == second:
                continue
            assert verdict(stored | {second: stored[first]}) == (1, second)
            if first < second:
                swapped = stored | {first: stored[second], second: stored[first]}
                assert verdict(swapped) == (1, first)
                released = read_all(swapped)
                assert not {places(stored)[first], places(stored)[second]} & released.keys()
                assert released.items() <= sealed.items()


def test_files_of_another_recording_and_of_another_writing_of_this_one_are_named() -> None:
    stored = taken_over()
    store = MemoryChunkStore()
    for recording in (RECORDING, OTHER_RECORDING):
        for attempt in (1, 2, 3):
            writer = open_writer(store, RING, recording_id=recording, attempt=attempt)
            write_seconds(writer, seconds=2)
            writer.checkpoint()
    for recording in (RECORDING, OTHER_RECORDING):
        other = store.recordings[recording]
        for name in stored.keys() & other.keys():
            spliced = stored | {name: other[name]}
            code, first = verdict(spliced)
            # What we sealed ourselves for this very place is good by itself: then the tree tells.
            assert code == 1, name
            if recording == OTHER_RECORDING:
                assert first == name
            assert read_all(spliced).items() <= read_all(stored).items()


@pytest.mark.timeout(SLOW_S)
def test_random_alterations_are_refused() -> None:
    makes, chance = list(ALL.values()), random.Random(20_261_121)
    made = {make: make() for make in makes}
    sealed = {make: read_all(stored) for make, stored in made.items()}
    accepted = []
    for number in range(RANDOM_ALTERATIONS):
        make = chance.choice(makes)
        altered = dict(made[make])
        touched = {alter(altered, chance) for _ in range(chance.choice([1, 1, 1, 2, 3]))}
        if altered == made[make]:
            continue  # the second undid the first
        code, first = verdict(altered)
        changed = {name for name in altered if altered[name] != made[make].get(name)}
        if code != 1 or (len(touched) == 1 and first not in changed):
            accepted.append((number, make.__name__, touched, code, first))
        assert read_all(altered).items() <= sealed[make].items()
    assert accepted == []


def alter(stored: Stored, chance: random.Random) -> str:
    """Alter one file, at random; give its name."""
    name = chance.choice([name for name in stored if not name.endswith(".tmp")])
    data = bytearray(stored[name])
    start = chance.randrange(len(data)) if data else 0
    end = min(start + chance.choice([1, 2, 16, 300]), len(data))
    match chance.randrange(6):
        case 0 if data:
            data[start] ^= 1 << chance.randrange(8)
        case 1 if data:
            del data[start:end]
        case 2:
            data[start:start] = chance.randbytes(chance.choice([1, 16, 5_000]))
        case 3 if data:
            data[start:end] = bytes(byte ^ 0xFF for byte in data[start:end])
        case 4:
            data[start:start] = data[start:end] or b"\n"
        case _:
            data = bytearray(chance.randbytes(len(data) + 1))
    stored[name] = bytes(data)
    return name


def test_a_rolled_back_folder_is_seen_against_the_heads_known_elsewhere() -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=2)
    writer.checkpoint()
    old = dict(store.recordings[RECORDING])
    put_second(writer, 1, 2)
    known = writer.checkpoint()
    assert known is not None
    assert verdict(old) == (3, "")
    assert verdict(old, heads=(known.head,)) == (1, "1/chunk-0000000006")
    assert verdict(store.recordings[RECORDING], heads=(known.head,)) == (3, "")


@pytest.mark.media
def test_no_altered_recording_is_exported(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path)
    stored = with_media()
    for name, data in stored.items():
        store.put(RECORDING, name, data)
    folder, out = tmp_path / RECORDING, tmp_path / "out.mp4"
    for name, good in stored.items():
        (folder / name).chmod(0o600)
        (folder / name).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(IntegrityError, match=name):
            export_recording(folder, RING, out)
        (folder / name).write_bytes(good)
        assert [path.name for path in tmp_path.iterdir()] == [RECORDING]
    export_recording(folder, RING, out)
    assert out.stat().st_size > 1_000
