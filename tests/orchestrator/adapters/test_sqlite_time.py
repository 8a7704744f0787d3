"""Where the SQLite store's time begins: after what is in the file, and loudly when the clock is behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from orchestrator.adapters.sqlite_commits import commit_changes, prepare_change
from orchestrator.adapters.sqlite_rows import append_events, to_ticks
from orchestrator.adapters.sqlite_schema import connect, prepare
from orchestrator.adapters.sqlite_time import begin_time
from orchestrator.core.ids import InstanceId
from tests.contracts.session_changes import first_change
from tests.fakes.clock import START, FakeClock

HOUR = timedelta(hours=1)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[apsw.Connection]:
    connection = connect(tmp_path / "store.db", is_writer=True)
    prepare(connection, tmp_path / "store.db", FakeClock())
    yield connection
    connection.close()


def begun(database: apsw.Connection, clock: FakeClock) -> datetime:
    """Give when the store's time begins."""
    return clock.now() + begin_time(database, clock)


def another_boot(wall: datetime = START) -> FakeClock:
    """Give the clock of a machine that has just been started."""
    clock = FakeClock(wall)
    clock.boot = f"boot at {wall}"
    return clock


def test_after_a_boot_it_begins_at_the_last_event(database: apsw.Connection) -> None:
    append_events(database.cursor(), [(None, 0, "error", b"{}")], now=to_ticks(START + HOUR))
    assert begun(database, another_boot()) == START + HOUR


def test_after_a_boot_it_begins_at_the_last_commit_of_an_open_session(database: apsw.Connection) -> None:
    change = first_change()
    silent = replace(
        change, session=replace(change.session, updated_at=START + HOUR, events=0), events=(), commands=()
    )
    written = [prepare_change(silent)]
    commit_changes(database.cursor(), written, owner=InstanceId("me"), now=to_ticks(START), lease=1)
    assert begun(database, another_boot()) == START + HOUR


def test_without_an_uptime_it_begins_at_what_was_written(database: apsw.Connection) -> None:
    clock = another_boot()
    clock.boot = ""
    append_events(database.cursor(), [(None, 0, "error", b"{}")], now=to_ticks(START + HOUR))
    assert begun(database, clock) == START + HOUR


def test_what_another_boot_noted_says_nothing(database: apsw.Connection) -> None:
    late = another_boot(START + HOUR)
    assert begun(database, late) == START + HOUR
    assert begun(database, another_boot()) == START


def test_a_clock_that_is_behind_is_told_with_the_seconds(database: apsw.Connection) -> None:
    clock = FakeClock()
    begin_time(database, clock)
    clock.wall -= timedelta(seconds=0.5)
    with capture_logs() as quiet:
        begin_time(database, clock)
    clock.wall -= HOUR
    with capture_logs() as loud:
        begin_time(database, clock)
    assert quiet == []
    assert [(line["event"], line["seconds"]) for line in loud] == [("store_time_ahead_of_clock", 3600.5)]


def test_a_full_disk_keeps_nobody_from_starting(database: apsw.Connection) -> None:
    append_events(database.cursor(), [(None, 0, "error", b"{}")], now=to_ticks(START + HOUR))
    database.pragma("max_page_count", 1)  # SQLite takes it for as many as there are
    clock = another_boot()
    clock.boot = "needs more pages" * 1000
    with capture_logs() as lines:
        assert begun(database, clock) == START + HOUR
    assert lines[0]["event"] == "store_time_not_noted"
