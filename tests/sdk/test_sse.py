"""The parser of server-sent events: any cut, any line end, positions that never skip an event."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk.sse import MAX_EVENT_BYTES, OversizedEventError, RawEvent, SseParser

STREAM = (
    "retry: 1000\n\n: 1:4\n\n"
    'event: session_created\nid: 1:5\ndata: {"type":"SessionCreated"}\n\n'
    ": keep\n\nid: 1:6\r\ndata: ä\r\ndata:two\r\n\r\n: 1:9\r\rdata: last\rid: 1:10\r\r"
).encode()
EVENTS = [
    RawEvent(name="session_created", data='{"type":"SessionCreated"}', position="1:5"),
    RawEvent(name="message", data="ä\ntwo", position="1:6"),
    RawEvent(name="message", data="last", position="1:10"),
]


def read(*chunks: bytes) -> tuple[list[RawEvent], str]:
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)], parser.position


def test_a_whole_stream() -> None:
    assert read(STREAM) == (EVENTS, "1:10")


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_it_does_not_matter_where_the_stream_is_cut(places: list[int]) -> None:
    cuts = [0, *sorted(places), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in itertools.pairwise(cuts)]
    assert read(*chunks) == (EVENTS, "1:10")


def test_an_unfinished_event_does_not_move_the_position() -> None:
    parser = SseParser()
    assert list(parser.feed(b"id: 1:1\ndata: a\n\nid: 1:2\ndata: b\n")) == [
        RawEvent(name="message", data="a", position="1:1")
    ]
    assert parser.position == "1:1"


def test_a_keep_alive_moves_the_position_forward_only() -> None:
    parser = SseParser("2:7")
    for told, position in ((b"2:9", "2:9"), (b"2:8", "2:9"), (b"3:1", "2:9"), (b"hello", "2:9")):
        assert list(parser.feed(b": " + told + b"\n\n")) == []
        assert parser.position == position


def test_a_keep_alive_gives_the_first_position() -> None:
    assert read(b": 1:3\n\n") == ([], "1:3")


def test_an_event_without_data_is_none_but_its_id_counts() -> None:
    assert read(b"id: 1:3\nevent: nothing\n\n") == ([], "1:3")


def test_an_id_with_nul_is_ignored() -> None:
    assert read(b"id: 1\x003\ndata: x\n\n")[1] == ""


def test_an_endless_event_is_refused() -> None:
    parser = SseParser()
    line = b"data: " + b"x" * (MAX_EVENT_BYTES // 4) + b"\n"
    assert [list(parser.feed(line)) for _ in range(3)] == [[], [], []]
    with pytest.raises(OversizedEventError):
        list(parser.feed(line))
    parser = SseParser()
    with pytest.raises(OversizedEventError):
        list(parser.feed(b"x" * (MAX_EVENT_BYTES + 1)))
