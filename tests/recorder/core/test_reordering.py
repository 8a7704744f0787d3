"""The order of packets: shuffled, repeated, lost, wrapped."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from recorder.core.reordering import ASK_EVERY_US, GIVE_UP_US, MAX_HELD, PacketOrder


def packet(number: int) -> bytes:
    """A packet of this sequence number that remembers it whole."""
    return bytes((0x80, 96)) + (number & 0xFFFF).to_bytes(2, "big") + bytes(8) + number.to_bytes(4, "big")


def number_of(one: bytes) -> int:
    return int.from_bytes(one[12:16], "big")


def feed(order: PacketOrder, numbers: list[int], now_us: int = 0) -> list[int]:
    out = []
    for number in numbers:
        one = packet(number)
        if order.take(one, now_us):
            out.append(number)
        out += [number_of(ready) for ready in order.ready()]
    return out


@given(st.integers(0, 65_535), st.integers(0, 1 << 30), st.integers(1, 12))
def test_what_is_shuffled_within_a_window_comes_out_in_order(first: int, seed: int, window: int) -> None:
    numbers = list(range(first, first + 200))
    shuffled = numbers[:1]
    source = random.Random(seed)
    for start in range(1, 200, window):
        part = numbers[start : start + window]
        source.shuffle(part)
        shuffled += part
    order = PacketOrder()
    assert feed(order, shuffled) == numbers
    assert (order.received, order.lost, order.expected) == (200, 0, 200)


def test_repeated_packets_come_once() -> None:
    order = PacketOrder()
    assert feed(order, [5, 5, 6, 8, 8, 5, 7, 7]) == [5, 6, 7, 8]
    assert order.repeated == 4


def test_missing_packets_are_asked_for_at_once_and_again() -> None:
    order = PacketOrder()
    feed(order, [1, 2, 5, 6])
    assert order.to_ask_for(0) == [3, 4]
    assert order.to_ask_for(ASK_EVERY_US - 1) == []
    assert feed(order, [3]) == [3]
    assert order.to_ask_for(ASK_EVERY_US) == [4]


def test_a_hole_is_given_up_after_its_time_and_not_before() -> None:
    order = PacketOrder()
    feed(order, [1, 2, 5, 6])
    assert not order.give_up(GIVE_UP_US - 1)
    assert order.give_up(GIVE_UP_US)
    assert [number_of(one) for one in order.ready()] == [5, 6]
    assert order.lost == 2
    assert feed(order, [3, 7]) == [7]
    assert not order.give_up(10 * GIVE_UP_US)


def test_at_the_end_every_hole_is_given_up() -> None:
    order = PacketOrder()
    feed(order, [1, 3, 5])
    found = []
    while order.give_up(0, at_once=True):
        found += [number_of(one) for one in order.ready()]
    assert found == [3, 5]
    assert order.lost == 2


def test_a_hole_that_nobody_fills_does_not_hold_without_bound() -> None:
    order = PacketOrder()
    feed(order, [1, *range(3, 3 + MAX_HELD)])
    assert order.give_up(1)
    assert len(list(order.ready())) == MAX_HELD


def test_a_jump_far_ahead_asks_for_no_more_than_can_be_held() -> None:
    order = PacketOrder()
    feed(order, [1, 20_000])
    assert len(order.to_ask_for(0)) <= MAX_HELD
    assert order.give_up(GIVE_UP_US)
    assert [number_of(one) for one in order.ready()] == [20_000]
