"""The log: JSON lines or lines for people, from the level that was set, and no secret in either."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from orchestrator.adapters.structlog_output import configure

SECRET = "eyJhbGciOiJIUzI1NiJ9.secret-part"


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    """Leave the process's log as it was."""
    yield
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Give what was written to standard error; nothing goes to standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def set_up(level: str = "info", output_format: str | None = "json") -> Any:
    configure(level=level, output_format=output_format, service="greenroom", environment="test")
    return structlog.get_logger("of.a.test")


def test_a_json_line_says_what_when_and_by_whom(capsys: pytest.CaptureFixture[str]) -> None:
    set_up().info("room_lost", session_id="s1")
    (line,) = lines(capsys)
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "room_lost",
        "level": "info",
        "session_id": "s1",
        "service": "greenroom",
        "environment": "test",
    }


def test_without_a_terminal_the_format_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    set_up(output_format=None).warning("x")
    assert json.loads(lines(capsys)[0])["level"] == "warning"


def test_lines_for_people_have_no_colours_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up(output_format="console").info("room_lost", session_id="s1")
    (line,) = lines(capsys)
    assert "room_lost" in line
    assert "session_id=s1" in line
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("WARNING", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_only_what_is_important_enough_is_shown(
    capsys: pytest.CaptureFixture[str], level: str, shown: list[str]
) -> None:
    log = set_up(level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("said")
    assert [json.loads(line)["level"] for line in lines(capsys)] == shown


def test_what_is_bound_to_the_context_is_on_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = set_up()
    structlog.contextvars.bind_contextvars(request_id="r1")
    log.info("x")
    assert json.loads(lines(capsys)[0])["request_id"] == "r1"


@pytest.mark.parametrize("output_format", ["json", "console"])
@pytest.mark.parametrize(
    "field", ["access_token", "token", "api_secret", "PASSWORD", "Authorization", "jwt", "old_jwt"]
)
def test_a_field_with_a_secrets_name_is_struck_out(
    capsys: pytest.CaptureFixture[str], output_format: str, field: str
) -> None:
    set_up(output_format=output_format).info("x", **{field: SECRET}, kept="this")
    (line,) = lines(capsys)
    assert SECRET not in line
    assert field in line
    assert "struck out" in line
    assert "this" in line


@pytest.mark.parametrize("output_format", ["json", "console"])
def test_a_secret_inside_of_a_value_is_struck_out(
    capsys: pytest.CaptureFixture[str], output_format: str
) -> None:
    body = {"room_name": "lobby", "access_token": SECRET}
    set_up(output_format=output_format).info("x", body=body, bodies=[{"inner": body}])
    (line,) = lines(capsys)
    assert SECRET not in line
    assert "lobby" in line
    assert body["access_token"] == SECRET, "the caller's value stays as it is"


@pytest.mark.parametrize("output_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(capsys: pytest.CaptureFixture[str], output_format: str) -> None:
    log = set_up(output_format=output_format)

    def mint() -> None:
        signed = SECRET[::-1]
        raise RuntimeError(f"cannot sign {len(signed)} characters")

    try:
        mint()
    except RuntimeError:
        log.exception("minting_failed")
    text = "\n".join(lines(capsys))
    assert "cannot sign" in text
    assert "mint" in text
    assert SECRET[::-1] not in text


def test_json_keeps_a_traceback_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log = set_up()
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        log.exception("failed")
    (line,) = lines(capsys)
    assert json.loads(line)["exception"].endswith("RuntimeError: broken")


def test_the_standard_librarys_log_is_shown_from_warning_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(logging.root, "handlers", [])  # pytest's own
        patch.setattr(logging.root, "level", logging.root.level)
        set_up(level="debug")
        logging.getLogger("of.a.library").info("chatter")
        logging.getLogger("of.a.library").warning("something")
    assert lines(capsys) == ["of.a.library: something"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        set_up(level="loud")


def test_a_line_that_cannot_be_written_ends_nothing() -> None:
    """Standard error is a file on a full disk, or a pipe that nobody reads any more."""
    script = """
import structlog
from orchestrator.adapters.structlog_output import configure
configure(level="info", output_format="json", service="greenroom", environment="test")
for number in range(3000):
    structlog.get_logger().info("a line", number=number)
print("went on")
"""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=full, timeout=60, check=False
        )
    assert done.stdout == b"went on\n"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=writing, timeout=60, check=False
    )
    os.close(writing)
    assert done.stdout == b"went on\n"
