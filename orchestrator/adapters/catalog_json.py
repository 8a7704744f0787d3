"""Records of the catalog as JSON, each in an envelope that says its schema version."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from orchestrator.core.catalog import CatalogRecord, Custody
from orchestrator.core.errors import StoreError

_T = TypeVar("_T")

SCHEMA_VERSION: Final = 1  # of these records; one with a higher number is refused


class _Written(Struct, frozen=True):
    schema_version: int
    record: Any


class _Read(Struct, frozen=True):
    schema_version: int
    record: msgspec.Raw


_encoder: Final = msgspec.json.Encoder()
_envelope: Final = msgspec.json.Decoder(_Read)
_record: Final = msgspec.json.Decoder(CatalogRecord)
_custody: Final = msgspec.json.Decoder(Custody)


def encode(record: CatalogRecord | Custody) -> bytes:
    """Encode a record.

    Raises:
        ValueError: a text in it is not encodable as UTF-8.
    """
    return _encoder.encode(_Written(schema_version=SCHEMA_VERSION, record=record))


def decode_record(data: bytes) -> CatalogRecord:
    """Decode what the maker of a recording said.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return _decode(data, _record, "recording")


def decode_custody(data: bytes) -> Custody:
    """Decode what was decided about a recording.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return _decode(data, _custody, "recording's custody")


def _decode(data: bytes, decoder: msgspec.json.Decoder[_T], what: str) -> _T:
    try:
        envelope = _envelope.decode(data)
        if envelope.schema_version > SCHEMA_VERSION:
            raise StoreError(
                f"a stored {what} has schema version {envelope.schema_version} and this version of Greenroom"
                f" reads up to {SCHEMA_VERSION}; start the newer version again"
            )
        return decoder.decode(envelope.record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"a stored {what} cannot be read: {error}") from error
