"""Checkpoints state one attempt's size and root, and the recording's root covers all attempts in order."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring
from vault.core.checkpoint import TreeHead, decode_checkpoint, encode_checkpoint, recording_root
from vault.core.ids import RecordingId
from vault.core.note import sign_note
from vault.errors import FormatError, OtherSignerError

RING = make_key_ring()
HEAD = TreeHead(attempt=3, size=52, root=bytes(range(32)))
ROOT = "A" * 43 + "="
VECTOR = Path(__file__).parents[2] / "vectors" / "checkpoint.txt"


def encode(head: TreeHead = HEAD) -> bytes:
    return encode_checkpoint(RECORDING, head, public_key=RING.public_key, sign=RING.sign)


def decode(data: bytes, *, recording_id: RecordingId = RECORDING, attempt: int = 3) -> TreeHead:
    return decode_checkpoint(data, recording_id=recording_id, attempt=attempt, public_key=RING.public_key)


def test_the_stored_example_is_what_is_written_and_read() -> None:
    assert encode() == VECTOR.read_bytes()
    assert decode(VECTOR.read_bytes()) == HEAD


def test_the_text_is_origin_size_and_root() -> None:
    root = base64.b64encode(HEAD.root).decode()
    assert encode().decode().startswith(f"greenroom/recording/{RECORDING}/3\n52\n{root}\n\n\u2014 greenroom/")


def test_a_checkpoint_of_another_attempt_or_recording_is_refused() -> None:
    with pytest.raises(FormatError):
        decode(encode(), attempt=4)
    with pytest.raises(FormatError):
        decode(encode(), recording_id=OTHER_RECORDING)


def test_another_signer_is_refused() -> None:
    other = make_key_ring(2)
    note = encode_checkpoint(RECORDING, HEAD, public_key=other.public_key, sign=other.sign)
    with pytest.raises(OtherSignerError):
        decode(note)


@pytest.mark.parametrize(
    "lines",
    [["052", ROOT], ["52"], ["52", "AAAA"], ["-1", ROOT], ["52", ROOT, "more"], ["52", ROOT[:-2] + "B="]],
)
def test_a_signed_text_of_another_form_is_refused(lines: list[str]) -> None:
    text = "\n".join([f"greenroom/recording/{RECORDING}/3", *lines, ""])
    with pytest.raises(FormatError):
        decode(sign_note(text, public_key=RING.public_key, sign=RING.sign))


def test_the_recording_root_is_the_hash_of_its_heads_in_order() -> None:
    first, second = TreeHead(attempt=1, size=7, root=bytes(32)), HEAD
    expected = hashlib.sha256(
        b"greenroom recording root v1\x00"
        + bytes.fromhex(RECORDING.replace("-", ""))
        + bytes.fromhex("00000001" + "0000000000000007")
        + bytes(32)
        + bytes.fromhex("00000003" + "0000000000000034")
        + bytes(range(32))
    ).digest()
    assert recording_root(RECORDING, [first, second]) == expected
    assert recording_root(OTHER_RECORDING, [first, second]) != expected
    with pytest.raises(ValueError, match="attempts must rise"):
        recording_root(RECORDING, [second, first])
