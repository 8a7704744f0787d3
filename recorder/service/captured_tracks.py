"""The tracks of one attempt: gives stored tracks their numbers, and each live one its capture."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from recorder.core.chunking import TrackKind
from recorder.ports import Picture, Sound, SourceTrack, SourceTrackId
from recorder.service.track_capture import CaptureSetup, TrackCapture, TrackCounts, seconds_of

_log = logging.getLogger("greenroom.recorder")


@dataclass(slots=True)
class _StoredTrack:
    number: int
    kind: TrackKind
    counts: TrackCounts = field(default_factory=TrackCounts)
    capture: TrackCapture | None = None  # the latest
    live_as: SourceTrackId | None = None


class CapturedTracks:
    """A `FrameSink` that records. A track that is published again, as after a reconnect, goes on as a new run
    of the same stored track; two that live at once under one name are two stored tracks.
    """

    def __init__(self, setup: CaptureSetup) -> None:
        self._setup = setup
        self._stored: dict[tuple[str, str, TrackKind, int], _StoredTrack] = {}
        self._live: dict[SourceTrackId, _StoredTrack] = {}
        self._captures: list[TrackCapture] = []
        self._is_over = False

    def track_started(self, track: SourceTrack) -> None:
        """Begin to capture a track."""
        if self._is_over or track.track_id in self._live:
            return
        stored = self._place_for(track)
        capture = TrackCapture(
            stored.number, track, setup=self._setup, counts=stored.counts, after=stored.capture
        )
        stored.capture, stored.live_as = capture, track.track_id
        self._live[track.track_id] = stored
        self._captures = [*(old for old in self._captures if old.is_alive), capture]
        capture.start()
        _log.info("track %d (%s %s) begins", stored.number, track.kind, track.track_id)

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        """Hand a frame to its capture."""
        self._offer(track_id, picture)

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        """Hand a block to its capture."""
        self._offer(track_id, sound)

    def track_ended(self, track_id: SourceTrackId) -> None:
        """End a capture; what it holds is still stored."""
        stored = self._live.pop(track_id, None)
        if stored is None or stored.capture is None:
            return
        stored.live_as = None
        stored.capture.end()
        _log.info("track %d (%s) ends", stored.number, track_id)

    def end(self) -> None:
        """End all; nothing is taken from now on. Never waits."""
        self._is_over = True
        for track_id in list(self._live):
            self.track_ended(track_id)

    def join(self) -> None:
        """Wait until everything is submitted. Blocking; after `end`."""
        for capture in self._captures:
            capture.join()

    def stats(self) -> dict[str, float]:
        """Measured numbers over all tracks."""
        video = [stored.counts for stored in self._stored.values() if stored.kind == "video"]
        audio = [stored.counts for stored in self._stored.values() if stored.kind == "audio"]
        every = video + audio
        return {
            "tracks": float(len(every)),
            "tracks_failed": float(sum(counts.failed for counts in every)),
            "video_frames": float(sum(counts.frames for counts in video)),
            "video_dropped": float(sum(counts.dropped for counts in video)),
            "audio_s": round(sum(seconds_of(counts) for counts in audio), 3),
            "audio_dropped": float(sum(counts.dropped for counts in audio)),
            "audio_filled_samples": float(sum(counts.silence for counts in audio)),
            "audio_left_out_samples": float(sum(counts.left_out for counts in audio)),
        }

    def _offer(self, track_id: SourceTrackId, frame: Picture | Sound) -> None:
        stored = self._live.get(track_id)
        if stored is not None and stored.capture is not None:
            stored.capture.offer(frame)

    def _place_for(self, track: SourceTrack) -> _StoredTrack:
        twin = 0
        while True:
            key = (track.identity, track.name, track.kind, twin)
            stored = self._stored.get(key)
            if stored is None:
                stored = _StoredTrack(number=len(self._stored) + 1, kind=track.kind)
                self._stored[key] = stored
                return stored
            if stored.live_as is None:
                return stored
            twin += 1
