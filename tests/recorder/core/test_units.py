"""The suite of both video depacketizers: the same bytes as the encoder's, and only what can be decoded."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.core.avc import length_prefixed
from recorder.core.receiving import StreamReceiver
from recorder.core.units import AccessUnit
from tests.fakes.rtp_media import TICKS, SentPicture, depacketizer, packets, pictures, receive

H264 = pictures(40, keyframes=frozenset({20}))
VP8 = pictures(40, codec="vp8", keyframes=frozenset({20}))
CODECS = [pytest.param("h264", id="h264"), pytest.param("vp8", id="vp8")]


def sent_as(codec: str) -> list[SentPicture]:
    return H264 if codec == "h264" else VP8


def data_of(codec: str, picture: SentPicture) -> bytes:
    return length_prefixed(picture.data) if codec == "h264" else picture.data


@pytest.mark.parametrize("codec", CODECS)
def test_pictures_come_out_as_the_encoder_made_them(codec: str) -> None:
    sent = sent_as(codec)
    units = receive(codec, packets(sent))
    assert [unit.data for unit in units] == [data_of(codec, picture) for picture in sent]
    assert [unit.is_keyframe for unit in units] == [picture.is_keyframe for picture in sent]
    assert [unit.rtp_time - units[0].rtp_time for unit in units] == [n * TICKS for n in range(len(sent))]
    assert (units[0].setup.codec, units[0].setup.width, units[0].setup.height) == (codec, 320, 180)
    assert len({id(unit.setup) for unit in units}) == 1


@pytest.mark.parametrize("codec", CODECS)
def test_the_order_of_packets_does_not_matter(codec: str) -> None:
    stream = packets(sent_as(codec))
    shuffled = stream[:1]
    source = random.Random(5)
    for start in range(1, len(stream), 7):
        part = stream[start : start + 7]
        source.shuffle(part)
        shuffled += part
    assert [unit.data for unit in receive(codec, shuffled)] == [unit.data for unit in receive(codec, stream)]


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=60, deadline=None)
@given(lost=st.sets(st.integers(1, 400), min_size=1, max_size=4))
def test_after_a_loss_nothing_comes_out_until_the_next_keyframe(codec: str, lost: set[int]) -> None:
    sent = sent_as(codec)
    stream = packets(sent)
    lost = {place % (len(stream) - 1) + 1 for place in lost}
    receiver = StreamReceiver(7, depacketizer(codec), is_video=True)
    units: list[AccessUnit] = []
    for place, packet in enumerate(stream):
        if place not in lost:
            units += receiver.take(packet, place * 1000)
            units += receiver.give_up(place * 1000 + 5_000_000)[0]  # a hole is given up at once
    whole = {data_of(codec, picture): place for place, picture in enumerate(sent)}
    places = [whole[unit.data] for unit in units]  # no picture that was not sent so
    for before, after in pairwise(places):
        assert after == before + 1 or sent[after].is_keyframe


@pytest.mark.parametrize("codec", CODECS)
def test_a_lost_marker_loses_no_picture(codec: str) -> None:
    units = receive(codec, [bytes((p[0], p[1] & 0x7F)) + p[2:] for p in packets(sent_as(codec))])
    assert [unit.data for unit in units] == [data_of(codec, one) for one in sent_as(codec)[:-1]]


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_comes_out_before_a_keyframe(codec: str) -> None:
    units = receive(codec, packets(sent_as(codec)[3:]))
    assert [unit.data for unit in units] == [data_of(codec, one) for one in sent_as(codec)[20:]]


@pytest.mark.parametrize("codec", CODECS)
def test_another_size_is_another_setup_and_a_tiny_one_is_dropped(codec: str) -> None:
    stream = [
        *pictures(3, codec=codec, size=(320, 180)),
        *pictures(2, codec=codec, size=(8, 8)),
        *pictures(3, codec=codec, size=(640, 360)),
    ]
    units = receive(codec, packets(stream))
    assert [unit.setup.width for unit in units] == [320, 320, 320, 640, 640, 640]


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=200, deadline=None)
@given(payloads=st.lists(st.binary(min_size=1, max_size=40), max_size=12), last=st.booleans())
def test_no_payload_breaks_it(codec: str, payloads: list[bytes], last: bool) -> None:
    units = depacketizer(codec)
    for place, payload in enumerate(payloads):
        for unit in units.push(payload, place // 3, is_last=last, arrival_us=place):
            assert unit.data
