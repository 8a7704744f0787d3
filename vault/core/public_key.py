"""The public key as text: what `signing.pub` holds and `--public-key` takes.

Source: docs/RECORDING.md §9; RFC 8032.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from vault.core.ids import VerifyKey
from vault.errors import FormatError

_LABEL: Final = "greenroom-public-key-1"
_KEY_ID_CONTEXT: Final = b"greenroom signing key id v1\x00"
_PRIME: Final = 2**255 - 19

_ORDER_8_Y: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# The y coordinates of all points of small order: anyone could sign for such a key.
_WEAK_Y: Final = frozenset({0, 1, _PRIME - 1, _ORDER_8_Y, _PRIME - _ORDER_8_Y})


def encode_public_key(public_key: VerifyKey) -> str:
    """One line of text, without a newline."""
    return f"{_LABEL} {base64.b64encode(public_key).decode()}"


def decode_public_key(text: str) -> VerifyKey:
    """Read a public key from its line.

    Raises:
        FormatError: another form, or a key that anyone could sign for.
    """
    label, _, encoded = text.partition(" ")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if label != _LABEL or len(key) != 32 or base64.b64encode(key).decode() != encoded:
        raise FormatError(f"it is not {_LABEL!r} and 32 bytes in base64")
    y = (int.from_bytes(key, "little") & (2**255 - 1)) % _PRIME
    if y in _WEAK_Y:
        raise FormatError("it is a weak key: anyone could sign for it")
    return VerifyKey(key)


def derive_key_id(public_key: VerifyKey) -> str:
    """The id of a signing key: first 8 bytes of a hash, as hex."""
    return hashlib.sha256(_KEY_ID_CONTEXT + public_key).hexdigest()[:16]
