"""The one JSON spelling of a record: keys sorted, no white space, whole numbers only, UTF-8.

For what Greenroom stores this is the form of RFC 8785: its keys are ASCII and its numbers are whole and
below 2^53 in size.

Source: RFC 8785; docs/RECORDING.md §5.
"""

from __future__ import annotations

import json
from typing import Final, TypeVar

import msgspec

from vault.errors import FormatError

MAX_INTEGER: Final = 2**53 - 1

Record = TypeVar("Record", bound=msgspec.Struct)


def encode_json(record: msgspec.Struct) -> str:
    """Spell a record as canonical JSON, without a newline.

    Raises:
        ValueError: a number is not whole or too large, or a text is not Unicode (the caller's mistake).
    """
    plain = msgspec.to_builtins(record)
    _check_numbers(plain)
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text.encode()  # a lone surrogate has no UTF-8: UnicodeEncodeError is a ValueError
    return text


def decode_json(text: str, shape: type[Record]) -> Record:
    """Read a record from its canonical JSON.

    Raises:
        FormatError: a field is missing, unknown or mistyped, or the spelling is not the canonical one.
    """
    try:
        record = msgspec.json.decode(text, type=shape, strict=True)
        canonical = encode_json(record)
    except (msgspec.DecodeError, ValueError) as error:
        raise FormatError(f"its JSON is not a {shape.__name__}: {error}") from error
    if canonical != text:
        raise FormatError(f"the JSON of this {shape.__name__} is not in its canonical spelling")
    return record


def _check_numbers(value: object) -> None:
    match value:
        case bool() | str() | None:
            return
        case int():
            if abs(value) > MAX_INTEGER:
                raise ValueError(f"number {value} is larger than {MAX_INTEGER}")
        case list() | tuple():
            for item in value:
                _check_numbers(item)
        case dict():
            for item in value.values():
                _check_numbers(item)
        case _:
            raise ValueError(f"{type(value).__name__} has no place in a record")
