"""The envelope of every stored record: JSON that says which schema version wrote it."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from orchestrator.core.errors import StoreError

_T = TypeVar("_T")


class _Written(Struct, frozen=True):
    schema_version: int
    record: Any


class _Read(Struct, frozen=True):
    schema_version: int
    record: msgspec.Raw


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Read)


def seal(record: object, *, schema_version: int) -> bytes:
    """Encode a record under the version that it has.

    Raises:
        ValueError: a text in it is not encodable as UTF-8.
    """
    return _encoder.encode(_Written(schema_version=schema_version, record=record))


def unseal(
    data: bytes, decoder: msgspec.json.Decoder[_T], *, newest: int, what: str, is_secret: bool = False
) -> _T:
    """Decode a record.

    Args:
        data: what `seal` made.
        decoder: of the record within.
        newest: the highest schema version that this program reads.
        what: the record's name in an error, as in "a stored …".
        is_secret: the record holds a secret, so an error repeats nothing of what the decoder said.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    try:
        envelope = _decoder.decode(data)
        if envelope.schema_version > newest:
            raise StoreError(
                f"a stored {what} has schema version {envelope.schema_version} and this version of Greenroom"
                f" reads up to {newest}; start the newer version again"
            )
        return decoder.decode(envelope.record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if is_secret:
            raise StoreError(f"a stored {what} cannot be read") from None
        raise StoreError(f"a stored {what} cannot be read: {error}") from error
