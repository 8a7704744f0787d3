"""Records of outgoing webhooks as JSON, each in an envelope that says its schema version."""

from __future__ import annotations

from typing import Final

import msgspec

from orchestrator.adapters.record_envelope import seal, unseal
from orchestrator.core.webhook_targets import DeadLetter, Progress, WebhookTarget

SCHEMA_VERSION: Final = 1  # of these records; one with a higher number is refused


_target: Final = msgspec.json.Decoder(WebhookTarget)
_progress: Final = msgspec.json.Decoder(Progress)
_letter: Final = msgspec.json.Decoder(DeadLetter)


def encode(record: WebhookTarget | Progress | DeadLetter) -> bytes:
    """Encode a record."""
    return seal(record, schema_version=SCHEMA_VERSION)


def decode_target(data: bytes) -> WebhookTarget:
    """Decode a registration.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _target, newest=SCHEMA_VERSION, what="webhook", is_secret=True)


def decode_progress(data: bytes) -> Progress:
    """Decode how far a target is.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _progress, newest=SCHEMA_VERSION, what="webhook's progress", is_secret=True)


def decode_letter(data: bytes) -> DeadLetter:
    """Decode a dead letter.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _letter, newest=SCHEMA_VERSION, what="dead letter", is_secret=True)
