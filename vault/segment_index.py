"""The segment index of one attempt: which media time lies in which chunk, known from chunk headers alone.

104 bytes are read of each chunk, once. A header without its chunk is not authenticated: whoever opens a
chunk compares its verified header with the one that stands here (`OpenRecording.read`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from vault.attempts import verify_place
from vault.core.chunk_header import HEADER_BYTES, ChunkHeader, ChunkKind, decode_header
from vault.core.coverage import CoverageBuilder, TrackCoverage
from vault.core.ids import RecordingId
from vault.core.layout import chunk_name
from vault.errors import FormatError
from vault.ports import RecordingFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One media chunk as a player sees it: whole fragments.

    Attributes:
        first_pts: ticks of the run's time base; so is ``duration_pts``.
        start_byte: within the media of the run; the init part is not counted.
        has_keyframe: decoding can begin within it.
    """

    leaf: int
    first_pts: int
    duration_pts: int
    start_byte: int
    size_bytes: int
    has_keyframe: bool

    def is_of(self, header: ChunkHeader) -> bool:
        """Whether a chunk that was verified is the one that was indexed."""
        return header.kind is ChunkKind.MEDIA and (
            (self.leaf, self.first_pts, self.duration_pts, self.size_bytes, self.has_keyframe)
            == (
                header.leaf,
                header.first_pts,
                header.duration_pts,
                header.plaintext_bytes,
                header.has_keyframe,
            )
        )


@dataclass(slots=True, kw_only=True)
class IndexedRun:
    """One init run. It grows at its end while its attempt does.

    Attributes:
        offset_us: where pts 0 lies after the attempt's start, as known by its latest chunk.
        media_bytes: of all its segments.
    """

    attempt: int
    track: int
    run: int
    init_leaf: int
    time_base: Fraction
    offset_us: int
    media_bytes: int = 0
    segments: list[Segment] = field(default_factory=list)

    def add(self, header: ChunkHeader) -> None:
        """Take the next media chunk."""
        segment = Segment(
            leaf=header.leaf,
            first_pts=header.first_pts,
            duration_pts=header.duration_pts,
            start_byte=self.media_bytes,
            size_bytes=header.plaintext_bytes,
            has_keyframe=header.has_keyframe,
        )
        self.segments.append(segment)
        self.media_bytes += segment.size_bytes


class AttemptIndex:
    """The runs of one attempt up to a number of leaves. Not for several threads at once."""

    def __init__(self, files: RecordingFiles, recording_id: RecordingId, attempt: int) -> None:
        self._files = files
        self._recording_id = recording_id
        self._attempt = attempt
        self._coverage = CoverageBuilder()
        self._open: dict[int, IndexedRun] = {}  # by track
        self.size = 0
        self.runs: list[IndexedRun] = []

    def extend(self, size: int) -> None:
        """Read the headers of the leaves up to ``size``. After an error call again: it goes on there.

        Raises:
            FormatError: a header is bad or cannot stand in its place; the message names the chunk.
            FileMissingError: a chunk is missing.
            StoreError: worth trying again.
        """
        while self.size < size:
            name = chunk_name(self._attempt, self.size)
            data = self._files.read_start(name, length=HEADER_BYTES)
            try:
                header = decode_header(data)
                verify_place(header, recording_id=self._recording_id, attempt=self._attempt, leaf=self.size)
                self._coverage.add(header)
            except FormatError as error:
                raise FormatError(f"{name}: {error}") from error
            self._take(header)
            self.size += 1

    def coverage(self) -> list[TrackCoverage]:
        """Coverage of every track, for comparison with the manifest's."""
        return self._coverage.tracks()

    def _take(self, header: ChunkHeader) -> None:
        if header.kind is ChunkKind.INIT:
            run = IndexedRun(
                attempt=self._attempt,
                track=header.track,
                run=header.run,
                init_leaf=header.leaf,
                time_base=header.time_base,
                offset_us=header.offset_us,
            )
            self._open[header.track] = run
            self.runs.append(run)
            return
        run = self._open[header.track]
        run.offset_us = header.offset_us
        if header.kind is ChunkKind.MEDIA:
            run.add(header)
