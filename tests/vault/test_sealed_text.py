"""A sealed text opens with the same keys for the same recording, and for nothing else."""

from __future__ import annotations

import msgspec
import pytest

from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring
from vault.core.sealing import AttemptScope
from vault.errors import FormatError, WrongKeyError
from vault.sealed_text import open_text, seal_text

RING = make_key_ring()
SECRET = "Käse und 🔑"


def test_it_opens_again_and_shows_nothing() -> None:
    sealed = seal_text(SECRET, RING, recording_id=RECORDING)
    assert open_text(sealed, RING, recording_id=RECORDING) == SECRET
    assert "Käse" not in sealed
    assert seal_text(SECRET, RING, recording_id=RECORDING) != sealed


def test_it_opens_for_no_other_recording_and_with_no_other_keys() -> None:
    sealed = seal_text(SECRET, RING, recording_id=RECORDING)
    with pytest.raises(WrongKeyError):
        open_text(sealed, RING, recording_id=OTHER_RECORDING)
    with pytest.raises(WrongKeyError):
        open_text(sealed, make_key_ring(2), recording_id=RECORDING)


@pytest.mark.parametrize("field", ["wrapped_key", "nonce", "text"])
def test_an_altered_byte_opens_nothing(field: str) -> None:
    parts = msgspec.json.decode(seal_text(SECRET, RING, recording_id=RECORDING))
    parts[field] = ("B" if parts[field][0] != "B" else "C") + parts[field][1:]
    with pytest.raises(WrongKeyError):
        open_text(msgspec.json.encode(parts).decode(), RING, recording_id=RECORDING)


@pytest.mark.parametrize("sealed", ["", "secret", "{}", '{"kek_id": "a"}'])
def test_what_is_no_sealed_text_is_refused(sealed: str) -> None:
    with pytest.raises(FormatError):
        open_text(sealed, RING, recording_id=RECORDING)


def test_its_data_key_is_no_attempts() -> None:
    parts = msgspec.json.decode(seal_text(SECRET, RING, recording_id=RECORDING))
    wrapped = RING.wrap(bytes(32), AttemptScope(recording_id=RECORDING, attempt=1))
    parts["wrapped_key"] = msgspec.json.decode(msgspec.json.encode(wrapped.data))
    with pytest.raises(WrongKeyError):
        open_text(msgspec.json.encode(parts).decode(), RING, recording_id=RECORDING)
