"""Why rooms refuse: a full room, a forbidden track, too long a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from livekit.protocol import rtc

MOST_TEXT: Final = 256 * 1024  # bytes of metadata, and of attributes together
LONGEST_NAME: Final = 256  # characters of a room's, participant's name or identity


class JoinRefusedError(Exception):
    """A client may not come in; ``status`` is what HTTP answers."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class PublishRefusedError(Exception):
    """A participant may not publish this track; ``reason`` is for the `request_response`."""

    def __init__(self, reason: rtc.RequestResponse.Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class TooLongError(Exception):
    """A name, metadata or attributes are longer than what is kept."""


def check_lengths(*, name: str = "", metadata: str = "", attributes: Mapping[str, str] | None = None) -> None:
    """Refuse what LiveKit refuses to keep.

    Raises:
        TooLongError: it is too long; the sentence says what, and the limit.
    """
    if len(name) > LONGEST_NAME:
        raise TooLongError(f"a name of {len(name)} characters; {LONGEST_NAME} are allowed")
    sizes = {
        "metadata": len(metadata.encode()),
        "attributes": sum(
            len(key.encode()) + len(value.encode()) for key, value in (attributes or {}).items()
        ),
    }
    for what, size in sizes.items():
        if size > MOST_TEXT:
            raise TooLongError(f"{what} of {size} bytes; {MOST_TEXT} are allowed")
