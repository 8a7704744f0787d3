"""The key record belongs to one revision of one attempt, and says so under its signature."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring
from vault.core.ids import KekId, RecordingId
from vault.core.key_record import KeyRecord, decode_hex, decode_key_record, encode_key_record
from vault.core.note import sign_note
from vault.errors import FormatError, OtherSignerError

RING = make_key_ring()
RECORD = KeyRecord(
    recording_id=RECORDING,
    attempt=2,
    wall_start_us=1_800_000_000_000_000,
    salt=bytes(32),
    commitment=bytes(range(32)),
    kek_id=KekId("0123456789abcdef"),
    wrapped_key=bytes(60),
    revision=3,
)
NOTE = encode_key_record(RECORD, public_key=RING.public_key, sign=RING.sign)


def decode(
    data: bytes = NOTE, *, recording_id: RecordingId = RECORDING, attempt: int = 2, revision: int = 3
) -> KeyRecord:
    return decode_key_record(
        data, recording_id=recording_id, attempt=attempt, revision=revision, public_key=RING.public_key
    )


def resign(**changes: object) -> bytes:
    body = json.loads(NOTE.decode().split("\n")[1]) | changes
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    name = f"greenroom/recording/{RECORDING}/2/key-record"
    return sign_note(f"{name}\n{text}\n", public_key=RING.public_key, sign=RING.sign)


def test_a_record_is_read_back() -> None:
    assert decode() == RECORD
    assert (decode().scope.recording_id, decode().scope.attempt) == (RECORDING, 2)


def test_the_names_in_it_are_those_of_the_format() -> None:
    name, body, *_ = NOTE.decode().split("\n")
    assert name == f"greenroom/recording/{RECORDING}/2/key-record"
    fields = json.loads(body)
    assert fields["format"] == "greenroom-key-record/1"
    assert fields["wrap"] == "aes-256-gcm"
    assert sorted(fields) == list(fields)


def test_the_record_of_another_place_is_refused() -> None:
    for wrong in ({"attempt": 1}, {"revision": 2}, {"recording_id": OTHER_RECORDING}):
        with pytest.raises(FormatError):
            decode(**wrong)


def test_another_signer_is_refused() -> None:
    other = make_key_ring(2)
    with pytest.raises(OtherSignerError):
        decode(encode_key_record(RECORD, public_key=other.public_key, sign=other.sign))


@pytest.mark.parametrize(
    "changes",
    [
        {"kek_id": "0123"},
        {"salt": "00"},
        {"salt": "00" * 31 + "0G"},
        {"commitment": "AB" * 32},
        {"wrapped_key": "AAAA"},
        {"wrapped_key": "*"},
        {"wrap": "rot13"},
        {"format": "greenroom-key-record/2"},
        {"tenant": ""},
        {"extra": 1},
    ],
)
def test_a_signed_record_of_another_form_is_refused(changes: dict[str, object]) -> None:
    assert decode(resign()) == RECORD
    with pytest.raises(FormatError):
        decode(resign(**changes))


def test_a_rewrapped_record_is_another_revision_of_the_same_attempt() -> None:
    record = msgspec.structs.replace(RECORD, revision=4, kek_id=KekId("f" * 16), wrapped_key=b"\1" * 60)
    note = encode_key_record(record, public_key=RING.public_key, sign=RING.sign)
    assert decode(note, revision=4) == record


def test_hex_has_one_spelling() -> None:
    assert decode_hex("root", "00ff", 2) == b"\x00\xff"
    for text in ("00FF", "00f", "00 ff", "zz00", "00ff00"):
        with pytest.raises(FormatError, match="its root is not 2 bytes"):
            decode_hex("root", text, 2)
