"""What the right key signs though it breaks a rule of the page: chunks and notes signed anew."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import Any

from tests.examples.both_verifiers import RING
from tests.fakes.recordings import RECORDING
from vault.core.note import key_hash

PREFIX = f"greenroom/recording/{RECORDING}"
KEY_RECORD, CHECKPOINT = "1/key-record-0000000001", "1/checkpoint-0000000010"
PLACES = {"manifest": f"{PREFIX}/manifest", KEY_RECORD: f"{PREFIX}/1/key-record", CHECKPOINT: f"{PREFIX}/1"}
INIT, MEDIA, LAST = (f"1/chunk-{leaf:010}" for leaf in (0, 2, 8))
"""Files of `both_verifiers.plain`, and the first lines of its notes."""


def sign_chunk(data: bytes) -> bytes:
    """Sign a chunk anew, whatever its header says."""
    leaf_hash = hashlib.sha256(b"\0" + data[:-64]).digest()
    return data[:-64] + RING.sign(b"greenroom recording chunk v1\0" + leaf_hash)


def sign_text(text: str, *, name: str = "") -> bytes:
    """Sign a note anew, whatever its text says."""
    name = name or text.split("\n", 1)[0]
    proof = key_hash(name, RING.public_key) + RING.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(proof).decode()}\n".encode()


def lines_of(note: bytes) -> list[str]:
    return note.decode().split("\n\n")[0].split("\n")


def put(data: bytes, offset: int, form: str, *values: int) -> bytes:
    packed = struct.pack(f">{form}", *values)
    return data[:offset] + packed + data[offset + len(packed) :]


def compact(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
