"""Captures one track on a thread of its own: places its frames in time, encodes them, cuts fragments."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from recorder.core.chunking import Chunk, InitChunk, MediaChunk, TrackFormat
from recorder.core.errors import CaptureError, StoreLostError
from recorder.core.fragments import Packet, encode_fragment
from recorder.core.pacing import FramePacing
from recorder.core.segmenting import Fragment, Segmenter
from recorder.core.timeline import AUDIO_RATE_HZ, VIDEO_TIME_BASE, AudioTimeline, VideoTimeline
from recorder.core.webm import encode_cluster
from recorder.ports import AudioEncoder, Clock, Encoders, Picture, Sound, SourceTrack, VideoEncoder

MAX_PICTURES: Final = 15  # half a second at 30 frames/s: what waits is not stored yet
MAX_SOUNDS: Final = 200  # two seconds of 10 ms blocks
MIN_SIDE: Final = 16  # pixels; unpublishing flushes pictures of 2 and 8
_TICK_S: Final = 0.1
_SAMPLE_BYTES: Final = 4  # two channels of 16 bit

_log = logging.getLogger("greenroom.recorder")


class Capture(Protocol):
    """What captures a stored track: this one, or one of encoded units without a thread."""

    @property
    def is_alive(self) -> bool:
        """Whether it still has something to submit."""

    def end(self) -> None:
        """Take no more; what it has is still submitted. Never waits."""

    def join(self) -> None:
        """Wait until everything is submitted. Blocking; after `end`."""


@dataclass(slots=True)
class TrackCounts:
    """What happened to one track's media; written by its thread, read by anybody."""

    frames: int = 0  # pictures or blocks that were encoded
    dropped: int = 0  # that came while the queue was full
    samples: int = 0
    silence: int = 0  # samples filled in where none came
    lost_packets: int = 0  # of an encoded track, that never came
    left_out: int = 0  # samples left out because the publisher's clock runs ahead
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSetup:
    """What all tracks of an attempt share.

    Attributes:
        epoch_us: monotonic time of the attempt's beginning.
        submit: hands a chunk to the store, waiting for room; for threads.
        offer: hands a chunk to the store if there is room; for the event loop.
    """

    epoch_us: int
    keyframe_interval_s: float
    encoders: Encoders
    clock: Clock
    submit: Callable[[Chunk], None]
    offer: Callable[[Chunk], bool]


class TrackCapture:
    """One track between `start` and `end`.

    The queue holds MAX_PICTURES pictures or MAX_SOUNDS blocks. When it is full (the encoder or the store is
    behind), what comes is dropped and counted; the timeline keeps its place.
    """

    def __init__(
        self,
        number: int,
        track: SourceTrack,
        *,
        setup: CaptureSetup,
        counts: TrackCounts,
        after: Capture | None = None,
    ) -> None:
        """Make a capture.

        Args:
            number: the stored track's number.
            track: what is captured.
            setup: what the tracks share.
            counts: where this track's numbers go on.
            after: the capture of the same stored track before a reconnect; its chunks go first.
        """
        self._number = number
        self._track = track
        self._setup = setup
        self._counts = counts
        self._after = after
        size = MAX_PICTURES if track.kind == "video" else MAX_SOUNDS
        self._waiting: queue.Queue[Picture | Sound] = queue.Queue(size)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"track {number}", daemon=True)
        self._segmenter: Segmenter | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it still has something to submit."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to take frames."""
        self._thread.start()

    def offer(self, frame: Picture | Sound) -> None:
        """Hand over a frame; never waits. Called in the event loop."""
        if self._ending.is_set():
            return
        try:
            self._waiting.put_nowait(frame)
        except queue.Full:
            self._counts.dropped += 1

    def end(self) -> None:
        """Take no more; what waits is still encoded and submitted. Never waits."""
        self._ending.set()

    def join(self) -> None:
        """Wait until everything is submitted. Blocking; after `end`."""
        self._thread.join()

    def _run(self) -> None:
        if self._after is not None:
            self._after.join()
            self._after = None
        try:
            if self._track.kind == "video":
                self._capture_video()
            else:
                self._capture_audio()
        except StoreLostError:
            return  # the store path has said so
        except CaptureError as error:
            self._fail()
            _log.error("track %d is no longer recorded: %s", self._number, error)
        except Exception:  # noqa: BLE001 - the edge of the thread
            self._fail()
            _log.exception("track %d is no longer recorded", self._number)

    def _fail(self) -> None:
        self._counts.failed = True
        self._ending.set()

    # --- video ---

    def _capture_video(self) -> None:
        timeline = VideoTimeline()
        pacing = FramePacing(self._setup.encoders.quality.frames_per_s, VIDEO_TIME_BASE)
        encoder: VideoEncoder | None = None
        size = (0, 0)
        next_keyframe_us = 0
        while (picture := self._next()) is not None:
            assert isinstance(picture, Picture)
            if picture.width < MIN_SIDE or picture.height < MIN_SIDE:
                continue
            pts = timeline.place(
                arrival_us=picture.arrival_us - self._setup.epoch_us,
                shown_us=None if picture.shown_us is None else picture.shown_us - self._setup.epoch_us,
            )
            if not pacing.takes(pts):
                continue
            if encoder is None or size != (picture.width, picture.height):
                if encoder is not None:
                    self._keep(encoder.finish())
                size = (picture.width, picture.height)
                encoder = self._setup.encoders.video(width=picture.width, height=picture.height)
                self._begin_run(encoder.format)
                next_keyframe_us = 0
            is_keyframe = picture.arrival_us >= next_keyframe_us
            if is_keyframe:
                next_keyframe_us = picture.arrival_us + int(self._setup.keyframe_interval_s * 1_000_000)
            self._keep(encoder.encode(picture, pts=pts, is_keyframe=is_keyframe))
            self._counts.frames += 1
        if encoder is not None:
            self._keep(encoder.finish())
            self._flush()

    # --- audio ---

    def _capture_audio(self) -> None:
        timeline = AudioTimeline()
        encoder: AudioEncoder | None = None
        while (sound := self._next()) is not None:
            assert isinstance(sound, Sound)
            place = timeline.place(arrival_us=sound.arrival_us - self._setup.epoch_us, samples=sound.samples)
            if encoder is not None and place.is_jump:
                self._keep(encoder.finish())
                encoder = None
            if encoder is None:
                encoder = self._setup.encoders.audio()
                self._begin_run(encoder.format)
            if place.silence:
                silence = bytes(place.silence * _SAMPLE_BYTES)
                self._keep(encoder.encode(silence, pts=place.pts - place.silence))
            kept = memoryview(sound.data)[place.drop * _SAMPLE_BYTES :]
            if len(kept):
                self._keep(encoder.encode(kept, pts=place.pts))
            self._counts.frames += 1
            self._counts.samples += sound.samples - place.drop
            self._counts.silence += place.silence
            self._counts.left_out += place.drop
        if encoder is not None:
            self._keep(encoder.finish())
            self._flush()

    # --- both ---

    def _next(self) -> Picture | Sound | None:
        """The next frame; None when the track has ended. Meanwhile fragments are cut that became due."""
        while True:
            try:
                return self._waiting.get(timeout=_TICK_S)
            except queue.Empty:
                if self._ending.is_set():
                    return None
            if self._segmenter is not None and self._segmenter.is_due(self._now_s()):
                self._flush()

    def _begin_run(self, form: TrackFormat) -> None:
        self._flush()
        self._segmenter = Segmenter(form.time_base, encode_cluster if form.is_webm else encode_fragment)
        self._setup.submit(
            InitChunk(track=self._number, identity=self._track.identity, name=self._track.name, format=form)
        )

    def _keep(self, packets: list[Packet]) -> None:
        assert self._segmenter is not None
        for packet in packets:
            self._submit(self._segmenter.add(packet, now_s=self._now_s()))

    def _flush(self) -> None:
        if self._segmenter is not None:
            self._submit(self._segmenter.flush())

    def _submit(self, fragment: Fragment | None) -> None:
        if fragment is not None:
            self._setup.submit(MediaChunk(track=self._number, fragment=fragment))

    def _now_s(self) -> float:
        return (self._setup.clock.monotonic_us() - self._setup.epoch_us) / 1_000_000


def seconds_of(counts: TrackCounts) -> float:
    """Seconds of sound, the silence that was filled in included."""
    return (counts.samples + counts.silence) / AUDIO_RATE_HZ
