"""Our records as JSON, the same in every store, each in an envelope that says its schema version."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from orchestrator.adapters.record_envelope import seal, unseal
from orchestrator.core.commands import Command
from orchestrator.core.session import SCHEMA_VERSION, Session
from orchestrator.core.workers import Registration


class _Change(Struct, frozen=True):
    updated_at: datetime


_change: Final = msgspec.json.Decoder(_Change)
_session: Final = msgspec.json.Decoder(Session)
_command: Final[msgspec.json.Decoder[Command]] = msgspec.json.Decoder(Command)
_worker: Final = msgspec.json.Decoder(Registration)


def encode_session(session: Session) -> bytes:
    """Encode a session.

    Raises:
        ValueError: a text in it is not encodable as UTF-8.
    """
    return _encode(session)


def decode_session(data: bytes) -> Session:
    """Decode a session.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _session, newest=SCHEMA_VERSION, what="session")


def updated_at_of(data: bytes) -> datetime:
    """Decode no more of a session than when it was last changed.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _change, newest=SCHEMA_VERSION, what="session").updated_at


def encode_command(command: Command) -> bytes:
    """Encode a command.

    Raises:
        ValueError: a text in it is not encodable as UTF-8.
    """
    return _encode(command)


def decode_command(data: bytes) -> Command:
    """Decode a command.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _command, newest=SCHEMA_VERSION, what="command")


def encode_worker(worker: Registration) -> bytes:
    """Encode a registration.

    Raises:
        ValueError: a text in it is not encodable as UTF-8.
    """
    return _encode(worker)


def decode_worker(data: bytes) -> Registration:
    """Decode a registration.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return unseal(data, _worker, newest=SCHEMA_VERSION, what="registration")


def _encode(record: Session | Command | Registration) -> bytes:
    return seal(record, schema_version=SCHEMA_VERSION)
