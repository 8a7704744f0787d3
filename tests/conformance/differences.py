"""Where the two media servers differ on purpose: what LiveKit does, what the embedded engine does instead.

A test that meets one of these asks `livekit_does(engine, …)`, so each difference is held on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.conformance.engines import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One of them.

    Attributes:
        livekit: what livekit-server 1.13.5 does.
        embedded: what the embedded engine does.
        test: where both are held.
    """

    livekit: str
    embedded: str
    test: str


DIFFERENCES: Final[dict[str, Difference]] = {
    "token repeated": Difference(
        livekit="the body of its 401 repeats the token that it refuses",
        embedded="says why, without the token",
        test="test_tokens.py",
    ),
    "calls without a room": Difference(
        livekit="MutePublishedTrack, UpdateSubscriptions and SendData for somebody or something that is not "
        "there are answered 503 after 3 s, as if no server were up",
        embedded="404 `not_found` at once",
        test="test_room_service.py",
    ),
}


def livekit_does(engine: Engine, name: str) -> bool:
    """Whether this engine does what LiveKit does, in a difference of this name."""
    assert name in DIFFERENCES, name
    return engine.name == "livekit"
