"""What goes to the store: chunks of one track, init parts and fragments, before they are sealed.

A chunk is one fragment, because a fragment is cut at 1 s or 4 MiB already.

Source: recording.md §2 (Chunk, Init run).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from recorder.core.segmenting import Fragment

TrackKind = Literal["audio", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFormat:
    """What an encoder makes: the head of its init run and how a player names it.

    Attributes:
        codec: FFmpeg's name.
        mime: container and codec as Media Source Extensions take them.
        init_part: ftyp and moov, or the head of a WebM.
        width: pixels, 0 for audio; so are ``height``, and ``sample_rate`` and ``channels`` for video.
    """

    kind: TrackKind
    codec: str
    mime: str
    time_base: Fraction
    init_part: bytes = field(repr=False)
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0

    @property
    def is_webm(self) -> bool:
        """Whether its fragments are clusters, and not moof and mdat."""
        return self.mime.partition(";")[0].endswith("/webm")


@dataclass(frozen=True, slots=True, kw_only=True)
class InitChunk:
    """Begins an init run of a track; with its first one, the track.

    Attributes:
        offset_us: where pts 0 of the run lies after the attempt's beginning, as far as it is known.
    """

    track: int
    identity: str
    name: str
    format: TrackFormat
    offset_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaChunk:
    """Whole fragments of a track's open run. ``offset_us``: the run's, if it is known better by now."""

    track: int
    fragment: Fragment
    offset_us: int | None = None


Chunk = InitChunk | MediaChunk
