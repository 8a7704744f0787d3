"""Each difference between the engines is told in docs/ENGINE.md and held by the test that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.differences import DIFFERENCES

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "ENGINE.md"


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_told_and_held(name: str) -> None:
    file, _, test = DIFFERENCES[name].test.partition("::")
    text = (FOLDER / file).read_text(encoding="utf-8")
    body = text[text.index(f"def {test}(") :].split("\n\n\n")[0]
    assert f'livekit_does(stage.engine, "{name}")' in body
    page = PAGE.read_text(encoding="utf-8")
    assert f"`tests/conformance/{file}`, `{test}`" in page
