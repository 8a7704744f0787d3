"""The SQLite store's time: no start begins it before what the file knows, whatever the machine's clock shows.

A clock that was set back between two starts would make every armed deadline late by the step (decision 0014).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import apsw
import structlog

from orchestrator.adapters.session_json import updated_at_of
from orchestrator.adapters.sqlite_rows import to_ticks
from orchestrator.ports import Clock

LOUD_S: Final = 1.0  # less is how clocks are kept right

log = structlog.get_logger(__name__)


def begin_time(database: apsw.Connection, clock: Clock) -> timedelta:
    """Give how far the store's time is ahead of the clock in this life, and note it for the next.

    It begins at the latest of: the clock; the newest event or commit of an open session; and, while the
    machine itself was not started anew, the time of the life before plus what has passed since.
    """
    now, up = to_ticks(clock.now()), clock.uptime()
    begins = max(now, *_written(database))
    if up is not None:
        up_ticks = round(up.seconds * 1e6)
        noted: dict[str, str] = dict(database.execute("SELECT name, value FROM meta WHERE name = 'time'"))
        boot, _, base = noted.get("time", "").partition(" ")
        if boot == up.boot:
            begins = max(begins, int(base) + up_ticks)
        _note(database, f"{up.boot} {begins - up_ticks}")
    ahead = timedelta(microseconds=begins - now)
    if ahead.total_seconds() > LOUD_S:
        log.warning("store_time_ahead_of_clock", seconds=round(ahead.total_seconds(), 3))
    return ahead


def _written(database: apsw.Connection) -> list[int]:
    """Give the last moments that the file knows of."""
    records = database.execute("SELECT record FROM sessions WHERE is_open = 1")
    moments = [to_ticks(updated_at_of(record)) for (record,) in records]
    events = database.execute("SELECT at FROM events ORDER BY seq DESC LIMIT 1")
    return [0, *moments, *(int(at) for (at,) in events)]


def _note(database: apsw.Connection, value: str) -> None:
    try:
        database.execute("INSERT OR REPLACE INTO meta VALUES ('time', ?)", (value,))
    except apsw.FullError:
        log.warning(
            "store_time_not_noted"
        )  # the note before it stands; a full disk refuses commits, not starts
