"""One attempt of a recording, from opening it to the verified manifest; follows core/states.py.

Source: recording.md §3, architecture §4 (ending), contracts §7.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from recorder.core.errors import E2eeKeyMissingError, StaleAttemptError
from recorder.core.gap_count import GapCount
from recorder.core.pauses import Pauses
from recorder.core.states import CAPTURING, ENDED, RecordingState, Step, next_state
from recorder.ports import Clock, Encoders, Reporter, Standing, TrackSource
from recorder.service.archive import Archive
from recorder.service.captured_tracks import CapturedTracks
from recorder.service.earlier_attempts import EarlierAttempts
from recorder.service.insistence import insist
from recorder.service.recording_plan import RecordingPlan
from recorder.service.store_path import StorePath
from recorder.service.stored_statistics import stored_statistics
from recorder.service.track_capture import CaptureSetup
from vault.core.manifest import AttemptClose, CaptureMode
from vault.errors import StoreError, StoreFullError, VaultError

REPORT_EVERY_S: Final = 5.0
# How long a recording that is over waits for the store; less than the recorder may take for ending a job.
STORE_PATIENCE_S: Final = 1500.0
HAND_OVER_S: Final = 2.0  # of the five seconds that a recorder has at SIGTERM
_TICK_S: Final = 0.25

_T = TypeVar("_T")
_log = logging.getLogger("greenroom.recorder")


class Recording:
    """Records one room, or completes what earlier attempts left.

    Call `capture`, then one of `complete`, `hand_over` and `abort`; `cut` ends a capture from elsewhere.
    """

    def __init__(
        self, plan: RecordingPlan, *, archive: Archive, encoders: Encoders, clock: Clock, reporter: Reporter
    ) -> None:
        self._plan = plan
        self._archive = archive
        self._encoders = encoders
        self._clock = clock
        self._reporter = reporter
        self._state = RecordingState.STARTING
        self._detail = ""
        self._locked = ""  # why it fails once it is complete
        self._op = plan.op
        self._is_paused = plan.is_paused  # or is to be, once the attempt is open
        self._pauses = Pauses(plan.pauses)
        self._gaps: GapCount | None = None
        self._news = asyncio.Event()
        self._source: TrackSource | None = None
        self._cut = asyncio.Event()
        self._cut_us: int | None = None
        self._cut_marks_us: list[int] = []
        self._tracks: CapturedTracks | None = None
        self._path: StorePath | None = None
        self._own: AttemptClose | None = None
        self._unreported: list[AttemptClose] = []
        self._earlier = EarlierAttempts(
            archive, plan, within_s=STORE_PATIENCE_S, on_closed=lambda closes: self._unreported.extend(closes)
        )
        self._began_us = self._wall_start_us = 0
        self._ended_us: int | None = None
        self._is_sealed = False
        self._mode: CaptureMode = plan.mode

    @property
    def state(self) -> RecordingState:
        """Where it stands."""
        return self._state

    @property
    def detail(self) -> str:
        """Why it failed; empty when it did not."""
        return self._detail

    def cut(self, *, op: int = 0) -> None:
        """The cut mark: capture stops now. May be repeated; ``op`` is the control's number."""
        self._op = max(self._op, op)
        if not self._cut.is_set():
            self._cut_marks_us.append(self._clock.wall_us())
            self._cut_us = self._now_us() if self._path is not None else None
            self._cut.set()

    def pause(self, *, op: int = 0) -> None:
        """Store nothing of what comes from now on; again is no matter. ``op`` is the control's number."""
        self._op = max(self._op, op)
        self._is_paused = True
        if self._state is RecordingState.RECORDING and not self._cut.is_set():
            assert self._tracks is not None
            self._tracks.pause()
            self._pauses.begin(self._now_us())
            self._move(Step.PAUSED)
        self._news.set()

    def resume(self, *, op: int = 0) -> None:
        """Go on in the same attempt: sound at once, pictures with a keyframe, which is asked for."""
        self._op = max(self._op, op)
        self._is_paused = False
        if self._state is RecordingState.PAUSED and not self._cut.is_set():
            assert self._tracks is not None
            self._tracks.resume()
            self._pauses.end(self._now_us())
            if self._source is not None:
                self._source.want_keyframes()
            self._move(Step.RESUMED)
        self._news.set()

    async def capture(self, source: TrackSource) -> None:
        """Open the attempt and record until the cut mark, or until nothing more can be stored.

        Cancelling it cuts too. A recording that fails says so in `state` and has reported it.

        Raises:
            StaleAttemptError: another attempt holds the recording; call `abort`.
        """
        try:
            await self._open()
            if self._state is RecordingState.STARTING and not self._cut.is_set():
                self._move(Step.OPENED)  # reported beside the capture, which waits for nobody
                if self._is_paused:
                    self.pause()
                else:
                    self._pauses.end(self._now_us())  # resumed while nobody was there
                async with self._reporting():
                    await self._run_source(source)
        finally:
            self.cut()
            if self._tracks is not None:
                self._tracks.end()
            self._ended_us = self._ended_us or self._clock.monotonic_us()

    async def complete(self) -> None:
        """Seal what was captured, write the manifest, verify everything. May be repeated.

        A recording of which nothing was captured here (task `complete`) is completed from what earlier
        attempts left.
        """
        try:
            if self._state in CAPTURING:
                self.cut()
                if self._cut_us is not None:
                    self._pauses.end(self._cut_us)
                await self._advance(Step.CUT)
            if self._state is RecordingState.STOPPING:
                await self._seal()
            if self._state is RecordingState.STOPPING:
                await self._write_manifest()
                await self._advance(Step.MANIFEST_STORED)
            if self._state is RecordingState.STOPPED and (why := self._detail or self._locked):
                await self._fail(why)  # full store, no key: what there is is complete, and no more came
            if self._state is RecordingState.STOPPED:
                await self._advance(Step.VERIFYING)
            if self._state is RecordingState.PROCESSING:
                problem = await self._insist(partial(self._archive.verify, self._plan.recording_id))
                await (self._fail(problem) if problem else self._advance(Step.VERIFIED))
        except (VaultError, ValueError) as error:
            await self._fail(f"the recording could not be completed, because {error}")

    async def hand_over(self) -> None:
        """Store what was captured and close this attempt; another one goes on with the recording."""
        self.cut()
        try:
            await self._seal(within_s=HAND_OVER_S)
            await self._report()
        except VaultError as error:
            # What is acknowledged stays; the successor takes it from the listing.
            _log.warning("attempt %d was not closed: %s", self._plan.attempt, error)
        finally:
            await self._earlier.stop()

    async def abort(self) -> None:
        """Stop at once, store nothing more: another attempt holds the recording. Remove what came late."""
        self.cut()
        if self._path is not None:
            self._path.abort()
        if self._tracks is not None:
            self._tracks.end()
        await self._earlier.stop()
        if self._path is not None:
            # The put under way ends first.
            await asyncio.to_thread(partial(self._path.finish, within_s=HAND_OVER_S))
            await asyncio.to_thread(self._archive.remove_late, self._plan.recording_id)

    # --- opening ---

    async def _open(self) -> None:
        try:
            if await self._insist(
                partial(self._archive.is_complete, self._plan.recording_id), unless=self._cut
            ):
                self.cut()  # an earlier attempt was killed between its manifest and the report of it
                return
            reserve = await self._insist(self._archive.hold_reserve, unless=self._cut)
            self._wall_start_us, self._began_us = self._clock.wall_us(), self._clock.monotonic_us()
            writer = await asyncio.to_thread(
                self._archive.prepare_attempt,
                self._plan.recording_id,
                attempt=self._plan.attempt,
                wall_start_us=self._wall_start_us,
            )
            await self._insist(writer.begin, unless=self._cut)
        except VaultError as error:
            await self._fail(f"the recording could not be opened, because {error}")
            return
        loop = asyncio.get_running_loop()
        self._gaps = GapCount(self._pauses, epoch_us=self._wall_start_us)
        self._path = StorePath(
            writer,
            on_lost=lambda why: _call_soon(loop, self._lose, why),
            on_sealed=self._gaps.add,
            outbox=self._archive.outbox(writer),
            may_acknowledge=lambda: self._reporter.is_in_touch,
            reserve=reserve,
        )
        self._path.start()
        self._earlier.close()
        self._tracks = CapturedTracks(
            CaptureSetup(
                epoch_us=self._began_us,
                keyframe_interval_s=self._plan.keyframe_interval_s,
                encoders=self._encoders,
                clock=self._clock,
                submit=self._path.submit,
                offer=self._path.offer,
            )
        )

    # --- capturing ---

    async def _run_source(self, source: TrackSource) -> None:
        assert self._tracks is not None
        tracks, self._source = self._tracks, source
        capturing = asyncio.create_task(source.capture(tracks))
        cut = asyncio.create_task(self._cut.wait())
        ticking = asyncio.create_task(_tick(tracks, source))
        try:
            await asyncio.wait({capturing, cut, ticking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (cut, capturing, ticking):
                task.cancel()
            await asyncio.wait({capturing, cut, ticking})
            self._mode = source.mode
        if not ticking.cancelled() and (broken := ticking.exception()) is not None:
            raise broken
        if not capturing.cancelled() and (error := capturing.exception()) is not None:
            if not isinstance(error, E2eeKeyMissingError):
                raise error
            self._locked = str(error)
        self._locked = self._locked or tracks.locked_out
        if self._detail and not (self._path is not None and self._path.is_full):
            await self._fail(self._detail)

    def _lose(self, why: str) -> None:
        """The store takes no more: capture ends, and `_run_source` reports it."""
        self._detail = self._detail or why
        self.cut()

    @asynccontextmanager
    async def _reporting(self) -> AsyncIterator[None]:
        async def report_regularly() -> None:
            try:
                while True:
                    self._news.clear()
                    await self._report()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), REPORT_EVERY_S)
            except StaleAttemptError:
                stale.set()
                self.cut()

        stale = asyncio.Event()
        task = asyncio.create_task(report_regularly())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
        if stale.is_set():
            raise StaleAttemptError(f"another attempt than {self._plan.attempt} holds the recording")

    # --- ending ---

    async def _insist(self, act: Callable[[], _T], *, unless: asyncio.Event | None = None) -> _T:
        return await insist(act, within_s=STORE_PATIENCE_S, unless=unless)

    async def _seal(self, *, within_s: float = STORE_PATIENCE_S) -> None:
        """Store what is captured and close the attempt with a final chunk in each track."""
        if self._path is None or self._is_sealed:
            return
        path, tracks = self._path, self._tracks
        assert tracks is not None
        tracks.end()
        await asyncio.to_thread(tracks.join)
        is_stored = await asyncio.to_thread(path.finish, within_s=within_s)
        if self._detail and not path.is_full:
            await self._fail(self._detail)
            return
        if is_stored:
            with suppress(StoreFullError):  # then it is closed at what is stored, as a successor would
                self._own = await insist(path.close, within_s=within_s)
                self._unreported.append(self._own)
        elif not path.is_full:
            raise StoreError(f"it took no file for {within_s:g} s; what it lacks is in the spool")
        self._is_sealed = True

    async def _write_manifest(self) -> None:
        closes = [*await self._earlier.close(), *([self._own] if self._own is not None else [])]
        if self._path is not None and self._own is None:
            before = self._plan.attempt + 1
            closes = await self._insist(
                partial(self._archive.close_earlier, self._plan.recording_id, before=before)
            )
            self._unreported += [close for close in closes if close.attempt == self._plan.attempt]
        await self._insist(
            partial(
                self._archive.complete,
                self._plan.recording_id,
                session_id=self._plan.session_id,
                closes=closes,
                cut_marks_us=[*self._pauses.marks_us, *self._cut_marks_us],
                gaps=self._pauses.gaps(),
                capture=self._mode,
            )
        )

    def _now_us(self) -> int:
        """The attempt's clock as Unix time, which the manifest's places are on."""
        return self._wall_start_us + self._clock.monotonic_us() - self._began_us

    # --- telling ---

    def _move(self, step: Step) -> None:
        self._state = next_state(self._state, step)
        _log.info("recording %s is %s", self._plan.recording_id, self._state.value)

    async def _advance(self, step: Step) -> None:
        self._move(step)
        await self._report()

    async def _fail(self, why: str) -> None:
        if self._state not in ENDED:
            self._detail = why
            _log.error("recording %s failed: %s", self._plan.recording_id, why)
            await self._advance(Step.BROKEN)

    async def _report(self) -> None:
        closes, self._unreported = self._unreported, []
        checkpoint = None if self._path is None else self._path.acknowledged
        try:
            await self._reporter.report(
                Standing(
                    state=self._state,
                    tree_size=0 if checkpoint is None else checkpoint.head.size,
                    root="" if checkpoint is None else checkpoint.head.root.hex(),
                    checkpoint="" if checkpoint is None else checkpoint.note,
                    stats=self._stats(),
                    pauses=self._pauses.stated(),
                    closes=[{"attempt": c.attempt, "tree_size": c.size, "root": c.root} for c in closes],
                    op=self._op,
                    detail=self._detail,
                )
            )
        except asyncio.CancelledError:
            self._unreported = [*closes, *self._unreported]
            raise

    def _stats(self) -> dict[str, float]:
        stats = {} if self._tracks is None else self._tracks.stats()
        if self._path is not None:
            took_us = (self._ended_us or self._clock.monotonic_us()) - self._began_us
            began_us = self._wall_start_us
            paused_us = self._pauses.length_us(since_us=began_us, until_us=began_us + took_us)
            gaps = self._gaps.count if self._gaps is not None else 0
            stats |= stored_statistics(self._path, took_us=took_us, paused_us=paused_us, gaps=gaps)
        return stats


async def _tick(tracks: CapturedTracks, source: TrackSource) -> None:
    while True:
        await asyncio.sleep(_TICK_S)
        if tracks.tick():
            source.want_keyframes()


def _call_soon(loop: asyncio.AbstractEventLoop, act: Any, why: str) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(act, why)
