"""Checkpoints: the signed size and root of one attempt's tree, as C2SP tlog-checkpoint.

Source: C2SP tlog-checkpoint; docs/RECORDING.md §6.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from vault.core.ids import MAX_LEAF, RecordingId, VerifyKey, encode_recording_id
from vault.core.merkle import HASH_BYTES
from vault.core.note import Sign, open_note, sign_note
from vault.errors import FormatError

_SIZE: Final = re.compile(r"(0|[1-9][0-9]{0,9})\Z")
_ROOT_CONTEXT: Final = b"greenroom recording root v1\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """Size and root of an attempt's tree: what a checkpoint signs and the orchestrator keeps."""

    attempt: int
    size: int
    root: bytes


def checkpoint_origin(recording_id: RecordingId, attempt: int) -> str:
    """First line of an attempt's checkpoints, and the name of the key that signs them."""
    return f"greenroom/recording/{recording_id}/{attempt}"


def encode_checkpoint(
    recording_id: RecordingId, head: TreeHead, *, public_key: VerifyKey, sign: Sign
) -> bytes:
    """Sign a tree head; the same head and key always give the same bytes."""
    root = base64.b64encode(head.root).decode()
    text = f"{checkpoint_origin(recording_id, head.attempt)}\n{head.size}\n{root}\n"
    return sign_note(text, public_key=public_key, sign=sign)


def decode_checkpoint(
    data: bytes, *, recording_id: RecordingId, attempt: int, public_key: VerifyKey
) -> TreeHead:
    """Check a checkpoint's signature and read it.

    Raises:
        FormatError: not a checkpoint of this attempt.
        SignatureError: not signed by ``public_key``.
    """
    name = checkpoint_origin(recording_id, attempt)
    lines = open_note(data, name=name, public_key=public_key).split("\n")
    if len(lines) != 4 or _SIZE.match(lines[1]) is None or int(lines[1]) > MAX_LEAF + 1:
        raise FormatError("its text is not origin, size and root")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except ValueError:
        root = b""
    if len(root) != HASH_BYTES or base64.b64encode(root).decode() != lines[2]:
        raise FormatError("its root hash is not 32 bytes in base64")
    return TreeHead(attempt=attempt, size=int(lines[1]), root=root)


def recording_root(recording_id: RecordingId, heads: Iterable[TreeHead]) -> bytes:
    """The root of a whole recording: one hash over its attempts' final heads, in rising order of attempt.

    Raises:
        ValueError: the attempts do not rise (the caller's mistake).
    """
    digest = hashlib.sha256(_ROOT_CONTEXT + encode_recording_id(recording_id))
    last = 0
    for head in heads:
        if head.attempt <= last:
            raise ValueError(f"attempt {head.attempt} comes after attempt {last}; attempts must rise")
        last = head.attempt
        digest.update(head.attempt.to_bytes(4, "big") + head.size.to_bytes(8, "big") + head.root)
    return digest.digest()
