"""Signed by our own key, and refused by both verifiers: what bears on places, trees, closes and roots."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

from tests.examples.both_verifiers import plain, taken_over, verdict
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.vault.signed_anew import (
    CHECKPOINT,
    INIT,
    KEY_RECORD,
    LAST,
    MEDIA,
    PLACES,
    PREFIX,
    compact,
    lines_of,
    put,
    sign_chunk,
    sign_text,
)


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        (0, "I", 0x47525644),
        (4, "H", 2),
        (6, "B", 1),
        (24, "B", 0),
        (40, "I", 2),
        (44, "I", 3),
        (48, "I", 1),
        (60, "Q", 0),
        (60, "Q", 2),
        (68, "Q", 3),
        (76, "I", 8),
    ],
)
def test_a_chunk_of_another_place_version_or_length(offset: int, form: str, value: int) -> None:
    stored = plain()
    stored[MEDIA] = sign_chunk(put(stored[MEDIA], offset, form, value))
    assert verdict(stored) == (1, MEDIA)


def test_chunks_after_the_last_and_in_another_order() -> None:
    stored = plain()
    after = stored[LAST][:104]
    after = put(put(after, 60, "Q", 5), 68, "Q", 10)  # track 1's next index, on the next leaf
    after = sign_chunk(after + stored[LAST][104:])
    assert verdict(stored | {"1/chunk-0000000010": after}) == (1, "1/chunk-0000000010")
    begun = put(put(put(stored[INIT], 44, "I", 3), 60, "Q", 1), 68, "Q", 10)
    assert verdict(stored | {"1/chunk-0000000010": sign_chunk(begun)}) == (1, "1/chunk-0000000010")
    begun = put(put(stored[INIT], 44, "I", 3), 68, "Q", 10)
    assert verdict(stored | {"1/chunk-0000000010": sign_chunk(begun)}) == (0, "")


def test_another_header_in_the_same_place_breaks_the_tree() -> None:
    for offset, form, value in ((7, "B", 0), (80, "q", 1 << 62), (88, "Q", 1 << 62), (96, "q", -(1 << 52))):
        stored = plain()
        stored[MEDIA] = sign_chunk(put(stored[MEDIA], offset, form, value))
        assert verdict(stored) == (1, CHECKPOINT)


@pytest.mark.parametrize(
    "change",
    [
        lambda size, root: f"0{size}\n{root}",
        lambda size, root: f"+{size}\n{root}",
        lambda size, root: f"9\n{root}",
        lambda size, root: f"{size}\n{root}\nextension",
        lambda size, root: f"{size}\n{root[:-1]}",
        lambda size, root: f"{size}\n{root[:-2]}{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[ord(root[-2]) % 26]}=",
        lambda size, root: f"{size}\n{base64.b64encode(bytes(31)).decode()}",
        lambda size, root: f"{size}\n{base64.b64encode(bytes(32)).decode()}",
        lambda size, root: f"{size}",
        lambda size, root: "",
        lambda size, root: f"٣\n{root}",
    ],
)
def test_a_checkpoint_in_another_form(change: Callable[[str, str], str]) -> None:
    stored = plain()
    first, size, root = lines_of(stored[CHECKPOINT])
    assert verdict(stored | {CHECKPOINT: sign_text(f"{first}\n{change(size, root)}\n")}) == (1, CHECKPOINT)


@pytest.mark.parametrize("name", PLACES)
def test_a_note_under_another_name(name: str) -> None:
    stored = plain()
    first, *rest = lines_of(stored[name])
    body = "\n".join(rest)
    for other in (*PLACES.values(), PREFIX, f"{PREFIX}/2", first.replace(RECORDING, OTHER_RECORDING), "x"):
        if other != first:
            assert verdict(stored | {name: sign_text(f"{other}\n{body}\n")}) == (1, name), other
            assert verdict(stored | {name: sign_text(f"{first}\n{body}\n", name=other)}) == (1, name), other
    good = stored[name]
    line = good.decode().split("\n")[-2]
    for bad in (
        good + line.encode() + b"\n",
        good.replace(b"\n", b"\r\n"),
        good[:-1],
        good.replace("—".encode(), b"-"),
        b"\xef\xbb\xbf" + good,
        good.replace(b"\n\n", b"\n\n\n"),
        good.replace(line.encode(), line.encode() + b"=="),
        good + b"\n",
        b"",
        b"\n\n",
        b"\xff" + good,
    ):
        assert verdict(stored | {name: bad}) == (1, name), bad


@pytest.mark.parametrize("field", ["salt", "commitment", "tenant", "wall_start_us", "kek_id", "wrapped_key"])
def test_a_revision_changes_the_wrapping_only(field: str) -> None:
    stored = plain()
    first, text = lines_of(stored[KEY_RECORD])
    fields = json.loads(text) | {"revision": 2}
    values = {"wall_start_us": 1, "kek_id": "0" * 16, "wrapped_key": "A" * 80}
    fields[field] = values.get(field, "11" * (len(str(fields[field])) // 2))
    second = "1/key-record-0000000002"
    is_wrapping = field in ("kek_id", "wrapped_key")
    stored[second] = sign_text(f"{first}\n{compact(fields)}\n")
    assert verdict(stored) == ((0, "") if is_wrapping else (1, second))


def test_an_attempt_closed_by_itself_has_its_last_chunks() -> None:
    stored = taken_over()
    first, text = lines_of(stored["manifest"])
    fields = json.loads(text)
    assert fields["attempts"][0]["closed"] == "recovered"
    fields["attempts"][0]["closed"] = "own"
    assert verdict(stored | {"manifest": sign_text(f"{first}\n{compact(fields)}\n")}) == (1, "manifest")
