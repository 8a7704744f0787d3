"""One attempt from opening to verified, and what happens when the store, the machine or the job gives way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.core.errors import E2eeKeyMissingError, StaleAttemptError
from recorder.core.states import RecordingState
from recorder.ports import FrameSink
from recorder.service.archive import Archive
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.encoders import FakeEncoders
from tests.fakes.media_clock import FakeMediaClock
from tests.fakes.reporter import FakeReporter
from tests.fakes.tracks import QuickTracks
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.core.manifest import Manifest, decode_manifest
from vault.errors import StoreFullError
from vault.verification import check_recording
from vault.verification_report import VerificationReport

RECORDING = RecordingId("11111111-2222-4333-8444-555555555555")


class Bench:
    """A store, keys and an orchestrator for attempts of one recording."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryChunkStore()
        self.keys = KeyFiles.create_or_open(folder / "keys")
        self.archive = Archive(self.store, self.keys, "memory")
        self.clock = FakeMediaClock()
        self.reporter = FakeReporter()
        self.room = QuickTracks(self.clock)

    def attempt(self, number: int) -> Recording:
        return Recording(
            RecordingPlan(recording_id=RECORDING, session_id="session-1", attempt=number),
            archive=self.archive,
            encoders=FakeEncoders(),
            clock=self.clock,
            reporter=self.reporter,
        )

    async def play(self, recording: Recording, *, op: int = 0) -> None:
        """Capture what the room plays, then make the cut mark."""
        self.room = QuickTracks(self.clock)
        capturing = asyncio.create_task(recording.capture(self.room))
        await self.room.played.wait()
        recording.cut(op=op)
        await capturing

    def verify(self) -> VerificationReport:
        files = self.store.files(RECORDING)
        return check_recording(files, self.keys.public_key, recording_id=RECORDING).report

    def manifest(self) -> Manifest:
        data = self.store.files(RECORDING).read("manifest", max_bytes=1 << 20)
        return decode_manifest(data, recording_id=RECORDING, public_key=self.keys.public_key)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_a_recording_goes_from_capture_to_verified(bench: Bench) -> None:
    recording = bench.attempt(1)
    await bench.play(recording, op=4)
    await recording.complete()
    assert bench.reporter.states == ["recording", "stopping", "stopped", "processing", "completed"]
    report = bench.verify()
    assert report.status == "complete"
    last = bench.reporter.standings[-1]
    assert (last.op, last.tree_size, last.root) == (4, report.attempts[0].size, report.attempts[0].root)
    assert last.checkpoint.startswith(f"greenroom/recording/{RECORDING}/1\n{last.tree_size}\n")
    assert last.stats["video_frames"] == 30
    assert last.stats["audio_s"] == pytest.approx(3.0)
    closes = [close for standing in bench.reporter.standings for close in standing.closes]
    assert closes == [{"attempt": 1, "tree_size": last.tree_size, "root": last.root}]
    manifest = bench.manifest()
    assert (manifest.session, manifest.capture, len(manifest.cut_marks_us)) == ("session-1", "decoded", 1)


async def test_completing_twice_changes_nothing(bench: Bench) -> None:
    recording = bench.attempt(1)
    await bench.play(recording)
    await recording.complete()
    count = len(bench.reporter.standings)
    await recording.complete()
    assert len(bench.reporter.standings) == count


async def test_a_recording_of_which_nothing_is_stored_cannot_be_completed(bench: Bench) -> None:
    recording = bench.attempt(1)
    recording.cut()
    await recording.complete()
    assert recording.state is RecordingState.FAILED
    assert "has no attempt to complete" in recording.detail


async def test_an_empty_attempt_completes(bench: Bench) -> None:
    recording = bench.attempt(1)
    bench.room = QuickTracks(bench.clock, seconds=0)
    capturing = asyncio.create_task(recording.capture(bench.room))
    await bench.room.played.wait()
    recording.cut()
    await capturing
    await recording.complete()
    assert recording.state is RecordingState.COMPLETED


async def test_an_attempt_that_is_handed_over_is_closed_and_the_next_one_completes_both(bench: Bench) -> None:
    first = bench.attempt(1)
    await bench.play(first)
    await first.hand_over()
    assert bench.verify().status == "incomplete"
    assert bench.reporter.states == ["recording"]  # it goes on, with another attempt
    bench.clock.advance(4.0)
    second = bench.attempt(2)
    await bench.play(second)
    await second.complete()
    assert second.state is RecordingState.COMPLETED
    assert [attempt.attempt for attempt in bench.manifest().attempts] == [1, 2]
    assert any(gap.reason == "takeover" for gap in bench.manifest().gaps)
    closes = [close["attempt"] for standing in bench.reporter.standings for close in standing.closes]
    assert closes == [1, 1, 2]  # once by itself, once as its successor found it: the first one holds


async def test_a_killed_attempt_is_completed_without_a_room(bench: Bench) -> None:
    killed = bench.attempt(1)
    await bench.play(killed)
    await wait_until(lambda: len(bench.store.recordings[RECORDING]) >= 9)
    completer = bench.attempt(2)
    await completer.complete()
    assert completer.state is RecordingState.COMPLETED
    report = bench.verify()
    assert report.status == "complete"
    assert [attempt.closed for attempt in report.attempts] == ["recovered"]
    closes = [close for standing in bench.reporter.standings[-4:] for close in standing.closes]
    assert [(close["attempt"], close["tree_size"]) for close in closes] == [(1, report.attempts[0].size)]


async def test_a_recorder_killed_after_its_manifest_is_found_complete(bench: Bench) -> None:
    first = bench.attempt(1)
    await bench.play(first)
    await first.complete()
    again = bench.attempt(2)
    await again.capture(QuickTracks(bench.clock))
    await again.complete()
    assert again.state is RecordingState.COMPLETED
    assert [attempt.attempt for attempt in bench.manifest().attempts] == [1]


async def test_a_full_store_fails_the_recording_with_a_sentence_and_what_is_stored_verifies(
    bench: Bench,
) -> None:
    recording = bench.attempt(1)
    room = QuickTracks(bench.clock, seconds=5)
    capturing = asyncio.create_task(recording.capture(room))
    await wait_until(lambda: "1/chunk-0000000003" in bench.store.recordings.get(RECORDING, {}))

    def full(_: str) -> None:
        raise StoreFullError("no space left for /data")

    bench.store.before_put = full
    await capturing  # ends by itself
    await recording.complete()
    assert recording.state is RecordingState.FAILED
    assert "no space left for /data" in bench.reporter.standings[-1].detail
    assert bench.verify().status == "incomplete", "not even the reserve could be used"


async def test_a_store_that_takes_nothing_from_the_start_fails_at_once(bench: Bench) -> None:
    def full(_: str) -> None:
        raise StoreFullError("no space left for /data")

    bench.store.before_put = full
    recording = bench.attempt(1)
    await recording.capture(bench.room)
    assert bench.reporter.states == ["failed"]
    assert "could not be opened, because no space left" in recording.detail


async def test_what_does_not_verify_is_never_called_complete(bench: Bench) -> None:
    recording = bench.attempt(1)
    await bench.play(recording)

    def tamper(name: str) -> None:
        if name == "manifest":
            stored = bench.store.recordings[RECORDING]
            stored["1/chunk-0000000001"] = stored["1/chunk-0000000001"][:-1] + b"?"

    bench.store.before_put = tamper
    await recording.complete()
    assert recording.state is RecordingState.FAILED
    assert "1/chunk-0000000001" in recording.detail


async def test_a_stale_attempt_stops_and_stores_nothing_more(bench: Bench) -> None:
    recording = bench.attempt(1)
    bench.reporter.is_stale = True
    with pytest.raises(StaleAttemptError):
        await recording.capture(QuickTracks(bench.clock))
    await recording.abort()
    await asyncio.sleep(0.3)
    before = dict(bench.store.recordings[RECORDING])
    await asyncio.sleep(0.3)
    assert bench.store.recordings[RECORDING] == before
    assert "manifest" not in before


async def test_an_attempt_that_was_frozen_removes_what_it_stored_after_its_recording_was_complete(
    bench: Bench,
) -> None:
    frozen = bench.attempt(1)
    await bench.play(frozen)
    other = bench.attempt(2)
    await bench.play(other)
    await other.complete()
    whole = dict(bench.store.recordings[RECORDING])
    await frozen.hand_over()  # it wakes and stores what it still holds
    assert bench.verify().ignored
    await frozen.abort()  # and learns that it was replaced
    assert bench.store.recordings[RECORDING] == whole
    assert (bench.verify().exit_code, bench.verify().ignored) == (0, ())


async def test_a_source_that_breaks_is_an_error_and_what_came_is_stored(bench: Bench) -> None:
    recording = bench.attempt(1)
    room = QuickTracks(bench.clock)
    room.fail = RuntimeError("the media SDK broke")
    with pytest.raises(RuntimeError, match="media SDK"):
        await recording.capture(room)
    await recording.hand_over()
    assert sum(track.recorded_s for track in bench.verify().tracks) == pytest.approx(6.0, abs=0.2)


async def test_without_the_key_of_an_encrypted_room_it_fails_and_what_came_is_complete(bench: Bench) -> None:
    recording = bench.attempt(1)
    bench.room.fail = E2eeKeyMissingError("e2ee_key_missing: track TR_1 is end-to-end encrypted")
    await recording.capture(bench.room)
    await recording.complete()
    assert recording.state is RecordingState.FAILED
    assert bench.reporter.standings[-1].detail == "e2ee_key_missing: track TR_1 is end-to-end encrypted"
    assert any(standing.closes for standing in bench.reporter.standings)
    report = bench.verify()
    assert (report.exit_code, report.first_bad) == (0, None)  # what came in clear
    assert report.attempts[0].size > 0


@pytest.mark.parametrize(("opens", "ends"), [([False], "failed"), ([False, True], "completed")])
async def test_a_key_that_opens_nothing_is_said_and_what_came_in_clear_is_complete(
    bench: Bench, opens: list[bool], ends: str
) -> None:
    class Locked(QuickTracks):
        async def capture(self, sink: FrameSink) -> None:
            for is_opened in opens:
                sink.opened("bob", is_opened=is_opened)
            await super().capture(sink)

    recording, room = bench.attempt(1), Locked(bench.clock)
    capturing = asyncio.create_task(recording.capture(room))
    await room.played.wait()
    recording.cut()
    await capturing
    await recording.complete()
    last = bench.reporter.standings[-1]
    assert last.state.value == ends
    assert last.detail.startswith("e2ee_key_wrong: ") == (ends == "failed")
    assert last.stats["participants_unopened"] == len(opens) % 2
    assert bench.verify().exit_code == 0


async def test_cancelling_a_capture_cuts_it(bench: Bench) -> None:
    recording = bench.attempt(1)
    room = QuickTracks(bench.clock)
    capturing = asyncio.create_task(recording.capture(room))
    await room.played.wait()
    capturing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await capturing
    await recording.complete()
    assert recording.state is RecordingState.COMPLETED
