"""Byte ranges of what a route serves: which part is asked for, and whether the caller has it already.

Source: RFC 9110 sections 13.1 and 14.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

_RANGE: Final = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` to ``end`` (behind the last) of ``size``; ``is_part`` when a part was asked for."""

    start: int
    end: int
    size: int
    is_part: bool

    @property
    def headers(self) -> dict[str, str]:
        """What an answer with this part says."""
        said: dict[str, str] = {hdrs.ACCEPT_RANGES: "bytes", hdrs.CONTENT_LENGTH: str(self.end - self.start)}
        if self.is_part:
            said[hdrs.CONTENT_RANGE] = f"bytes {self.start}-{self.end - 1}/{self.size}"
        return said


def range_of(request: web.Request, *, size: int, etag: str) -> ByteRange | None:
    """Give the part that a request asks for; the whole when it asks for none that we know.

    Several ranges at once, other units and what is no range count as none (RFC 9110 section 14.2), and so
    does a range of a version (`If-Range`) that there is no longer.

    Args:
        request: with or without `Range` and `If-Range`.
        size: of the whole, in bytes.
        etag: of the whole as it is now, in quotes.

    Returns:
        None when nothing of it can be given: 416.
    """
    whole = ByteRange(0, size, size, is_part=False)
    match = _RANGE.match(request.headers.get(hdrs.RANGE, ""))
    if match is None or request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return whole
    first, last = match.groups()
    if not first:
        if not last:
            return whole
        length = min(int(last), size)
        return ByteRange(size - length, size, size, is_part=True) if length else None
    start = int(first)
    if last and int(last) < start:
        return whole
    if start >= size:
        return None
    end = min(int(last) + 1, size) if last else size
    return ByteRange(start, end, size, is_part=True)


def is_known(request: web.Request, etag: str) -> bool:
    """Whether the caller holds this version already (`If-None-Match`): then 304 says all."""
    given = request.headers.get(hdrs.IF_NONE_MATCH, "")
    return etag in {tag.strip().removeprefix("W/") for tag in given.split(",")}
