"""The recorder as a worker: each job is one attempt of one recording.

Source: contracts §7 (`assign.recording`, `control`, `leave`), architecture §4 (ending).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

from recorder.core.errors import RemovedFromRoomError, StaleAttemptError
from recorder.core.states import RecordingState
from recorder.ports import Clock, Encoders, Reporter, TrackSource
from recorder.service.archive import Archive
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan, committed_closes
from sdk.hooks import WorkerHandler
from sdk.job import EndReason, Job
from sdk.wire import Control

# Ends after which another attempt goes on with the recording, so that it must not be completed here.
_HANDED_OVER: Final[frozenset[EndReason]] = frozenset({"drained", "failed", "removed"})

_log = logging.getLogger("greenroom.recorder")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderParts:
    """What recordings are made with; chosen in wiring.py.

    Attributes:
        encoders: by the quality and format that the task asks for.
    """

    archive: Archive
    clock: Clock
    encoders: Callable[[str, str], Encoders]
    tracks: Callable[[Job], TrackSource]
    reporter: Callable[[Job], Reporter]


class RecorderHandler(WorkerHandler):
    """Carries out recording jobs.

    A capture ends by `control stop`, by `leave`, or because the room is gone; then the recording is completed
    and the job is done. When this worker goes away first, the attempt is closed and another goes on.
    """

    def __init__(self, parts: RecorderParts) -> None:
        self._parts = parts
        self._recordings: dict[tuple[str, int], Recording] = {}
        self._endings: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._early: dict[tuple[str, int], Control] = {}  # the last one before the recording was made

    async def join_room(self, job: Job) -> None:
        """Capture the room until the cut mark, then complete; or complete what others left."""
        task = job.recording
        if task is None:
            await job.fail("this recorder got a job without a recording")
            return
        recording = Recording(
            RecordingPlan(
                recording_id=task.recording_id,
                session_id=job.session_id,
                attempt=job.attempt,
                keyframe_interval_s=task.keyframe_interval_s,
                mode="passthrough" if task.mode == "passthrough" else "decoded",
                is_paused=task.paused,
                op=task.op,
                pauses=task.gaps,
                closes=committed_closes(task.closes),
            ),
            archive=self._parts.archive,
            encoders=self._parts.encoders(task.quality, task.format),
            clock=self._parts.clock,
            reporter=self._parts.reporter(job),
        )
        self._recordings[_key(job)] = recording
        if (early := self._early.pop(_key(job), None)) is not None:
            _carry_out(recording, early)
        if task.task == "capture":
            try:
                await recording.capture(self._parts.tracks(job))
            except StaleAttemptError:
                await recording.abort()
                return
            except RemovedFromRoomError as error:
                await job.fail(str(error))
                return
        if job.leaving.is_set() and job.end_reason in _HANDED_OVER:
            return  # leave_room closes the attempt
        await self._end(job, recording)
        await job.leave()

    async def leave_room(self, job: Job) -> None:
        """Stop the capture and put the recording away, as the way of ending asks for."""
        recording = self._recordings.get(_key(job))
        try:
            if recording is None:
                return
            if job.is_stale:
                await recording.abort()
            else:
                recording.cut()
                await self._end(job, recording)
        finally:
            self._recordings.pop(_key(job), None)
            self._endings.pop(_key(job), None)
            self._early.pop(_key(job), None)

    async def control(self, job: Job, control: Control) -> None:
        """Make the cut mark, or pause and go on."""
        recording = self._recordings.get(_key(job))
        if recording is not None:
            _carry_out(recording, control)
        elif not job.leaving.is_set():
            self._early[_key(job)] = control

    async def _end(self, job: Job, recording: Recording) -> None:
        """End a recording once, whoever asks first; it goes on when the one who waits is cancelled."""
        ending = self._endings.get(_key(job))
        if ending is None:
            is_handed_over = job.end_reason in _HANDED_OVER
            ending = asyncio.create_task(recording.hand_over() if is_handed_over else recording.complete())
            self._endings[_key(job)] = ending
        try:
            await asyncio.shield(ending)
        except StaleAttemptError:
            await recording.abort()
        except asyncio.CancelledError:
            if job.is_stale:
                ending.cancel()
            raise
        if recording.state is RecordingState.FAILED:
            _log.error("recording of session %s failed: %s", job.session_id, recording.detail)


def _carry_out(recording: Recording, control: Control) -> None:
    match control.op:
        case "pause":
            recording.pause(op=control.n)
        case "resume":
            recording.resume(op=control.n)
        case "stop":
            recording.cut(op=control.n)
        case _:
            assert_never(control.op)


def _key(job: Job) -> tuple[str, int]:
    return job.job_id, job.attempt
