"""The tracks of one attempt: gives stored tracks their numbers, and each live one its capture."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final

from recorder.core.chunking import TrackKind
from recorder.core.rtp_clock import ParticipantClock, RtpClock
from recorder.core.timeline import AUDIO_RATE_HZ
from recorder.core.units import AccessUnit
from recorder.ports import Picture, Sound, SourceTrack, SourceTrackId
from recorder.service.track_capture import CaptureSetup, TrackCapture, TrackCounts, seconds_of
from recorder.service.unit_capture import UnitCapture

MAX_LATE_US: Final = 2_000_000  # who is said to have been longer on its way is not believed
_RTP_HZ: Final[dict[TrackKind, int]] = {"audio": 48_000, "video": 90_000}

_log = logging.getLogger("greenroom.recorder")


@dataclass(slots=True)
class _StoredTrack:
    number: int
    kind: TrackKind
    counts: TrackCounts = field(default_factory=TrackCounts)
    capture: TrackCapture | UnitCapture | None = None  # the latest
    track: SourceTrack | None = None  # as it is published now
    clock: RtpClock | None = None  # of units
    live_as: SourceTrackId | None = None
    was_decoded: bool = False  # in one of its publications
    not_before_us: int | None = None  # after a pause, until something that was sent after it has come


class CapturedTracks:
    """A `FrameSink` that records. A track that is published again, as after a reconnect, goes on as a new run
    of the same stored track; two that live at once under one name are two stored tracks.
    """

    def __init__(self, setup: CaptureSetup) -> None:
        self._setup = setup
        self._stored: dict[tuple[str, str, TrackKind, int], _StoredTrack] = {}
        self._live: dict[SourceTrackId, _StoredTrack] = {}
        self._captures: list[TrackCapture | UnitCapture] = []
        self._clocks: dict[str, ParticipantClock] = {}  # by identity
        self._unopened: set[str] = set()  # identities, whose media our key does not open
        self._has_opened = False  # it opened somebody's
        self._is_over = False
        self._is_paused = False
        self._has_refused_keyframe = False  # since the last tick

    @property
    def locked_out(self) -> str:
        """Why nothing of an end-to-end encrypted room could be recorded; "" when something could."""
        if self._has_opened or not self._unopened:
            return ""
        return (
            "e2ee_key_wrong: the e2ee_key opens nothing of the end-to-end encrypted media of"
            f" {len(self._unopened)} participants; start again with the room's key"
        )

    def track_started(self, track: SourceTrack) -> None:
        """Begin to capture a track."""
        if self._is_over or track.track_id in self._live:
            return
        stored = self._place_for(track)
        stored.track, stored.live_as = track, track.track_id
        stored.clock = self._clock_of(track)
        stored.was_decoded = stored.was_decoded or not track.is_encoded
        self._live[track.track_id] = stored
        if not self._is_paused:
            self._begin(stored, track)
        _log.info("track %d (%s %s) begins", stored.number, track.kind, track.track_id)

    def pause(self) -> None:
        """Take nothing from now on; what came before is still stored. Never waits."""
        self._is_paused = True
        for stored in self._live.values():
            if stored.capture is not None:
                stored.capture.end()

    def resume(self) -> None:
        """Go on with every track that is live, each as a new run of the same stored track.

        What was sent during the pause and comes only now is still left out, as far as its time is known.
        """
        self._is_paused = False
        now_us = self._setup.clock.monotonic_us()
        for stored in self._live.values():
            stored.not_before_us = now_us
            if stored.track is not None:
                self._begin(stored, stored.track)

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        """Hand a frame to its capture."""
        shown_us = picture.arrival_us if picture.shown_us is None else picture.shown_us
        self._offer(track_id, picture, shown_us)

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        """Hand a block to its capture."""
        self._offer(track_id, sound, sound.arrival_us - sound.samples * 1_000_000 // AUDIO_RATE_HZ)

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        """Hand an encoded unit to its capture."""
        stored = self._live.get(track_id)
        if stored is None or stored.clock is None:
            return
        taken_us = unit.arrival_us
        if self._is_paused or stored.not_before_us is not None:
            # Where its time lies must be known when it goes on.
            stored.clock.arrived(unit.rtp_time, unit.arrival_us - self._setup.epoch_us)
            taken_us = stored.clock.place_us(unit.rtp_time) + self._setup.epoch_us
        if not isinstance(stored.capture, UnitCapture):
            return
        if self._is_open(stored, taken_us, unit.arrival_us):
            stored.capture.offer(unit)
        elif unit.is_keyframe and stored.kind == "video" and not self._is_paused:
            self._has_refused_keyframe = True

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        """Take note of where a track's RTP time lies on its publisher's clock."""
        stored = self._live.get(track_id)
        if stored is not None and stored.clock is not None:
            stored.clock.report(rtp_time, ntp_us)

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        """Count packets of an encoded track that never came."""
        stored = self._live.get(track_id)
        if stored is not None:
            stored.counts.lost_packets += packets

    def opened(self, identity: str, *, is_opened: bool) -> None:
        """Count whose encrypted media cannot be opened."""
        if is_opened:
            self._has_opened = True
            self._unopened.discard(identity)
        elif identity not in self._unopened:
            self._unopened.add(identity)
            _log.error("the media of %s cannot be decrypted: the e2ee_key is not theirs", identity)

    def tick(self) -> bool:
        """Cut what became due. Called in the event loop, a few times a second.

        Returns:
            Whether a keyframe is to be asked for: the one that came after a pause was drawn before its end.
        """
        now_us = self._setup.clock.monotonic_us()
        for capture in self._captures:
            if isinstance(capture, UnitCapture):
                capture.tick(now_us)
        is_wanted, self._has_refused_keyframe = self._has_refused_keyframe, False
        return is_wanted

    def track_ended(self, track_id: SourceTrackId) -> None:
        """End a capture; what it holds is still stored."""
        stored = self._live.pop(track_id, None)
        if stored is None:
            return
        stored.live_as = stored.track = None
        if stored.capture is not None:
            stored.capture.end()
        if stored.clock is not None:
            for participant in self._clocks.values():
                participant.forget(stored.clock)
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
            "tracks_decoded": float(sum(stored.was_decoded for stored in self._stored.values())),
            "participants_unopened": float(len(self._unopened)),
            "tracks_failed": float(sum(counts.failed for counts in every)),
            "video_frames": float(sum(counts.frames for counts in video)),
            "video_dropped": float(sum(counts.dropped for counts in video)),
            "packets_lost": float(sum(counts.lost_packets for counts in every)),
            "audio_s": round(sum(seconds_of(counts) for counts in audio), 3),
            "audio_dropped": float(sum(counts.dropped for counts in audio)),
            "audio_filled_samples": float(sum(counts.silence for counts in audio)),
            "audio_left_out_samples": float(sum(counts.left_out for counts in audio)),
        }

    def _offer(self, track_id: SourceTrackId, frame: Picture | Sound, taken_us: int) -> None:
        stored = self._live.get(track_id)
        if stored is None or not isinstance(stored.capture, TrackCapture):
            return
        if self._is_open(stored, taken_us, frame.arrival_us):
            stored.capture.offer(frame)

    def _is_open(self, stored: _StoredTrack, taken_us: int, arrival_us: int) -> bool:
        """Tell whether something is to be recorded; ``taken_us``: when it was sent, as far as is known."""
        if self._is_paused:
            return False
        if stored.not_before_us is not None:
            if abs(arrival_us - taken_us) > MAX_LATE_US:
                taken_us = arrival_us
            if taken_us < stored.not_before_us:
                return False
            stored.not_before_us = None
        return True

    def _begin(self, stored: _StoredTrack, track: SourceTrack) -> None:
        stored.capture = capture = self._capture_of(stored, track)
        self._captures = [*(old for old in self._captures if old.is_alive), capture]
        if isinstance(capture, TrackCapture):
            capture.start()

    def _clock_of(self, track: SourceTrack) -> RtpClock | None:
        if not track.is_encoded:
            return None
        participant = self._clocks.setdefault(track.identity, ParticipantClock())
        return participant.track(_RTP_HZ[track.kind])

    def _capture_of(self, stored: _StoredTrack, track: SourceTrack) -> TrackCapture | UnitCapture:
        if stored.clock is None:
            return TrackCapture(
                stored.number, track, setup=self._setup, counts=stored.counts, after=stored.capture
            )
        return UnitCapture(
            stored.number,
            track,
            setup=self._setup,
            counts=stored.counts,
            clock=stored.clock,
            after=stored.capture,
        )

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
