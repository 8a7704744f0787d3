"""Log lines on the terminal: short, with what matters, and never more than was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greenroom.console import LONGEST_LINE, LogFollower, last_line, shorten


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain text\n", "plain text"),
        ("", None),
        (
            '{"event": "session ready", "level": "info", "session_id": "s1", "timestamp": "t"}',
            "session ready session_id=s1",
        ),
        (
            '{"msg": "starting", "level": "info", "ts": 1.5, "caller": "a.go:1", "port": 7880}',
            "starting port=7880",
        ),
        ('{"event": "store full", "level": "error"}', "error: store full"),
        ('{"event": "two\\nlines", "level": "info"}', "two lines"),
        ("{not json", "{not json"),
        ("[1]", "[1]"),
    ],
)
def test_a_line_is_shortened_to_what_matters(line: str, shown: str | None) -> None:
    assert shorten(line) == shown


@pytest.mark.parametrize(
    ("level", "is_shown"), [("info", False), ("warn", False), ("warning", False), ("error", True)]
)
def test_a_quiet_program_shows_only_its_errors(level: str, is_shown: bool) -> None:
    line = json.dumps({"msg": "text", "level": level})
    assert (shorten(line, errors_only=True) is not None) is is_shown


def test_a_long_line_is_cut() -> None:
    shown = shorten("x" * 1000)
    assert shown is not None
    assert len(shown) == LONGEST_LINE
    assert shown.endswith("…")


def test_the_follower_gives_whole_lines_that_came_after_it_was_made(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old\n")
    follower = LogFollower(log)
    assert follower.new_lines() == []
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert follower.new_lines() == ["one"]
        file.write("o\n")
        file.flush()
        assert follower.new_lines() == ["two"]


def test_the_follower_waits_for_a_file_and_begins_anew_with_a_fresh_one(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    follower = LogFollower(log)
    assert follower.new_lines() == []
    log.write_text("first life, longer\n")
    assert follower.new_lines() == ["first life, longer"]
    log.unlink()
    log.write_text("second\n")
    assert follower.new_lines() == ["second"]


def test_a_flood_is_cut_short_and_that_is_said(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    follower = LogFollower(log)
    log.write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * 1000)
    lines = follower.new_lines()
    assert lines[0] == f"… {101 * 100 + 900 * 100 - 64 * 1024} bytes more in {log}"
    assert len(lines) < 660
    assert lines[-1] == "y" * 99


def test_the_last_line_is_of_the_present_life(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("from before\n")
    since = log.stat().st_size
    assert last_line(log, since) == ""
    with log.open("a") as file:
        file.write("Traceback\nthe cause\n\n")
    assert last_line(log, since) == "the cause"
