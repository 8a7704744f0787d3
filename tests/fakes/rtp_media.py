"""Encoded media as a room sends it: pictures of real encoders, packed into RTP by aiortc's packers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from av.video.frame import PictureType

from recorder.core.chunking import TrackFormat
from recorder.core.fragments import Packet, encode_fragment
from recorder.core.h264_units import H264Units
from recorder.core.receiving import StreamReceiver
from recorder.core.units import AccessUnit, Depacketizer
from recorder.core.vp8_units import Vp8Units
from recorder.core.webm import encode_cluster

TICKS = 3000  # of 90 kHz in a picture, at 30 a second


@dataclass(frozen=True, slots=True)
class SentPicture:
    """One picture, as the encoder gave it and as payloads."""

    data: bytes
    is_keyframe: bool
    payloads: list[bytes]


def pictures(
    count: int,
    *,
    codec: str = "h264",
    size: tuple[int, int] = (320, 180),
    keyframes: frozenset[int] = frozenset(),
) -> list[SentPicture]:
    """Encode moving noise: a keyframe first and where it is asked for, none else."""
    name = "libx264" if codec == "h264" else "libvpx"
    width, height = size
    context: Any = av.CodecContext.create(name, "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(30), Fraction(1, 30)
    context.bit_rate = 1_000_000
    context.options = (
        {"preset": "ultrafast", "tune": "zerolatency", "forced-idr": "1", "x264-params": "keyint=infinite"}
        if codec == "h264"
        else {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    )
    context.gop_size = 3000
    noise = np.random.default_rng(3).integers(0, 255, (height * 3 // 2, width * 2), dtype=np.uint8)
    sent = []
    for number in range(count):
        shift = number * 2 % width
        frame: Any = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(noise[:, shift : shift + width]), format="yuv420p"
        )
        frame.pts = number
        is_key = number == 0 or number in keyframes
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        for packet in context.encode(frame):
            data = bytes(packet)
            payloads = (
                H264Encoder._packetize(H264Encoder._split_bitstream(data))
                if codec == "h264"
                else Vp8Encoder._packetize(data, number)
            )
            sent.append(SentPicture(data, packet.is_keyframe, payloads))
    return sent


def rtp_packet(
    payload: bytes, *, number: int, rtp_time: int, is_last: bool, ssrc: int = 7, payload_type: int = 96
) -> bytes:
    """Write one RTP packet."""
    marker = 0x80 if is_last else 0
    head = bytes((0x80, marker | payload_type)) + (number & 0xFFFF).to_bytes(2, "big")
    return head + (rtp_time & 0xFFFFFFFF).to_bytes(4, "big") + ssrc.to_bytes(4, "big") + payload


def packets(
    sent: list[SentPicture], *, first_number: int = 65_500, first_time: int = 0xFFFFF000
) -> list[bytes]:
    """Write all packets of pictures; both counters wrap soon."""
    out: list[bytes] = []
    for place, picture in enumerate(sent):
        for index, payload in enumerate(picture.payloads):
            is_last = index == len(picture.payloads) - 1
            out.append(
                rtp_packet(
                    payload,
                    number=first_number + len(out),
                    rtp_time=first_time + place * TICKS,
                    is_last=is_last,
                )
            )
    return out


def depacketizer(codec: str) -> Depacketizer:
    """Make the one of h264 or vp8."""
    return H264Units() if codec == "h264" else Vp8Units()


def receive(codec: str, stream: list[bytes]) -> list[AccessUnit]:
    """Take packets a millisecond apart; what is missing at the end is given up."""
    receiver = StreamReceiver(7, depacketizer(codec), is_video=True)
    return list(_receive(receiver, stream))


def _receive(receiver: StreamReceiver, stream: list[bytes]) -> Iterator[AccessUnit]:
    for place, packet in enumerate(stream):
        yield from receiver.take(packet, place * 1000)
    yield from receiver.give_up(10_000_000)[0]


def file_of(form: TrackFormat, units: list[AccessUnit]) -> bytes:
    """Write an init run of 30 frames a second in fragments of ten units."""
    step = Fraction(1, 30) / form.time_base
    write = encode_cluster if form.codec == "vp8" else encode_fragment
    out = form.init_part
    for first in range(0, len(units), 10):
        part = [
            Packet(
                pts=round((first + place) * step),
                duration_pts=round(step),
                data=unit.data,
                is_keyframe=unit.is_keyframe,
            )
            for place, unit in enumerate(units[first : first + 10])
        ]
        out += write(first // 10 + 1, part)
    return out
