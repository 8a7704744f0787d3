"""A parser of server-sent events: bytes in, events out; holds no connection.

Source: WHATWG HTML, section "Server-sent events", "Parsing an event stream".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
_POSITION: Final = re.compile(r"(\d{1,18}):(\d{1,18})")


class OversizedEventError(Exception):
    """The stream sent an event that is larger than any this protocol has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvent:
    """One event: its name, its data lines joined, and the position at which it stands ("" for none)."""

    name: str
    data: str
    position: str


class SseParser:
    """Reads one stream. `position` is what `Last-Event-ID` has to be after all that was read.

    The orchestrator's keep-alive comments carry a position too: with it, a reader to which nothing has
    happened yet resumes without a gap. A comment that would lead back is ignored.
    """

    def __init__(self, position: str = "") -> None:
        self.position = position
        self._next_position = position
        self._buffer = bytearray()
        self._kept_bytes = 0
        self._name = ""
        self._data: list[str] = []
        self._skips_lf = False

    def feed(self, chunk: bytes) -> Iterator[RawEvent]:
        """Take bytes, cut anywhere, and give the events that they complete.

        Raises:
            OversizedEventError: an event is larger than 4 MiB.
        """
        self._buffer += chunk
        while (line := self._next_line()) is not None:
            event = self._take(line)
            if event is not None:
                yield event
        if len(self._buffer) + self._kept_bytes > MAX_EVENT_BYTES:
            raise OversizedEventError(f"an event larger than {MAX_EVENT_BYTES} bytes")

    def _next_line(self) -> str | None:
        """Cut a line off the buffer; it ends with CR, LF or both, and a CR's LF may come later."""
        if self._skips_lf and self._buffer:
            if self._buffer[0] == 0x0A:
                del self._buffer[0]
            self._skips_lf = False
        ends = [end for end in (self._buffer.find(b"\n"), self._buffer.find(b"\r")) if end >= 0]
        if not ends:
            return None
        end = min(ends)
        self._skips_lf = self._buffer[end] == 0x0D
        line = self._buffer[:end].decode("utf-8", errors="replace")
        del self._buffer[: end + 1]
        return line

    def _take(self, line: str) -> RawEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self._kept_bytes += len(line)
        match field:
            case "":
                self._take_comment(value)
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._next_position = value  # counts once the event is whole
            case _:
                pass  # `retry` is for browsers; other fields are of later versions
        return None

    def _take_comment(self, text: str) -> None:
        told = _POSITION.fullmatch(text.strip())
        if told is None or self._data or self._next_position != self.position:
            return
        known = _POSITION.fullmatch(self.position)
        if known is None or (known[1] == told[1] and int(known[2]) < int(told[2])):
            self.position = self._next_position = told[0]

    def _dispatch(self) -> RawEvent | None:
        event = None
        self.position = self._next_position
        if self._data:
            event = RawEvent(name=self._name or "message", data="\n".join(self._data), position=self.position)
        self._name, self._data, self._kept_bytes = "", [], 0
        return event
