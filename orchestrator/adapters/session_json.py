"""Our records as JSON, the same in every store, each in an envelope that says its schema version."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from orchestrator.core.commands import Command
from orchestrator.core.errors import StoreError
from orchestrator.core.session import SCHEMA_VERSION, Session
from orchestrator.core.workers import Registration

_T = TypeVar("_T")


class _Written(Struct, frozen=True):
    schema_version: int
    record: Any


class _Read(Struct, frozen=True):
    schema_version: int
    record: msgspec.Raw


class _Change(Struct, frozen=True):
    updated_at: datetime


_encoder: Final = msgspec.json.Encoder()
_envelope: Final = msgspec.json.Decoder(_Read)
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
    return _decode(data, _session, "session")


def updated_at_of(data: bytes) -> datetime:
    """Decode no more of a session than when it was last changed.

    Raises:
        StoreError: it was written by a newer version, or is damaged.
    """
    return _decode(data, _change, "session").updated_at


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
    return _decode(data, _command, "command")


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
    return _decode(data, _worker, "registration")


def _encode(record: Session | Command | Registration) -> bytes:
    return _encoder.encode(_Written(schema_version=SCHEMA_VERSION, record=record))


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
