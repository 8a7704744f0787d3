"""The envelope of stored records."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.adapters.record_envelope import seal, unseal
from orchestrator.core.errors import StoreError

numbers = msgspec.json.Decoder(list[int])


@pytest.mark.parametrize("version", [1, 2])
def test_what_was_sealed_by_this_or_an_older_version_is_read(version: int) -> None:
    data = seal([1, 2], schema_version=version)
    assert unseal(data, numbers, newest=2, what="list") == [1, 2]


def test_a_newer_record_is_refused_and_not_guessed_at() -> None:
    with pytest.raises(StoreError, match=r"schema version 3 .* up to 2; start the newer version again"):
        unseal(seal([1], schema_version=3), numbers, newest=2, what="list")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1]", b'{"schema_version":1,"record":["pass-word"]}'])
@pytest.mark.parametrize("is_secret", [False, True])
def test_damage_is_told_and_what_is_secret_is_not(data: bytes, is_secret: bool) -> None:
    with pytest.raises(StoreError, match="a stored list cannot be read") as caught:
        unseal(data, numbers, newest=1, what="list", is_secret=is_secret)
    assert (caught.value.__cause__ is None) is is_secret
    assert (str(caught.value) == "a stored list cannot be read") is is_secret
