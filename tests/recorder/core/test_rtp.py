"""RTP headers and wrapping counters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.core.rtp import Unwrapped, payload_of

HEAD = bytes.fromhex("80 60 0001 00000000 00000001")


def test_the_payload_follows_the_fixed_header() -> None:
    assert payload_of(HEAD + b"media") == b"media"


def test_sources_extension_and_padding_are_left_out() -> None:
    head = bytes((0x80 | 0x20 | 0x10 | 2,)) + HEAD[1:]
    extension = b"\xbe\xde\x00\x01" + b"\x10\xff\x00\x00"
    assert payload_of(head + bytes(8) + extension + b"media" + b"\x00\x00\x03") == b"media"


def test_a_packet_of_padding_only_has_no_payload() -> None:
    assert payload_of(bytes((0xA0,)) + HEAD[1:] + bytes(254) + b"\xff") == b""


@given(st.binary(min_size=12, max_size=80))
def test_no_bytes_break_it(packet: bytes) -> None:
    assert len(payload_of(packet)) <= len(packet) - 12


@given(st.lists(st.integers(-30_000, 30_000), max_size=50), st.integers(0, 65_535))
def test_a_wrapped_counter_is_followed_from_its_newest_value(steps: list[int], first: int) -> None:
    counter = Unwrapped(16)
    newest = counter.follow(first)
    assert newest == first
    for step in steps:
        true = newest + step
        assert counter.follow(true & 0xFFFF) == true
        newest = max(newest, true)
