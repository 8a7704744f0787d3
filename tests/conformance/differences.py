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
        test: where both are held; docs/ENGINE.md names it too.
    """

    livekit: str
    embedded: str
    test: str


DIFFERENCES: Final[dict[str, Difference]] = {
    "token repeated": Difference(
        livekit="repeats the refused token in the body of a 401",
        embedded="says why, without the token",
        test="test_tokens.py::test_a_refusal_says_why_without_the_token",
    ),
    "nobody there": Difference(
        livekit="answers calls without their room or participant 503 after 3 s, as if no server were up",
        embedded="404 `not_found` at once",
        test="test_room_service.py::test_calls_to_somebody_who_is_not_there_fail",
    ),
    "lower layer": Difference(
        livekit="sends the layer of a simulcast that a subscriber asks for",
        embedded="goes on with the top layer, and says so once to each client",
        test="test_media.py::test_of_a_simulcast_the_top_layer_comes_unless_livekit_is_asked_for_less",
    ),
    "full room": Difference(
        livekit="refuses a join to a full room with 500 and no word",
        embedded="503 with a sentence",
        test="test_rooms.py::test_only_so_many_get_in",
    ),
    "codec in reserve": Difference(
        livekit="has a page publish its codec in reserve (`backupCodec`) for who cannot decode the first",
        embedded="tells who cannot decode it (`subscription_response`)",
        test="test_page_codecs.py::test_who_has_no_decoder_is_told_and_sees_the_rest",
    ),
}


def livekit_does(engine: Engine, name: str) -> bool:
    """Whether this engine does what LiveKit does, in a difference of this name."""
    assert name in DIFFERENCES, name
    return engine.name == "livekit"
