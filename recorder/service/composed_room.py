"""A room as one mix of its sound and, if wanted, one picture of its cameras, live.

Everything is put together LATENCY_US after it was shown or heard, on an even clock, so that pictures and
sound of all participants that came by then stand where they belong; nobody is waited for any longer. Drawing
happens in a thread; a machine that cannot keep up leaves pictures out, and their places stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

from recorder.core.layout import Layout
from recorder.core.quality import Quality
from recorder.core.units import AccessUnit
from recorder.ports import (
    Canvas,
    Clock,
    FrameSink,
    ListenedSource,
    Picture,
    Sound,
    SourceTrack,
    SourceTrackId,
)
from recorder.service.composed_picture import ComposedPicture
from recorder.service.mixed_sound import MixedSound
from vault.core.manifest import CaptureMode

LATENCY_US: Final = 300_000
STALL_US: Final = 100_000  # a turn of the event loop that takes longer is one in which it stood still
SOUND_TICK_S: Final = 0.02
PICTURE: Final = SourceTrack(track_id=SourceTrackId("composite"), kind="video", identity="", name="composite")
SOUND: Final = SourceTrack(track_id=SourceTrackId("mix"), kind="audio", identity="", name="mix")
_LAST_S: Final = 2.0  # for drawing what is not drawn yet at the end

_log = logging.getLogger("greenroom.recorder")


class ComposedRoom:
    """A `TrackSource` made of another one; also the sink and the listener of that one.

    The two tracks that it gives belong to nobody: their identity is empty. Each begins with the first picture
    or sound that comes, and lasts to the end.
    """

    def __init__(
        self,
        source: ListenedSource,
        *,
        clock: Clock,
        quality: Quality,
        layout: Layout | None,
        canvas: Callable[[int, int], Canvas],
    ) -> None:
        """Make one.

        Args:
            source: gives the room's decoded tracks.
            clock: the source's.
            quality: size and frames a second of the picture.
            layout: of the picture; None: sound alone.
            canvas: makes one of a width and height.
        """
        self._source = source
        self._clock = clock
        self._interval_us = 1_000_000 / quality.frames_per_s
        self._picture = None if layout is None else ComposedPicture(layout=layout, quality=quality)
        self._canvas = None if layout is None else canvas(quality.width, quality.height)
        self._kinds: dict[SourceTrackId, Literal["audio", "video"]] = {}
        self._sound = MixedSound(latency_us=LATENCY_US)
        self._sink: FrameSink | None = None
        self._first_us: int | None = None  # time of the first picture
        self._drawn = 0  # pictures whose time is over
        self._left_out = 0
        self._first = asyncio.Event()
        # One thread: a drawing that nobody waits for any more is still over before the next begins.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="composite")

    @property
    def mode(self) -> CaptureMode:
        """Everything is encoded again."""
        return "decoded"

    def want_keyframes(self) -> None:
        """Pass it on."""
        self._source.want_keyframes()

    async def capture(self, sink: FrameSink) -> None:
        """Hand over picture and mix until cancelled or the room is closed.

        Raises:
            RemovedFromRoomError: the media server put us out.
        """
        self._sink = sink
        self._source.listener = self
        jobs: list[Coroutine[Any, Any, None]] = [self._source.capture(self), self._give_sound()]
        if self._picture is not None:
            jobs.append(self._draw())
        source, *giving = (asyncio.create_task(job) for job in jobs)
        try:
            await asyncio.wait({source, *giving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _uninterrupted(self._end(source, giving, sink))
        for task in (source, *giving):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    # --- what the source says ---

    def track_started(self, track: SourceTrack) -> None:
        """A camera or a microphone is there."""
        self._kinds[track.track_id] = track.kind
        if track.kind == "video" and self._picture is not None:
            self._picture.begin(track)

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        """Keep a picture of a camera."""
        if self._picture is None or self._sink is None:
            return
        self._picture.add(track_id, picture)
        if self._first_us is None:
            self._first_us = picture.arrival_us
            self._sink.track_started(PICTURE)
            self._first.set()

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        """Add a block to the mix."""
        if self._sink is None or track_id not in self._kinds:
            return
        if not self._sound.has_begun:
            self._sink.track_started(SOUND)
        self._sound.add(track_id, sound)

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        """Decoded tracks give none."""

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        """Decoded tracks know no RTP times."""

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        """Decoded tracks know no packets."""

    def opened(self, identity: str, *, is_opened: bool) -> None:
        """Pass it on: what cannot be opened is missing in the picture and the mix."""
        if self._sink is not None:
            self._sink.opened(identity, is_opened=is_opened)

    def track_ended(self, track_id: SourceTrackId) -> None:
        """A camera or a microphone is gone."""
        if self._kinds.pop(track_id, None) == "audio":
            self._sound.end(track_id)
        elif self._picture is not None:
            self._picture.end(track_id, now_us=self._clock.monotonic_us())

    def muted(self, track_id: SourceTrackId, *, is_muted: bool) -> None:
        """A camera shows nothing for a while; a microphone says nothing by itself."""
        if self._picture is not None:
            self._picture.mute(track_id, is_muted=is_muted, now_us=self._clock.monotonic_us())

    def speaking(self, identities: Sequence[str]) -> None:
        """Who speaks is shown large."""
        if self._picture is not None:
            self._picture.speaking(identities)

    # --- what is given ---

    async def _give_sound(self) -> None:
        has_stalled = False
        while True:
            asleep_us = self._clock.monotonic_us()
            await asyncio.sleep(SOUND_TICK_S)
            # After the event loop stood still, what came meanwhile goes first; but no turn is left out twice.
            has_stalled = not has_stalled and self._clock.monotonic_us() - asleep_us > STALL_US
            if not has_stalled:
                self._hand_over_sound(is_last=False)

    def _hand_over_sound(self, *, is_last: bool) -> None:
        assert self._sink is not None
        for sound in self._sound.take(self._clock.monotonic_us(), is_last=is_last):
            self._sink.sound(SOUND.track_id, sound)

    async def _draw(self) -> None:
        await self._first.wait()
        while True:
            due_us = self._time_of(self._drawn) + LATENCY_US
            wait_us = due_us - self._clock.monotonic_us()
            if wait_us > 0:
                await asyncio.sleep(wait_us / 1_000_000)
            elif -wait_us > LATENCY_US:
                late = int((-wait_us - LATENCY_US) / self._interval_us) + 1
                self._drawn += late
                self._left_out += late
            await self._draw_next()

    async def _draw_next(self) -> None:
        assert self._picture is not None
        assert self._canvas is not None
        assert self._sink is not None
        time_us = self._time_of(self._drawn)
        self._drawn += 1
        placed = self._picture.at(time_us)
        loop = asyncio.get_running_loop()
        data = await loop.run_in_executor(self._thread, self._canvas.draw, placed)
        width, height = self._picture.size
        self._sink.picture(
            PICTURE.track_id,
            Picture(arrival_us=time_us, shown_us=None, width=width, height=height, data=data),
        )

    async def _end(
        self, source: asyncio.Task[None], giving: Sequence[asyncio.Task[None]], sink: FrameSink
    ) -> None:
        # What was captured up to now is given before the source's end takes the cameras from the stage.
        await _stop(giving)
        await self._give_last()
        await _stop([source])
        self._thread.shutdown(wait=False, cancel_futures=True)
        sink.track_ended(PICTURE.track_id)
        sink.track_ended(SOUND.track_id)
        if self._left_out or self._sound.late_s:
            _log.warning(
                "too slow or too late for the mix: %d pictures and %.2f s of sound are left out",
                self._left_out,
                self._sound.late_s,
            )

    async def _give_last(self) -> None:
        """Give what is captured and not given yet, without waiting for anybody."""
        self._hand_over_sound(is_last=True)
        if self._picture is None or self._first_us is None:
            return
        now_us = self._clock.monotonic_us()
        try:
            async with asyncio.timeout(_LAST_S):
                while self._time_of(self._drawn) <= now_us:
                    await self._draw_next()
        except TimeoutError:
            _log.warning("the last pictures of the composite were not drawn within %g s", _LAST_S)

    def _time_of(self, number: int) -> int:
        assert self._first_us is not None
        return self._first_us + round(number * self._interval_us)


async def _stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _uninterrupted(cleanup: Coroutine[Any, Any, None]) -> None:
    """Do what has to be done also when cancelled meanwhile; all of it has its own deadlines."""
    task = asyncio.create_task(cleanup)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
