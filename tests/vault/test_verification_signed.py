"""What breaks a rule of the page though our own key signed it is refused and named, rule by rule.

The second verifier takes the signer's word for most of it (docs/RECORDING.md §10).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.examples.both_verifiers import RING, empty, plain, signed_verdict, taken_over
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.vault.signed_anew import (
    CHECKPOINT,
    INIT,
    KEY_RECORD,
    LAST,
    MEDIA,
    compact,
    lines_of,
    put,
    sign_chunk,
    sign_text,
)
from vault.core.canonical_json import encode_json
from vault.core.manifest import Manifest, decode_manifest, manifest_name

Fields = dict[str, Any]


@pytest.mark.parametrize(
    ("name", "offset", "form", "values"),
    [
        (MEDIA, 0, "I", (0x47525644,)),
        (MEDIA, 4, "H", (2,)),
        (MEDIA, 6, "B", (1,)),
        (MEDIA, 6, "B", (2,)),
        (MEDIA, 6, "B", (3,)),
        (MEDIA, 7, "B", (2,)),
        (MEDIA, 7, "B", (0x81,)),
        (MEDIA, 8, "B", (1,)),
        (MEDIA, 24, "B", (0,)),
        (MEDIA, 40, "I", (2,)),
        (MEDIA, 40, "I", (0,)),
        (MEDIA, 44, "I", (0,)),
        (MEDIA, 44, "I", (3,)),
        (MEDIA, 48, "I", (1,)),
        (MEDIA, 52, "I", (0,)),
        (MEDIA, 56, "I", (0,)),
        (MEDIA, 52, "II", (2, 2000)),
        (MEDIA, 60, "Q", (0,)),
        (MEDIA, 60, "Q", (2,)),
        (MEDIA, 60, "Q", (1 << 48,)),
        (MEDIA, 68, "Q", (3,)),
        (MEDIA, 68, "Q", (1 << 32,)),
        (MEDIA, 76, "I", (0,)),
        (MEDIA, 76, "I", (8,)),
        (MEDIA, 80, "q", ((1 << 62) + 1,)),
        (MEDIA, 80, "q", (-(1 << 62) - 1,)),
        (MEDIA, 88, "Q", ((1 << 62) + 1,)),
        (MEDIA, 96, "q", ((1 << 52) + 1,)),
        (MEDIA, 96, "q", (-(1 << 52) - 1,)),
        (INIT, 7, "B", (1,)),
        (INIT, 80, "q", (1,)),
        (INIT, 88, "Q", (1,)),
        (INIT, 6, "B", (0,)),
        (INIT, 48, "I", (1,)),
        (LAST, 7, "B", (1,)),
        (LAST, 80, "q", (1,)),
        (LAST, 6, "B", (0,)),
    ],
)
def test_a_header_that_breaks_the_table(name: str, offset: int, form: str, values: tuple[int, ...]) -> None:
    stored = plain()
    stored[name] = sign_chunk(put(stored[name], offset, form, *values))
    assert signed_verdict(stored) == (1, name)


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [(7, "B", 0), (80, "q", 1 << 62), (80, "q", -(1 << 62)), (88, "Q", 1 << 62), (96, "q", -(1 << 52))],
)
def test_a_header_at_the_limit_breaks_the_tree_only(offset: int, form: str, value: int) -> None:
    stored = plain()
    stored[MEDIA] = sign_chunk(put(stored[MEDIA], offset, form, value))
    assert signed_verdict(stored) == (1, CHECKPOINT)


def test_bytes_after_a_chunk_and_a_chunk_too_large() -> None:
    stored = plain()
    body = stored[MEDIA][:-64]
    assert signed_verdict(stored | {MEDIA: sign_chunk(body + b"x" + bytes(64))}) == (1, MEDIA)
    largest = 33_554_432
    too_large = put(body, 76, "I", largest + 1)[:104] + bytes(largest + 1 + 16 + 64)
    assert signed_verdict(stored | {MEDIA: sign_chunk(too_large)}) == (1, MEDIA)
    assert signed_verdict(stored | {"manifest": bytes(4 * 1024 * 1024 + 1)}) == (1, "manifest")


SPELLINGS: dict[str, Callable[[str], str]] = {
    "white space": lambda text: text.replace(",", ", ", 1),
    "other order": lambda text: json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")),
    "escaped": lambda text: text.replace("greenroom-", "\\u0067reenroom-", 1),
    "twice": lambda text: text[:-1] + "," + text[1:],
    "more": lambda text: compact({**json.loads(text), "zz": 1}),
    "float": lambda text: text.replace("000,", "000.0,", 1) if "000," in text else text[:-1] + ".0}",
    "exponent": lambda text: text.replace('_us":1', '_us":1e0', 1),
    "minus": lambda text: text.replace('_us":1', '_us":-0', 1),
    "array": lambda text: f"[{text}]",
    "null": lambda text: "null",
    "nested": lambda text: "[" * 100_000,
    "long number": lambda text: text.replace('_us":1', '_us":' + "1" * 5_000, 1),
    "empty line": lambda text: text + "\n",
    "control": lambda text: text + "\r",
    "separator": lambda text: text + "\n\n" + text,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", ["manifest", KEY_RECORD])
def test_json_in_another_spelling(name: str, spelling: str) -> None:
    stored = plain()
    first, text = lines_of(stored[name])
    changed = SPELLINGS[spelling](text)
    assert changed != text
    assert signed_verdict(stored | {name: sign_text(f"{first}\n{text}\n")}) == (0, "")
    assert signed_verdict(stored | {name: sign_text(f"{first}\n{changed}\n")}) == (1, name)


VALUES: dict[str, dict[str, list[Any]]] = {
    KEY_RECORD: {
        "format": ["greenroom-key-record/2", 1],
        "recording": [OTHER_RECORDING, RECORDING.upper()],
        "attempt": [2, 0, True, "1"],
        "revision": [2, 0, True, -1],
        "tenant": ["00" * 15, "AA" * 16, "0" * 33, None, "11" * 16],
        "wall_start_us": ["1", None, 1 << 53, 1.5, False, [1]],
        "salt": ["00" * 31, "GG" * 32, "00" * 33, ""],
        "commitment": ["00" * 31, "FF" * 32, None],
        "kek_id": ["0" * 15, "0" * 17, "A" * 16, "g" * 16, 1],
        "wrap": ["aes-256-gcm-siv", "", None],
        "wrapped_key": ["AAAA", "A" * 79 + "=", "A" * 84, "A" * 79 + "-", "A" * 80 + "\n", ""],
    },
    "manifest": {
        "format": ["greenroom-manifest/2", None],
        "recording": [OTHER_RECORDING, 1],
        "tenant": ["00" * 15, "AA" * 16, "11" * 16],
        "session": ["", "x" * 257, 1, None],
        "capture": ["none", "", None],
        "media_start_us": [0, "0", 1.0, True, 1 << 53],
        "attempts": [[], {}, None, [1], [{}]],
        "root": ["00" * 32, "00" * 31, None],
        "tracks": [[], {}, None, [1], [{}]],
        "gaps": [{}, [1], [{"start_us": 1, "end_us": 2}], [{"start_us": 1, "end_us": "2", "reason": ""}]],
        "cut_marks_us": [[2, 1], ["1"], [True], 1],
    },
}
WRONG: list[Any] = ["x", None, -1, 1 << 40, True, 1.5, []]
CASES = [(name, field, value) for name in VALUES for field in VALUES[name] for value in VALUES[name][field]]


@pytest.mark.parametrize(("name", "field", "value"), CASES)
def test_a_field_with_a_value_that_it_cannot_have(name: str, field: str, value: Any) -> None:
    stored = plain()
    first, text = lines_of(stored[name])
    fields: Fields = json.loads(text)
    missing = {other: fields[other] for other in fields if other != field}
    assert signed_verdict(stored | {name: sign_text(f"{first}\n{compact(missing)}\n")}) == (1, name)
    found = signed_verdict(stored | {name: sign_text(f"{first}\n{compact({**fields, field: value})}\n")})
    # A key record alone cannot tell that its tenant is another: the chunks do, one by one.
    assert found == (1, INIT if (field, value) == ("tenant", "11" * 16) and name == KEY_RECORD else name)


def test_values_that_only_the_recorder_knows_are_taken() -> None:
    stored = plain()
    first, text = lines_of(stored["manifest"])
    for changed in (
        {"session": 'é\n"\\\u2028\U0001f600' * 40},
        {"session": "x" * 256},
        {"capture": "upload"},
        {"gaps": [{"start_us": -1, "end_us": 2, "reason": "\x00\x1f"}]},
        {"cut_marks_us": [-1, 1, 1]},
    ):
        note = sign_text(f"{first}\n{compact(json.loads(text) | changed)}\n")
        assert signed_verdict(stored | {"manifest": note}) == (0, ""), changed


def test_a_start_that_is_no_attempts_is_bad_without_media_too() -> None:
    stored = empty()
    first, text = lines_of(stored["manifest"])
    assert signed_verdict(stored) == (0, "")
    note = sign_text(f"{first}\n{compact(json.loads(text) | {'media_start_us': 1})}\n")
    assert signed_verdict(stored | {"manifest": note}) == (1, "manifest")


def test_nested_fields_of_the_manifest() -> None:
    stored = plain()
    first, text = lines_of(stored["manifest"])
    for part in ("attempts", "tracks"):
        for field in json.loads(text)[part][0]:
            for value in WRONG:
                fields = json.loads(text)
                if json.dumps(fields[part][0][field]) == json.dumps(value):
                    continue
                fields[part][0][field] = value
                code, name = signed_verdict(stored | {"manifest": sign_text(f"{first}\n{compact(fields)}\n")})
                is_own_word = field == "expected_us" and value == 1 << 40
                assert (code, name) == ((0, "") if is_own_word else (1, "manifest")), (field, value)
                del fields[part][0][field]
                fewer = sign_text(f"{first}\n{compact(fields)}\n")
                assert signed_verdict(stored | {"manifest": fewer})[0] == 1


MANIFESTS: list[Callable[[Manifest], dict[str, Any]]] = [
    lambda m: {"tenant": "11" * 16},
    lambda m: {"cut_marks_us": [3, 1]},
    lambda m: {"tracks": m.tracks[:-1]},
    lambda m: {"tracks": [msgspec.structs.replace(m.tracks[0], recorded_us=1), *m.tracks[1:]]},
    lambda m: {"tracks": [msgspec.structs.replace(m.tracks[0], expected_us=1), *m.tracks[1:]]},
    lambda m: {"tracks": [msgspec.structs.replace(m.tracks[0], cut=not m.tracks[0].cut), *m.tracks[1:]]},
    lambda m: {
        "attempts": [*m.attempts[:-1], msgspec.structs.replace(m.attempts[-1], wall_start_us=1 << 52)]
    },
    lambda m: {"attempts": [msgspec.structs.replace(m.attempts[0], closed="own"), *m.attempts[1:]]},
]


@pytest.mark.parametrize("number", range(len(MANIFESTS)))
def test_a_manifest_that_the_chunks_do_not_bear_out_is_bad_though_we_signed_it(number: int) -> None:
    stored = taken_over()
    manifest = decode_manifest(stored["manifest"], recording_id=RECORDING, public_key=RING.public_key)
    changed = msgspec.structs.replace(manifest, **MANIFESTS[number](manifest))
    text = f"{manifest_name(RECORDING)}\n{encode_json(changed)}\n"
    assert signed_verdict(stored | {"manifest": sign_text(text)}) == (1, "manifest")


def test_a_checkpoint_with_its_root_in_another_spelling() -> None:
    stored = plain()
    first, size, root = lines_of(stored[CHECKPOINT])
    assert signed_verdict(stored | {CHECKPOINT: sign_text(f"{first}\n{size}\n {root}\n")}) == (1, CHECKPOINT)
