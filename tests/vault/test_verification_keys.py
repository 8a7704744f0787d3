"""What a key service wrapped is good, and only in the one form of docs/RECORDING.md §5.1."""

from __future__ import annotations

import base64
import json

import pytest

from tests.examples.both_verifiers import RING, plain, signed_verdict
from vault.core.layout import key_record_name
from vault.core.note import sign_note

NAME = key_record_name(1, 1)


def wrapped_as(**changes: object) -> tuple[int, str]:
    """Let a recording be verified whose key record was signed with other fields."""
    stored = plain()
    first, text, *_ = stored[NAME].decode().split("\n")
    body = json.dumps(json.loads(text) | changes, sort_keys=True, separators=(",", ":"))
    stored[NAME] = sign_note(f"{first}\n{body}\n", public_key=RING.public_key, sign=RING.sign)
    return signed_verdict(stored)


def encoded(length: int) -> str:
    return base64.b64encode(b"v" * length).decode()


@pytest.mark.parametrize("kek_id", ["greenroom:1", "a:4294967295", "A-Z_a.z-0:7", "k" * 128 + ":9999999999"])
@pytest.mark.parametrize("length", [1, 2, 3, 60, 90, 1024])
def test_what_a_key_service_wrapped_is_good(kek_id: str, length: int) -> None:
    assert wrapped_as(wrap="vault-transit", kek_id=kek_id, wrapped_key=encoded(length)) == (0, "")


@pytest.mark.parametrize(
    "changes",
    [
        {"kek_id": "0" * 16},
        {"kek_id": "greenroom"},
        {"kek_id": "greenroom:0"},
        {"kek_id": "greenroom:01"},
        {"kek_id": "green room:1"},
        {"kek_id": "grün:1"},
        {"kek_id": "a:" + "1" * 11},
        {"kek_id": "a:\u0661"},
        {"kek_id": "k" * 129 + ":1"},
        {"kek_id": ":1"},
        {"kek_id": "a:1\n"},
        {"kek_id": 1},
        {"wrapped_key": ""},
        {"wrapped_key": encoded(1025)},
        {"wrapped_key": "dmE"},
        {"wrapped_key": "dmF="},
        {"wrapped_key": "dm E="},
        {"wrapped_key": "dmE=\n"},
        {"wrapped_key": "d-E="},
        {"wrap": "vault-transit2"},
        {"wrap": "aes-256-gcm"},
        {"wrap": "vault-transit a:1"},
    ],
    ids=str,
)
def test_any_other_form_is_bad(changes: dict[str, object]) -> None:
    good: dict[str, object] = {"wrap": "vault-transit", "kek_id": "greenroom:1", "wrapped_key": encoded(89)}
    assert wrapped_as(**(good | changes)) == (1, NAME)


def test_what_our_own_keys_wrap_has_their_form() -> None:
    assert wrapped_as(kek_id="greenroom:1") == (1, NAME)
    assert wrapped_as(wrapped_key=encoded(61)) == (1, NAME)
