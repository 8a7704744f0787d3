"""The system's clock: aware, growing, and unmoved by a step of the machine's wall clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from orchestrator.adapters import system
from orchestrator.adapters.system import SystemClock


def test_wall_time_is_now_in_utc() -> None:
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=1)


def test_wall_time_follows_the_monotonic_clock_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    before, seconds = clock.now(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: seconds + 60)
    monkeypatch.setattr(time, "time", lambda: 0.0)  # the machine's clock was set back to 1970
    assert timedelta(seconds=59) < clock.now() - before < timedelta(seconds=61)
    assert clock.monotonic() == seconds + 60


def test_ids_and_chance() -> None:
    clock = SystemClock()
    ids = {clock.new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(UUID(value).version == 4 for value in ids)
    assert all(0 <= clock.random() < 1 for _ in range(100))


def test_the_machine_runs_as_long_as_linux_says() -> None:
    first, second = SystemClock().uptime(), SystemClock().uptime()
    assert first is not None
    assert second is not None
    assert first.boot == second.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert 0 < first.seconds < second.seconds < time.clock_gettime(time.CLOCK_BOOTTIME)


def test_where_nothing_tells_how_long_the_machine_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_BOOT_ID", Path("/nowhere"))
    assert SystemClock().uptime() is None
