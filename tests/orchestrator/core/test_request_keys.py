"""Request keys: the same request passes, another one is refused; a session without a room frees its key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.errors import KeyReusedError
from orchestrator.core.ids import CallerId
from orchestrator.core.request_keys import BoundKey, KeyScope, RequestKey, check_repeat

KEY = RequestKey(scope=KeyScope(caller=CallerId(""), route="r", key="k" * 60), fingerprint="ab")


def test_the_same_request_repeats() -> None:
    check_repeat(KEY, BoundKey(fingerprint="ab", target="s1"))


def test_another_request_under_the_key_is_refused() -> None:
    with pytest.raises(KeyReusedError, match="send a new key") as caught:
        check_repeat(replace(KEY, fingerprint="ac"), BoundKey(fingerprint="ab", target="s1"))
    assert "k" * 40 in str(caught.value)
    assert "k" * 41 not in str(caught.value)
