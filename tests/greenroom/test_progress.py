"""Progress where there is no terminal: a line now and then on standard error, nothing on standard output."""

from __future__ import annotations

import pytest

from greenroom import progress


def test_short_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown_progress("verifying") as on_progress:
        on_progress(1, 2)
    assert capsys.readouterr() == ("", "")


def test_long_work_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY_S", 0.0)
    with progress.shown_progress("verifying") as on_progress:
        on_progress(1, 4)
        on_progress(4, 4)
        on_progress(0, 0)
    assert capsys.readouterr() == (
        "",
        "verifying: 1 of 4 bytes (25%)\nverifying: 4 of 4 bytes (100%)\nverifying: 0 of 0 bytes\n",
    )
