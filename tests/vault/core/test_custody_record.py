"""A custody record belongs to one place in one recording's chain, and says so under its signature."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring
from vault.core.checkpoint import TreeHead, recording_root
from vault.core.custody_record import (
    CustodyAction,
    CustodyRecord,
    ShreddedAttempt,
    decode_custody_record,
    encode_custody_record,
    may_follow,
)
from vault.core.ids import RecordingId
from vault.core.note import sign_note
from vault.errors import FormatError, OtherSignerError

RING = make_key_ring()
ATTEMPT = ShreddedAttempt(attempt=2, size=7, root="ab" * 32, tenant="00" * 16, wall_start_us=5)
HOLD = CustodyRecord(
    recording=RECORDING, number=1, action="hold", at_us=1_800_000_000_000_000, by="legal", reason="case 7"
)
RELEASE = msgspec.structs.replace(HOLD, number=2, action="release")
SHRED = msgspec.structs.replace(HOLD, number=3, action="shred", attempts=[ATTEMPT])


def encode(record: CustodyRecord) -> bytes:
    return encode_custody_record(record, public_key=RING.public_key, sign=RING.sign)


def decode(
    data: bytes, before: CustodyRecord | None = None, *, number: int = 1, recording: RecordingId = RECORDING
) -> CustodyRecord:
    return decode_custody_record(
        data, recording_id=recording, number=number, before=before, public_key=RING.public_key
    )


def resign(record: CustodyRecord, **changes: object) -> bytes:
    """Sign, with the right key, what `encode_custody_record` refuses to write."""
    body = json.loads(encode(record).decode().split("\n")[1]) | changes
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return sign_note(
        f"greenroom/recording/{RECORDING}/custody\n{text}\n", public_key=RING.public_key, sign=RING.sign
    )


def test_a_chain_is_read_back() -> None:
    assert decode(encode(HOLD)) == HOLD
    assert decode(encode(RELEASE), HOLD, number=2) == RELEASE
    assert decode(encode(SHRED), RELEASE, number=3) == SHRED


def test_the_root_of_a_tombstone_is_the_recordings() -> None:
    head = TreeHead(attempt=2, size=7, root=bytes.fromhex("ab" * 32))
    assert SHRED.root == recording_root(RECORDING, [head]).hex()
    assert ATTEMPT.head == head


@pytest.mark.parametrize("before", [None, "hold", "release", "shred"])
@pytest.mark.parametrize("action", ["hold", "release", "shred"])
def test_what_may_follow_what(before: CustodyAction | None, action: CustodyAction) -> None:
    allowed = {
        (None, "hold"),
        (None, "shred"),
        ("hold", "release"),
        ("release", "hold"),
        ("release", "shred"),
    }
    last = None if before is None else msgspec.structs.replace(HOLD, action=before)
    assert may_follow(last, action) == ((before, action) in allowed)


def test_a_record_that_cannot_follow_is_refused() -> None:
    with pytest.raises(FormatError, match="'release' cannot be the first"):
        decode(encode(RELEASE), None, number=2)
    with pytest.raises(FormatError, match="'shred' cannot be after 'hold'"):
        decode(encode(SHRED), HOLD, number=3)


def test_the_record_of_another_place_is_refused() -> None:
    with pytest.raises(FormatError, match="custody record 1 of"):
        decode(encode(HOLD), number=3)
    with pytest.raises(FormatError, match="it is the note"):
        decode(encode(HOLD), recording=OTHER_RECORDING)
    with pytest.raises(FormatError, match=f"of {OTHER_RECORDING}"):
        decode(resign(HOLD, recording=OTHER_RECORDING))


def test_another_signer_is_named_as_such() -> None:
    data = encode(HOLD)
    with pytest.raises(OtherSignerError):
        decode_custody_record(
            data, recording_id=RECORDING, number=1, before=None, public_key=make_key_ring(2).public_key
        )


@pytest.mark.parametrize(
    "change",
    [
        {"by": ""},
        {"by": "x" * 257},
        {"reason": ""},
        {"reason": "x" * 1001},
        {"action": "burn"},
        {"format": "greenroom-custody/2"},
        {"more": 1},
        {"attempts": [{"attempt": 1}]},
        {"attempts": [msgspec.to_builtins(ATTEMPT)]},
    ],
    ids=str,
)
def test_a_hold_with_other_fields_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        decode(resign(HOLD, **change))


@pytest.mark.parametrize(
    "attempts",
    [
        [],
        [ATTEMPT, ATTEMPT],
        [msgspec.structs.replace(ATTEMPT, attempt=0)],
        [msgspec.structs.replace(ATTEMPT, size=2**32)],
        [msgspec.structs.replace(ATTEMPT, root="AB" * 32)],
        [msgspec.structs.replace(ATTEMPT, tenant="00")],
    ],
    ids=str,
)
def test_a_tombstone_with_other_attempts_is_neither_written_nor_read(attempts: list[ShreddedAttempt]) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        encode(msgspec.structs.replace(SHRED, attempts=attempts))
    with pytest.raises(FormatError):
        decode(resign(SHRED, attempts=msgspec.to_builtins(attempts)), RELEASE, number=3)
