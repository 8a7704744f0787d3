"""Records of outgoing webhooks as JSON, each in an envelope that says its schema version."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from orchestrator.core.errors import StoreError
from orchestrator.core.webhook_targets import DeadLetter, Progress, WebhookTarget

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
_target: Final = msgspec.json.Decoder(WebhookTarget)
_progress: Final = msgspec.json.Decoder(Progress)
_letter: Final = msgspec.json.Decoder(DeadLetter)


def encode(record: WebhookTarget | Progress | DeadLetter) -> bytes:
    """Encode a record."""
    return _encoder.encode(_Written(schema_version=SCHEMA_VERSION, record=record))


def decode_target(data: bytes) -> WebhookTarget:
    """Decode a registration.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return _decode(data, _target, "webhook")


def decode_progress(data: bytes) -> Progress:
    """Decode how far a target is.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return _decode(data, _progress, "webhook's progress")


def decode_letter(data: bytes) -> DeadLetter:
    """Decode a dead letter.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return _decode(data, _letter, "dead letter")


def _decode(data: bytes, decoder: msgspec.json.Decoder[_T], what: str) -> _T:
    try:
        envelope = _envelope.decode(data)
        if envelope.schema_version > SCHEMA_VERSION:
            raise StoreError(
                f"a stored {what} has schema version {envelope.schema_version} and this version of Greenroom"
                f" reads up to {SCHEMA_VERSION}; start the newer version again"
            )
        return decoder.decode(envelope.record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Not chained: the decoder's words may hold a secret's place, and the record holds the secret.
        raise StoreError(f"a stored {what} cannot be read") from None
