"""Fragments are cut by time or size at any packet, and nothing is lost between them."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from recorder.core.fragments import Packet
from recorder.core.segmenting import MAX_AGE_S, MAX_FRAGMENT_BYTES, Fragment, Segmenter

BASE = Fraction(1, 1000)


def packet(pts: int, *, size: int = 10, is_keyframe: bool = False) -> Packet:
    return Packet(pts=pts, duration_pts=40, data=bytes(size), is_keyframe=is_keyframe)


def feed(packets: list[Packet], *, now_s: float = 0.0) -> tuple[Segmenter, list[Fragment]]:
    segmenter = Segmenter(BASE)
    cut = [segmenter.add(one, now_s=now_s) for one in packets]
    return segmenter, [fragment for fragment in cut if fragment is not None]


def test_a_fragment_is_cut_at_the_first_packet_after_one_second_whatever_it_is() -> None:
    segmenter, cut = feed([packet(500 + n * 40, is_keyframe=n == 0) for n in range(60)])
    assert [(one.first_pts, one.duration_pts, one.packets) for one in cut] == [
        (500, 1000, 25),
        (1500, 1000, 25),
    ]
    assert [one.has_keyframe for one in cut] == [True, False]
    last = segmenter.flush()
    assert last is not None
    assert (last.first_pts, last.duration_pts, last.packets) == (2500, 400, 10)
    assert segmenter.flush() is None


def test_fragments_of_all_tracks_end_with_the_clocks_seconds() -> None:
    """One that begins shortly before such a second counts to it, so that jitter makes no small ones."""
    for first_s in (4.3, 4.5, 4.7, 4.85):
        segmenter = Segmenter(BASE)
        cut: list[tuple[float, int]] = []
        for number in range(110):
            at_s = first_s + number * 0.04 - (0.03 if number % 2 else 0)
            fragment = segmenter.add(packet(number * 40), now_s=at_s)
            cut += [(at_s % 1, fragment.duration_pts)] if fragment is not None else []
        assert len(cut) == (5 if first_s == 4.7 else 4)
        assert all(at_s < 0.1 or at_s > 0.8 for at_s, _ in cut)
        assert all(920 <= duration <= 1040 for _, duration in cut[1:])


def test_a_fragment_is_cut_before_it_is_too_large_for_a_chunk() -> None:
    size = MAX_FRAGMENT_BYTES // 3
    _, cut = feed([packet(n * 40, size=size) for n in range(7)])
    assert [one.packets for one in cut] == [3, 3]


def test_what_waits_for_its_end_becomes_due_by_the_wall_clock() -> None:
    segmenter, cut = feed([packet(0), packet(40)], now_s=5.0)
    assert cut == []
    assert not segmenter.is_due(5.0 + MAX_AGE_S - 0.01)
    assert segmenter.is_due(5.0 + MAX_AGE_S)
    fragment = segmenter.flush()
    assert fragment is not None
    assert (fragment.packets, fragment.duration_pts) == (2, 80)
    assert not segmenter.is_due(100.0)


def test_a_new_segmenter_is_never_due_and_holds_nothing() -> None:
    segmenter = Segmenter(BASE)
    assert not segmenter.is_due(1e9)
    assert segmenter.flush() is None


@given(st.lists(st.integers(1, 700), min_size=1, max_size=80))
def test_fragments_follow_each_other_and_hold_every_packet(steps: list[int]) -> None:
    pts, packets = 0, []
    for step in steps:
        packets.append(packet(pts))
        pts += step
    segmenter, cut = feed(packets)
    last = segmenter.flush()
    assert last is not None
    every = [*cut, last]
    assert sum(one.packets for one in every) == len(packets)
    for one, following in pairwise(every):
        assert one.first_pts + one.duration_pts == following.first_pts
