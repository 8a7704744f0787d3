"""Records of the catalog as JSON, each in an envelope that says its schema version."""

from __future__ import annotations

from typing import Final

import msgspec

from orchestrator.adapters.record_envelope import seal, unseal
from orchestrator.core.catalog import CatalogRecord, Custody

SCHEMA_VERSION: Final = 1  # of these records; one with a higher number is refused


_record: Final = msgspec.json.Decoder(CatalogRecord)
_custody: Final = msgspec.json.Decoder(Custody)


def encode(record: CatalogRecord | Custody) -> bytes:
    """Encode a record.

    Raises:
        ValueError: a text in it is not encodable as UTF-8.
    """
    return seal(record, schema_version=SCHEMA_VERSION)


def decode_record(data: bytes) -> CatalogRecord:
    """Decode what the maker of a recording said.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _record, newest=SCHEMA_VERSION, what="recording")


def decode_custody(data: bytes) -> Custody:
    """Decode what was decided about a recording.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _custody, newest=SCHEMA_VERSION, what="recording's custody")
