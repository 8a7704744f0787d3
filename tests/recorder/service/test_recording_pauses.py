"""A recording that is paused: what is stored, what the manifest declares, and who takes it over."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from recorder.core.states import RecordingState
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from tests.fakes.encoders import FakeEncoders
from tests.fakes.tracks import QuickTracks
from tests.recorder.service.test_recording import RECORDING, Bench, wait_until


class Stage:
    """One attempt and its room, of which the test decides when it is paused."""

    def __init__(self, bench: Bench, number: int = 1, **plan: Any) -> None:
        self.bench = bench
        self.room = QuickTracks(bench.clock, seconds=6)
        self.recording = Recording(
            RecordingPlan(recording_id=RECORDING, session_id="session-1", attempt=number, **plan),
            archive=bench.archive,
            encoders=FakeEncoders(),
            clock=bench.clock,
            reporter=bench.reporter,
        )
        self.began_us = bench.clock.us
        self.capturing = asyncio.create_task(self.recording.capture(self.room))

    async def until_s(self, seconds: float) -> None:
        """Wait until so much of the room was played."""
        await wait_until(lambda: self.bench.clock.us - self.began_us >= seconds * 1_000_000)

    async def cut(self) -> None:
        self.recording.cut()
        await self.capturing


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def spans(bench: Bench) -> list[tuple[str, float]]:
    """The declared gaps: why, and how long in seconds."""
    return [(gap.reason, (gap.end_us - gap.start_us) / 1_000_000) for gap in bench.manifest().gaps]


async def test_a_pause_is_declared_reported_and_not_stored(bench: Bench) -> None:
    stage = Stage(bench)
    await stage.until_s(2)
    stage.recording.pause(op=1)
    assert stage.recording.state is RecordingState.PAUSED
    await stage.until_s(4)
    stage.recording.resume(op=2)
    await stage.room.played.wait()
    await stage.cut()
    await stage.recording.complete()
    assert bench.reporter.states == [
        "recording", "paused", "recording", "stopping", "stopped", "processing", "completed",
    ]  # fmt: skip
    assert bench.reporter.standings[-1].op == 2
    (reason, seconds), *others = spans(bench)
    assert (reason, others) == ("paused", [])
    assert seconds == pytest.approx(2.0, abs=0.1)
    manifest = bench.manifest()
    (gap,) = manifest.gaps
    assert manifest.cut_marks_us[0] == gap.start_us
    assert len(manifest.cut_marks_us) == 2  # the pause and the stop
    for track in manifest.tracks:
        assert [run.run for run in track.runs] == [0, 1]
        (hole,) = track.gaps
        assert hole.start_us <= gap.start_us + 40_000  # nothing from the mark on: the last picture stands
        assert gap.end_us - 20_000 <= hole.end_us <= gap.end_us + 120_000  # a picture comes every 100 ms here
    stats = bench.reporter.standings[-1].stats
    assert stats["paused_s"] == pytest.approx(2.0, abs=0.1)
    assert stats["duration_s"] == pytest.approx(4.0, abs=0.2)
    assert stats["gaps"] == 0
    assert bench.verify().status == "complete"


async def test_pausing_and_going_on_twice_changes_nothing(bench: Bench) -> None:
    stage = Stage(bench)
    await stage.until_s(1)
    for op, act in enumerate((stage.recording.pause, stage.recording.pause), start=1):
        act(op=op)
    await stage.until_s(2)
    for op, act in enumerate((stage.recording.resume, stage.recording.resume), start=3):
        act(op=op)
    await stage.until_s(3)
    await stage.cut()
    await stage.recording.complete()
    assert [reason for reason, _ in spans(bench)] == ["paused"]


async def test_a_stop_during_a_pause_ends_it(bench: Bench) -> None:
    stage = Stage(bench)
    await stage.until_s(1)
    stage.recording.pause()
    await stage.until_s(2)
    await stage.cut()
    await stage.recording.complete()
    assert stage.recording.state is RecordingState.COMPLETED
    ((reason, seconds),) = spans(bench)
    assert reason == "paused"
    assert seconds == pytest.approx(1.0, abs=0.1)


async def test_a_keyframe_is_wanted_when_it_goes_on(bench: Bench) -> None:
    stage = Stage(bench)
    asked: list[int] = []
    stage.room.want_keyframes = lambda: asked.append(bench.clock.us)  # type: ignore[method-assign]
    await stage.until_s(1)
    stage.recording.pause()
    assert not asked
    stage.recording.resume()
    assert len(asked) == 1
    await stage.cut()


async def test_a_paused_recording_that_was_killed_is_taken_over_paused_and_goes_on(bench: Bench) -> None:
    killed = Stage(bench)
    await killed.until_s(2)
    killed.recording.pause(op=1)
    await wait_until(lambda: bench.reporter.states[-1] == "paused")
    await killed.cut()  # and nothing of it is completed
    told = bench.reporter.standings[-1].pauses
    bench.clock.advance(3.0)
    heir = Stage(bench, 2, is_paused=True, op=1, pauses=told)
    await heir.until_s(2)
    assert heir.recording.state is RecordingState.PAUSED
    heir.recording.resume(op=2)
    await heir.until_s(4)
    await heir.cut()
    await heir.recording.complete()
    manifest = bench.manifest()
    paused = [gap for gap in manifest.gaps if gap.reason == "paused"]
    assert [(gap.end_us - gap.start_us) / 1_000_000 for gap in paused] == [pytest.approx(5.0, abs=0.3)]
    assert manifest.cut_marks_us[0] == paused[0].start_us
    second = [track for track in manifest.tracks if track.attempt == 2]
    assert min(track.start_us for track in second) >= paused[0].end_us - 20_000


async def test_a_paused_recording_that_is_handed_over_says_that_its_pause_goes_on(bench: Bench) -> None:
    stage = Stage(bench)
    await stage.until_s(1)
    stage.recording.pause(op=1)
    await stage.until_s(2)
    await stage.cut()
    await stage.recording.hand_over()
    (pause,) = bench.reporter.standings[-1].pauses
    assert "end_us" not in pause


async def test_an_open_pause_of_a_dead_attempt_is_a_cut_mark_when_nobody_went_on(bench: Bench) -> None:
    killed = Stage(bench)
    await killed.until_s(2)
    killed.recording.pause(op=1)
    await wait_until(lambda: bench.reporter.states[-1] == "paused")
    await killed.cut()
    await wait_until(lambda: any("checkpoint" in name for name in bench.store.recordings[RECORDING]))
    told = bench.reporter.standings[-1].pauses
    completer = Recording(
        RecordingPlan(recording_id=RECORDING, session_id="session-1", attempt=2, op=1, pauses=told),
        archive=bench.archive,
        encoders=FakeEncoders(),
        clock=bench.clock,
        reporter=bench.reporter,
    )
    await completer.complete()
    assert completer.state is RecordingState.COMPLETED
    assert bench.manifest().gaps == []
    assert told[0]["start_us"] - bench.manifest().media_start_us in bench.manifest().cut_marks_us


async def test_one_that_was_resumed_while_nobody_was_there_is_recorded_from_the_start(bench: Bench) -> None:
    earlier = [{"start_us": bench.clock.wall_us() - 2_000_000, "reason": "paused"}]
    stage = Stage(bench, 2, op=2, pauses=earlier)
    await stage.until_s(1)
    assert stage.recording.state is RecordingState.RECORDING
    await stage.cut()
    await stage.recording.complete()
    ((reason, seconds),) = spans(bench)
    assert reason == "paused"
    assert seconds == pytest.approx(2.0, abs=0.1)
