"""One picture of all cameras: keeps each track's newest pictures, and says what stands where at a time.

Pictures are drawn so long after they were shown that late ones have come; who is later still is drawn with
what is there. Source: issue of the recorder, "Capture" (composite).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from recorder.core.layout import Layout, fit, tiles
from recorder.core.quality import Quality
from recorder.core.speaking import SpeakerChoice
from recorder.core.timeline import picture_time_us
from recorder.ports import Picture, PlacedPicture, SourceTrack, SourceTrackId

DARK_AFTER_US: Final = 3_000_000  # a camera that gives nothing new for so long goes dark
MAX_HELD: Final = 20  # pictures of a track: what half a second of a fast camera and some jitter need
MIN_SIDE: Final = 16  # pixels; unpublishing flushes pictures of 2 and 8


@dataclass(slots=True)
class _Camera:
    track: SourceTrack
    order: int
    held: deque[tuple[int, Picture]] = field(default_factory=lambda: deque(maxlen=MAX_HELD))
    shown: tuple[int, Picture] | None = None  # of an earlier time, with it
    hidden_us: int | None = None  # muted or gone since
    is_gone: bool = False


class ComposedPicture:
    """The stage of one recording. Times are microseconds of the sources' monotonic clock."""

    def __init__(self, *, layout: Layout, quality: Quality) -> None:
        """Make one that fills the quality's largest picture."""
        self._layout = layout
        self._width, self._height = quality.width, quality.height
        self._half_us = 500_000 // quality.frames_per_s
        self._cameras: dict[SourceTrackId, _Camera] = {}
        self._joined: dict[
            tuple[str, str], int
        ] = {}  # by identity and name: who comes back has its old place
        self._speakers = SpeakerChoice()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        return self._width, self._height

    def begin(self, track: SourceTrack) -> None:
        """A camera is there."""
        order = self._joined.setdefault((track.identity, track.name), len(self._joined))
        self._cameras[track.track_id] = _Camera(track, order)

    def end(self, track_id: SourceTrackId, *, now_us: int) -> None:
        """A camera is gone from now on; what it showed before may still be drawn."""
        camera = self._cameras.get(track_id)
        if camera is not None:
            camera.is_gone = True
            camera.hidden_us = now_us if camera.hidden_us is None else camera.hidden_us

    def mute(self, track_id: SourceTrackId, *, is_muted: bool, now_us: int) -> None:
        """A camera shows nothing from now on, or does again."""
        camera = self._cameras.get(track_id)
        if camera is not None and not camera.is_gone:
            camera.hidden_us = now_us if is_muted else None
            if not is_muted:
                camera.shown = None  # what was shown before it was muted is not shown again

    def add(self, track_id: SourceTrackId, picture: Picture) -> None:
        """Take a picture of a camera."""
        camera = self._cameras.get(track_id)
        if camera is not None and min(picture.width, picture.height) >= MIN_SIDE:
            at_us = picture_time_us(arrival_us=picture.arrival_us, shown_us=picture.shown_us)
            camera.held.append((at_us, picture))

    def speaking(self, identities: Sequence[str]) -> None:
        """Take note of who speaks, loudest first."""
        self._speakers.heard(identities)

    def at(self, time_us: int) -> list[PlacedPicture]:
        """Say what stands where.

        Args:
            time_us: of the picture to be drawn, later than that of the call before.
        """
        for track_id in [key for key, camera in self._cameras.items() if _is_over(camera, time_us)]:
            del self._cameras[track_id]
        present = sorted(
            (camera for camera in self._cameras.values() if self._is_present(camera, time_us)),
            key=lambda camera: camera.order,
        )
        if self._layout == "speaker":
            identities = [camera.track.identity for camera in present]
            large = self._speakers.choose(identities, now_us=time_us)
            present.sort(key=lambda camera: camera.track.identity != large)
        boxes = tiles(self._layout, len(present), width=self._width, height=self._height)
        placed = []
        for camera, box in zip(present, boxes, strict=False):
            if camera.shown is not None and time_us - camera.shown[0] <= DARK_AFTER_US:
                picture = camera.shown[1]
                inner = fit(box, width=picture.width, height=picture.height)
                placed.append(PlacedPicture(camera.track.track_id, picture, inner))
        return placed

    def _is_present(self, camera: _Camera, time_us: int) -> bool:
        """Bring the camera to this time; whether it has a place there."""
        while camera.held and camera.held[0][0] <= time_us + self._half_us:
            camera.shown = camera.held.popleft()
        is_hidden = camera.hidden_us is not None and time_us >= camera.hidden_us
        return camera.shown is not None and not is_hidden


def _is_over(camera: _Camera, time_us: int) -> bool:
    return camera.is_gone and camera.hidden_us is not None and time_us >= camera.hidden_us
