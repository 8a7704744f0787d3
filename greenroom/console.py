"""What the programs' logs look like on the terminal: one short line each, with the program's name."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

LONGEST_LINE: Final = 180  # characters; the whole line stands in the log file
LONGEST_REASON: Final = 1000  # of a sentence that ends everything: its fix stands at its end
_MOST_BYTES: Final = (
    64 * 1024
)  # of one log shown at a time; a program that says more is cut short, not waited for
_ERRORS: Final = frozenset({"error", "critical", "fatal", "panic"})
_LOUD: Final = _ERRORS | {"warn", "warning"}  # their level is shown
_TEXT_KEYS: Final = ("event", "msg", "message")
_DULL_KEYS: Final = frozenset(
    {"level", "ts", "timestamp", "logger", "caller", "service", "environment", "request_id", *_TEXT_KEYS}
)


def say(name: str, text: str) -> None:
    """Print one line of one program on standard error: standard output is for results.

    A terminal that is gone is no reason to end what runs.
    """
    try:
        print(f"{name:<12} | {text}", file=sys.stderr, flush=True)
    except BrokenPipeError:
        sys.stderr = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115 - for the rest of this process


def shorten(line: str, *, errors_only: bool = False, longest: int = LONGEST_LINE) -> str | None:
    """Make a log line fit for the terminal; JSON becomes text.

    Args:
        line: as the program wrote it, without its end of line.
        errors_only: leave out what is less than an error (only JSON lines say what they are).
        longest: characters shown.

    Returns:
        The text, or None when there is nothing to show.
    """
    text = line.rstrip()
    if text.startswith("{"):
        try:
            entry = json.loads(text)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            level = str(entry.get("level", "")).lower()
            if errors_only and level not in _ERRORS:
                return None
            text = _as_text(entry, level)
    if not text:
        return None
    return text if len(text) <= longest else text[: longest - 1] + "…"


class LogFollower:
    """Reads what is new in one log file, from its end at the time of making."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Give the lines finished since the last call, at most 64 KiB of them; blocks on the disk."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                if size < self._position:  # another file of this name was begun
                    self._position, self._rest = 0, b""
                skipped = max(0, size - self._position - _MOST_BYTES)
                file.seek(self._position + skipped)
                fresh = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return []
        self._position += skipped + len(fresh)
        *lines, self._rest = (fresh if skipped else self._rest + fresh).split(b"\n")
        shown = [line.decode("utf-8", "replace") for line in lines]
        return [f"… {skipped} bytes more in {self._path}", *shown] if skipped else shown


def last_line(path: Path, since: int) -> str:
    """Give the last line that says something, of what was written to a log after ``since`` bytes."""
    try:
        with path.open("rb") as file:
            file.seek(max(since, file.seek(0, 2) - _MOST_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _as_text(entry: Mapping[str, Any], level: str) -> str:
    text = next((str(entry[key]) for key in _TEXT_KEYS if entry.get(key)), "")
    details = " ".join(
        f"{key}={value}"
        for key, value in entry.items()
        if key not in _DULL_KEYS and isinstance(value, str | int | float) and value != ""
    )
    prefix = f"{level}: " if level in _LOUD else ""
    return f"{prefix}{text} {details}".replace("\n", " ").strip()
