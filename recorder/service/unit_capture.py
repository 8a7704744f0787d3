"""Captures one track whose encoded units come as they are: places them in time, cuts fragments. No thread.

All of it happens in the event loop: a unit costs microseconds, a fragment a few copies a second.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from recorder.core.chunking import Chunk, InitChunk, MediaChunk, TrackFormat
from recorder.core.errors import StoreLostError
from recorder.core.fragments import Packet, encode_fragment
from recorder.core.mp4_head import h264_format, opus_format
from recorder.core.rtp_clock import RtpClock
from recorder.core.segmenting import Fragment, Segmenter
from recorder.core.units import AccessUnit, CodecSetup
from recorder.core.webm import encode_cluster, vp8_format
from recorder.ports import SourceTrack
from recorder.service.track_capture import Capture, CaptureSetup, TrackCounts

MAX_BACKLOG_BYTES: Final = 32 * 1024 * 1024  # of one track, while the store is slow
SETTLE_US: Final = 10_000_000  # a place that no report refined by then stays as it is
_DRIFT_US: Final = {"audio": 20_000, "video": 40_000}  # a run further off its place ends
_HOLE_S: Final = {"audio": Fraction(1, 10), "video": Fraction(1, 2)}  # longer ones lie between fragments
_USUAL_FRAME_S: Final = Fraction(1, 30)  # how long a picture stands that no other followed
_RTP_HZ: Final = {"audio": 48_000, "video": 90_000}


@dataclass(slots=True)
class _Run:
    """The open init run."""

    setup: CodecSetup
    format: TrackFormat
    segmenter: Segmenter
    origin: int  # RTP time of its pts 0
    offset_us: int
    began_us: int
    hole_pts: int  # a longer one lies between fragments
    usual_pts: int  # how long a picture stands that no other followed
    divisor: int  # RTP ticks in one of the format
    is_settled: bool = False
    has_drifted: bool = False  # as seen at the last tick
    last_pts: int = -1
    end_pts: int = 0


class UnitCapture:
    """One track between its beginning and `end`; a `Capture`."""

    def __init__(
        self,
        number: int,
        track: SourceTrack,
        *,
        setup: CaptureSetup,
        counts: TrackCounts,
        clock: RtpClock,
        after: Capture | None = None,
    ) -> None:
        """Make a capture; arguments as those of `TrackCapture`, and the track's clock."""
        self._number = number
        self._track = track
        self._setup = setup
        self._counts = counts
        self._clock = clock
        self._after = after
        self._run: _Run | None = None
        self._backlog: deque[Chunk] = deque()
        self._backlog_bytes = 0
        self._has_ended = False

    @property
    def is_alive(self) -> bool:
        """Whether it still has something to submit."""
        return not self._has_ended or bool(self._backlog)

    def offer(self, unit: AccessUnit) -> None:
        """Take a unit; what does not follow the one before is left out and counted."""
        if self._has_ended:
            return
        self._clock.arrived(unit.rtp_time, unit.arrival_us - self._setup.epoch_us)
        run = self._run
        if run is None or unit.setup != run.setup or (unit.is_keyframe and run.has_drifted):
            if not unit.is_keyframe:
                self._counts.dropped += 1
                return
            run = self._begin_run(unit)
        pts = (unit.rtp_time - run.origin) // run.divisor
        if pts <= run.last_pts:
            self._counts.dropped += 1
            return
        if pts - run.end_pts > run.hole_pts:
            self._flush()
        duration = unit.duration // run.divisor or run.usual_pts
        packet = Packet(pts=pts, duration_pts=duration, data=unit.data, is_keyframe=unit.is_keyframe)
        run.last_pts, run.end_pts = pts, pts + duration
        self._counts.frames += 1
        self._counts.samples += unit.duration
        fragment = run.segmenter.add(packet, now_s=self._seconds(unit.arrival_us))
        if fragment is not None:
            self._put(run, fragment)

    def tick(self, now_us: int) -> None:
        """Cut what became due, and hand over what waited for the store."""
        run = self._run
        if run is not None:
            run.has_drifted = self._has_drifted(run)
            if run.segmenter.is_due(self._seconds(now_us)):
                self._flush()
        self._drain()

    def end(self) -> None:
        """Take no more; what is held is cut and handed over. Never waits."""
        if not self._has_ended:
            self._has_ended = True
            self._flush()

    def join(self) -> None:
        """Hand over what waits. Blocking; after `end`."""
        if self._after is not None:
            self._after.join()
            self._after = None
        while self._backlog:
            try:
                self._setup.submit(self._backlog.popleft())
            except StoreLostError:
                self._backlog.clear()  # the store path has said so

    # --- runs ---

    def _begin_run(self, unit: AccessUnit) -> _Run:
        self._flush()
        form = _FORMATS[unit.setup.codec](unit.setup)
        offset_us = self._clock.place_us(unit.rtp_time)
        self._run = run = _Run(
            setup=unit.setup,
            format=form,
            segmenter=Segmenter(form.time_base, encode_cluster if form.codec == "vp8" else encode_fragment),
            origin=unit.rtp_time,
            offset_us=offset_us,
            began_us=unit.arrival_us,
            hole_pts=int(_HOLE_S[self._track.kind] / form.time_base),
            usual_pts=int(_USUAL_FRAME_S / form.time_base),
            divisor=int(form.time_base * _RTP_HZ[self._track.kind]),
        )
        init = InitChunk(
            track=self._number,
            identity=self._track.identity,
            name=self._track.name,
            format=form,
            offset_us=offset_us,
        )
        self._hand_over(init, len(form.init_part))
        return run

    def _offset_us(self, run: _Run, now_us: int) -> int:
        """Give the run's place as known by now; it is refined until a report has come, then stays."""
        if not run.is_settled:
            run.offset_us = self._clock.place_us(run.origin)
            run.is_settled = self._clock.is_reported or now_us - run.began_us > SETTLE_US
        return run.offset_us

    def _has_drifted(self, run: _Run) -> bool:
        """Whether the publisher's clock went so far from ours that the run no longer stands in its place."""
        if not run.is_settled:
            return False
        return abs(self._clock.place_us(run.origin) - run.offset_us) > _DRIFT_US[self._track.kind]

    def _seconds(self, at_us: int) -> float:
        """Give a monotonic time in seconds of the attempt."""
        return (at_us - self._setup.epoch_us) / 1_000_000

    # --- to the store ---

    def _flush(self) -> None:
        if self._run is not None:
            self._put(self._run, self._run.segmenter.flush())

    def _put(self, run: _Run, fragment: Fragment | None) -> None:
        if fragment is not None:
            offset_us = self._offset_us(run, self._setup.clock.monotonic_us())
            chunk = MediaChunk(track=self._number, fragment=fragment, offset_us=offset_us)
            self._hand_over(chunk, len(fragment.data))

    def _hand_over(self, chunk: Chunk, size: int) -> None:
        if self._backlog_bytes + size > MAX_BACKLOG_BYTES and isinstance(chunk, MediaChunk):
            self._counts.dropped += chunk.fragment.packets
            self._run = None  # what follows needs a keyframe
            return
        self._backlog.append(chunk)
        self._backlog_bytes += size
        self._drain()

    def _drain(self) -> None:
        if self._after is not None:
            if self._after.is_alive:
                return  # its chunks go first
            self._after = None
        try:
            while self._backlog and self._setup.offer(self._backlog[0]):
                self._backlog.popleft()
        except StoreLostError:
            self._backlog.clear()
        if not self._backlog:
            self._backlog_bytes = 0


_FORMATS: Final = {"h264": h264_format, "vp8": vp8_format, "opus": opus_format}
