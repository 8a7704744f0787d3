"""What a track's packets are put together to: access units, the smallest that a decoder takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecSetup:
    """What a decoder must know before the first unit; another one begins a new init run.

    Attributes:
        codec: FFmpeg's name.
        width: pixels, 0 for audio; ``height`` likewise.
        parameters: H.264: sequence and picture parameter set; else empty.
        channels: of audio, 0 for video.
    """

    codec: str
    width: int = 0
    height: int = 0
    parameters: tuple[bytes, ...] = field(default=(), repr=False)
    channels: int = 0


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One encoded picture, or one packet of sound.

    Attributes:
        rtp_time: in ticks of the track's clock, counted on over wraps.
        arrival_us: monotonic time at which its first packet came.
        data: as MP4 holds it (H.264: NAL units with 4-byte lengths).
        duration: ticks, 0 when it does not say (pictures).
        setup: what it is decoded with.
    """

    rtp_time: int
    arrival_us: int
    data: bytes = field(repr=False)
    is_keyframe: bool
    duration: int
    setup: CodecSetup


class Depacketizer(Protocol):
    """Puts the payloads of one stream together, in order."""

    def push(
        self, payload: bytes, rtp_time: int, *, is_last: bool, arrival_us: int
    ) -> tuple[AccessUnit, ...]:
        """Take a payload; give the units that it completes: none, one, or two when a marker was missing.

        Args:
            payload: of one packet, not empty.
            rtp_time: its time, counted on over wraps.
            is_last: the packet's marker bit.
            arrival_us: when it came.
        """

    def lose(self) -> None:
        """Packets are missing here: what is half put together is dropped.

        Video goes on with the next keyframe only.
        """

    @property
    def needs_keyframe(self) -> bool:
        """Whether nothing comes out until a keyframe is there."""
