"""A store that becomes full: the attempt is closed in the space that was kept aside, and is complete."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from recorder.core.states import RecordingState
from recorder.service import reserve
from tests.fakes.tracks import QuickTracks
from tests.recorder.service.test_recording import RECORDING, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def record_until_full(bench: Bench, left_bytes: int) -> RecordingState:
    """Record into a store that has so much left beside the reserve; the capture ends by itself.

    The last of it is taken by somebody else, as on any disk.
    """
    others: list[int] = []

    def take_the_rest(_: str) -> None:
        if bench.store.free_bytes < 4_500 and not others:
            others.append(bench.store.free_bytes)
            bench.store.free_bytes = 0

    bench.store.before_put = take_the_rest
    bench.store.free_bytes = left_bytes + reserve.CHUNKS_BYTES + reserve.CLOSING_BYTES
    recording = bench.attempt(1)
    async with asyncio.timeout(20):
        await recording.capture(QuickTracks(bench.clock, seconds=60))
        await recording.complete()
    return recording.state


async def test_what_is_stored_is_complete_and_the_recording_says_why_it_stopped(bench: Bench) -> None:
    assert await record_until_full(bench, 6_000) is RecordingState.FAILED
    last = bench.reporter.standings[-1]
    assert last.detail == "recording stopped, because no space left in memory"
    report = bench.verify()
    assert (report.exit_code, report.status) == (0, "complete")
    (attempt,) = bench.manifest().attempts
    assert attempt.closed == "own"
    assert attempt.size == len([name for name in bench.store.recordings[RECORDING] if "chunk" in name])
    assert "stopped" in bench.reporter.states, "the manifest was stored before it was called failed"
    held = reserve.CHUNKS_BYTES + reserve.CLOSING_BYTES
    assert 0 < bench.store.free_bytes < held, "the reserve was used"


async def test_when_not_even_what_is_sealed_fits_it_is_closed_where_the_store_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserve, "CHUNKS_BYTES", 0)
    assert await record_until_full(bench, 6_000) is RecordingState.FAILED
    assert bench.verify().exit_code == 0
    (attempt,) = bench.manifest().attempts
    assert attempt.closed == "recovered"
    closes = [close for standing in bench.reporter.standings for close in standing.closes]
    assert closes == [{"attempt": 1, "tree_size": attempt.size, "root": attempt.root}]


async def test_without_a_reserve_it_cannot_be_closed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "CHUNKS_BYTES", 0)
    monkeypatch.setattr(reserve, "CLOSING_BYTES", 0)
    assert await record_until_full(bench, 6_000) is RecordingState.FAILED
    assert (bench.verify().exit_code, bench.verify().status) == (3, "incomplete")


async def test_a_store_without_room_for_the_reserve_is_not_begun_with(bench: Bench) -> None:
    bench.store.free_bytes = reserve.CHUNKS_BYTES
    recording = bench.attempt(1)
    await recording.capture(bench.room)
    assert recording.state is RecordingState.FAILED
    assert "could not be opened, because fewer than 1048576 bytes are left" in recording.detail
    assert bench.store.free_bytes == reserve.CHUNKS_BYTES
    assert bench.store.recordings == {}
