"""Custody records: what was decreed about a recording as a whole (hold, release, shred), signed, numbered.

They form one chain per recording: a place in it is taken once, so that of a hold and a shredding that are
decreed at the same time one comes first and the other sees it. A shred record is the recording's tombstone.

Source: docs/RECORDING.md §5.3.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from vault.core.canonical_json import decode_json, encode_json
from vault.core.checkpoint import TreeHead, recording_root
from vault.core.ids import MAX_ATTEMPT, MAX_LEAF, RecordingId, VerifyKey
from vault.core.key_record import decode_hex
from vault.core.note import Sign, open_note, sign_note
from vault.errors import FormatError

MAX_BY_CHARS: Final = 256
MAX_REASON_CHARS: Final = 1000

CustodyAction = Literal["hold", "release", "shred"]

# What may come after what; nothing follows a shredding.
_FOLLOWS: Final[dict[CustodyAction | None, tuple[CustodyAction, ...]]] = {
    None: ("hold", "shred"),
    "hold": ("release",),
    "release": ("hold", "shred"),
    "shred": (),
}


class ShreddedAttempt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a tombstone keeps of an attempt, so that its proof needs no key record.

    Attributes:
        size: leaves that count; the manifest's, else those of the last checkpoint.
        root: over them, 32 bytes in lowercase hex.
        tenant: 16 bytes in lowercase hex, as the key record had it.
        wall_start_us: as the key record had it.
    """

    attempt: int
    size: int
    root: str
    tenant: str
    wall_start_us: int

    @property
    def head(self) -> TreeHead:
        """The same as a tree head."""
        return TreeHead(attempt=self.attempt, size=self.size, root=decode_hex("root", self.root, 32))


class CustodyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One decree about a recording.

    Attributes:
        number: its place in the chain, from 1.
        at_us: Unix time in microseconds.
        by: who decreed it, 1 to 256 characters; the word of whoever called.
        reason: why, 1 to 1,000 characters.
        attempts: rising; of a shredding all attempts, otherwise none.
    """

    recording: RecordingId
    number: int
    action: CustodyAction
    at_us: int
    by: str
    reason: str
    attempts: list[ShreddedAttempt] = msgspec.field(default_factory=list)
    format: Literal["greenroom-custody/1"] = "greenroom-custody/1"

    @property
    def root(self) -> str:
        """The recording root over the shredded attempts, in hex."""
        return recording_root(self.recording, (attempt.head for attempt in self.attempts)).hex()


def may_follow(before: CustodyRecord | None, action: CustodyAction) -> bool:
    """Whether a decree may come next in the chain."""
    return action in _FOLLOWS[None if before is None else before.action]


def encode_custody_record(record: CustodyRecord, *, public_key: VerifyKey, sign: Sign) -> bytes:
    """Sign a custody record and give the bytes to be stored.

    Raises:
        ValueError: a text is empty or too long, or the attempts are none or out of order (the caller's
            mistake).
    """
    try:
        _check_record(record)
    except FormatError as error:
        raise ValueError(f"this custody record cannot be written: {error}") from error
    text = f"{_note_name(record.recording)}\n{encode_json(record)}\n"
    return sign_note(text, public_key=public_key, sign=sign)


def decode_custody_record(
    data: bytes,
    *,
    recording_id: RecordingId,
    number: int,
    before: CustodyRecord | None,
    public_key: VerifyKey,
) -> CustodyRecord:
    """Check a custody record's signature and place, and read it.

    Args:
        before: the record before it; None for the first.

    Raises:
        FormatError: not the record of this place, or one that cannot follow ``before``.
        SignatureError: not signed by ``public_key``.
    """
    lines = open_note(data, name=_note_name(recording_id), public_key=public_key).split("\n")
    if len(lines) != 3:
        raise FormatError("its text is not a name and one line of JSON")
    record = decode_json(lines[1], CustodyRecord)
    if (record.recording, record.number) != (recording_id, number):
        raise FormatError(f"it is custody record {record.number} of {record.recording}")
    if not may_follow(before, record.action):
        after = "the first" if before is None else f"after {before.action!r}"
        raise FormatError(f"a record {record.action!r} cannot be {after}")
    _check_record(record)
    return record


def _check_record(record: CustodyRecord) -> None:
    for name, text, most in (("by", record.by, MAX_BY_CHARS), ("reason", record.reason, MAX_REASON_CHARS)):
        if not 1 <= len(text) <= most:
            raise FormatError(f"{name!r} has {len(text)} characters, it takes 1..{most}")
    if (record.action == "shred") != bool(record.attempts):
        raise FormatError("attempts stand in a shred record and nowhere else")
    last = 0
    for attempt in record.attempts:
        if not last < attempt.attempt <= MAX_ATTEMPT or not 0 <= attempt.size <= MAX_LEAF:
            raise FormatError(f"attempt {attempt.attempt} of {attempt.size} leaves is out of order or range")
        last = attempt.attempt
        decode_hex("root", attempt.root, 32)
        decode_hex("tenant", attempt.tenant, 16)


def _note_name(recording_id: RecordingId) -> str:
    return f"greenroom/recording/{recording_id}/custody"
