"""Held and shredded recordings: what is good and what is altered, chain included."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.examples.both_verifiers import ALL, RING, Stored, our_verdict, plain, taken_over, unfinished
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.vault.signed_anew import compact, lines_of, sign_text
from vault.custody import place_hold, release_hold
from vault.shredding import shred_recording

AT_US = 1_800_000_100_000_000
FIRST, SECOND, THIRD = (f"custody-{number:010}" for number in (1, 2, 3))


def stored_in(stored: Stored) -> MemoryChunkStore:
    memory = MemoryChunkStore()
    memory.recordings[RECORDING] = stored
    return memory


def held(stored: Stored) -> Stored:
    place_hold(stored_in(stored), RING, recording_id=RECORDING, by="legal", reason="case 7", at_us=AT_US)
    return stored


def released(stored: Stored) -> Stored:
    memory = stored_in(held(stored))
    release_hold(memory, RING, recording_id=RECORDING, by="legal", reason="closed", at_us=AT_US)
    return stored


def shredded(stored: Stored) -> Stored:
    shred_recording(stored_in(stored), RING, recording_id=RECORDING, by="ann", reason="asked", at_us=AT_US)
    return stored


def cut_short(stored: Stored) -> Stored:
    """Give a recording whose shredding was killed before the last key record was removed."""
    keys = {name: data for name, data in stored.items() if "/key-record-" in name}
    return shredded(stored) | dict(list(keys.items())[-1:])


STATES: dict[str, tuple[Callable[[Stored], Stored], int | None]] = {
    "held": (held, None),
    "released": (released, None),
    "shredded": (shredded, 0),
    "released and shredded": (lambda stored: shredded(released(stored)), 0),
    "cut short": (cut_short, 3),
}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
@pytest.mark.parametrize("state", STATES)
def test_every_kind_of_recording_in_every_state(state: str, make: Callable[[], Stored]) -> None:
    change, code = STATES[state]
    assert our_verdict(change(make())) == (our_verdict(make())[0] if code is None else code, "")


@pytest.mark.parametrize("make", [plain, unfinished])
@pytest.mark.parametrize("state", STATES)
def test_what_is_altered_is_refused_and_named(state: str, make: Callable[[], Stored]) -> None:
    rng = random.Random(f"{state} {make.__name__}")
    good = STATES[state][0](make())
    for name in good:
        is_looked_at = not name.endswith(".tmp") and not ("/key-record" in name and state == "cut short")
        for _ in range(3):
            data = bytearray(good[name])
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            assert our_verdict(good | {name: bytes(data)})[1] == (name if is_looked_at else "")
        our_verdict({other: data for other, data in good.items() if other != name})
        our_verdict(good | {name: good[name][: rng.randrange(len(good[name]))]})


CHAINS: list[tuple[str, str, dict[str, Any]]] = [
    (FIRST, FIRST, {"action": "release"}),
    (FIRST, FIRST, {"action": "burn"}),
    (FIRST, FIRST, {"number": 2}),
    (FIRST, FIRST, {"number": 0}),
    (FIRST, FIRST, {"recording": OTHER_RECORDING}),
    (FIRST, FIRST, {"format": "greenroom-custody/2"}),
    (FIRST, FIRST, {"at_us": "now"}),
    (FIRST, FIRST, {"by": ""}),
    (FIRST, FIRST, {"by": "x" * 257}),
    (FIRST, FIRST, {"reason": ""}),
    (FIRST, FIRST, {"reason": "x" * 1001}),
    (FIRST, FIRST, {"action": "shred"}),
    (FIRST, SECOND, {"action": "shred", "attempts": [{}]}),
    (SECOND, SECOND, {"action": "hold"}),
    (SECOND, SECOND, {"action": "shred"}),
    (THIRD, THIRD, {"action": "release", "attempts": []}),
    (THIRD, THIRD, {"action": "hold"}),
    (THIRD, THIRD, {"attempts": []}),
]
GRAVES: list[dict[str, Any]] = [
    {"attempt": 0},
    {"attempt": 1 << 32},
    {"attempt": "1"},
    {"size": -1},
    {"size": 1 << 32},
    {"root": "00"},
    {"root": "AA" * 32},
    {"tenant": "0" * 31},
    {"wall_start_us": None},
    {"more": 1},
]


def signed_anew(stored: Stored, name: str, **fields: Any) -> Stored:
    first, text = lines_of(stored[name])
    return stored | {name: sign_text(f"{first}\n{compact(json.loads(text) | fields)}\n")}


@pytest.mark.parametrize(("name", "bad", "fields"), CHAINS)
def test_a_chain_that_breaks_the_rules_though_we_signed_it(
    name: str, bad: str, fields: dict[str, Any]
) -> None:
    stored = shredded(released(plain()))
    if fields.get("attempts") == [{}]:  # a true tombstone, and then something after it
        bad_first = lines_of(stored[THIRD])[1]
        fields = {"action": "shred", "attempts": json.loads(bad_first)["attempts"]}
    assert our_verdict(signed_anew(stored, name, **fields)) == (1, bad)


@pytest.mark.parametrize("change", GRAVES, ids=str)
def test_a_grave_that_none_can_have(change: dict[str, Any]) -> None:
    stored = shredded(plain())
    (grave,) = json.loads(lines_of(stored[FIRST])[1])["attempts"]
    assert our_verdict(signed_anew(stored, FIRST, attempts=[grave | change])) == (1, FIRST)
    assert our_verdict(signed_anew(stored, FIRST, attempts=[grave, grave])) == (1, FIRST)


def test_a_tombstone_that_states_other_things_than_the_manifest() -> None:
    stored = shredded(plain())
    (grave,) = json.loads(lines_of(stored[FIRST])[1])["attempts"]
    for change, name in (
        ({"root": "11" * 32}, "1/chunk-0000000009"),
        ({"size": grave["size"] + 1}, "1/chunk-0000000010"),
        ({"wall_start_us": 1}, "manifest"),
        ({"tenant": "11" * 16}, "1/chunk-0000000000"),
    ):
        found = our_verdict(signed_anew(stored, FIRST, attempts=[grave | change]))
        assert found[0] == 1, change
        assert found[1] == name, change


def test_a_tombstone_without_an_attempt_of_the_manifest() -> None:
    stored = shredded(taken_over())
    graves = json.loads(lines_of(stored[FIRST])[1])["attempts"]
    for number in range(len(graves)):
        fewer = graves[:number] + graves[number + 1 :]
        assert our_verdict(signed_anew(stored, FIRST, attempts=fewer)) == (1, "manifest")


def test_a_hole_in_the_chain_is_named_and_nothing_after_it() -> None:
    stored = shredded(released(plain()))
    for name in (FIRST, SECOND):
        left = {other: data for other, data in stored.items() if other != name}
        assert our_verdict(left) == (1, name)


def test_a_bad_tombstone_destroys_nothing_of_the_verdict() -> None:
    stored = shredded(plain())
    assert our_verdict(stored | {FIRST: stored[FIRST] + b"x"}) == (1, FIRST)
    assert our_verdict({name: data for name, data in stored.items() if name != FIRST}) == (
        1,
        "1/key-record-0000000001",
    )
