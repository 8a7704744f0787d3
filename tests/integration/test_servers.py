"""Which media server a test gets, and that a mistyped choice is not taken for the usual one."""

from __future__ import annotations

import pytest

from tests.integration.servers import VARIABLE, engine_of_tests


@pytest.mark.parametrize(
    ("said", "engine"), [("", "embedded"), ("embedded", "embedded"), ("livekit", "livekit")]
)
def test_the_variable_says_which(said: str, engine: str) -> None:
    assert engine_of_tests({VARIABLE: said}) == engine


def test_without_it_the_embedded_engine_is_taken() -> None:
    assert engine_of_tests({}) == "embedded"


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'LiveKit' is no media server; say embedded or livekit"):
        engine_of_tests({VARIABLE: "LiveKit"})
