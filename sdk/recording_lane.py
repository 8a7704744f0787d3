"""A recorder's reports of one job: numbered, one under way at a time, repeated until acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from sdk.errors import JobEndedError, UnavailableError
from sdk.wire import RecordingReport

MAX_WAITING: Final = 32  # reports behind the one under way; beyond, a newer one replaces the last
REPEAT_S: Final = 5.0  # an unacknowledged report is sent again on the same connection


@dataclass(slots=True)
class _Entry:
    report: RecordingReport
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class RecordingLane:
    """Delivers recording reports in order. Use it in one loop only.

    A report that waits behind another may be replaced by a newer one of the same state: it says where the
    recording stands, so only the newest counts. Its `closes` are carried over, because a close is said once.
    """

    def __init__(self, send: Callable[[RecordingReport], None], *, repeat_s: float = REPEAT_S) -> None:
        """Make a lane.

        Args:
            send: hands a frame to the connection; a frame that gets lost there is sent again by `resend`.
            repeat_s: seconds after which a report without an answer is sent again.
        """
        self._send = send
        self._repeat_s = repeat_s
        self._last_n = 0
        self._under_way: _Entry | None = None
        self._waiting: deque[_Entry] = deque()
        self._error: JobEndedError | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def deliver(self, report: RecordingReport, *, timeout_s: float) -> None:
        """Send a report and wait until it, or a newer one that replaced it, is acknowledged.

        Raises:
            UnavailableError: no acknowledgement in time; the report stays and is still delivered.
            JobEndedError: `close` was called, with this error.
        """
        if self._error is not None:
            raise self._error
        waiter = asyncio.get_running_loop().create_future()
        self._queue(report, waiter)
        if self._under_way is None:
            self._begin_next()
        try:
            async with asyncio.timeout(timeout_s):
                await waiter
        except TimeoutError:
            raise UnavailableError(
                f"the recording report was not acknowledged within {timeout_s:g} s"
            ) from None

    def acknowledge(self, n: int) -> None:
        """Take the orchestrator's `ack`; one that answers an older report is ignored."""
        if self._under_way is None or self._under_way.report.n != n:
            return
        for waiter in self._under_way.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._under_way = None
        self._stop_timer()
        if self._waiting:
            self._begin_next()

    def resend(self) -> None:
        """Send the report under way again, with its number; call it on every new connection."""
        if self._under_way is not None:
            self._post()

    def close(self, error: JobEndedError) -> None:
        """End the lane: whoever waits, and whoever comes later, gets this error."""
        if self._error is not None:
            return
        self._error = error
        entries = [*([self._under_way] if self._under_way else []), *self._waiting]
        self._under_way = None
        self._waiting.clear()
        self._stop_timer()
        for waiter in (waiter for entry in entries for waiter in entry.waiters):
            if not waiter.done():
                waiter.set_exception(error)

    def _queue(self, report: RecordingReport, waiter: asyncio.Future[None]) -> None:
        last = self._waiting[-1] if self._waiting else None
        if last is not None and (last.report.state == report.state or len(self._waiting) >= MAX_WAITING):
            carried = [close for close in last.report.closes if close not in report.closes]
            last.report = msgspec.structs.replace(report, closes=[*carried, *report.closes])
            last.waiters = [old for old in last.waiters if not old.done()] + [waiter]
        else:
            self._waiting.append(_Entry(report, [waiter]))

    def _begin_next(self) -> None:
        entry = self._waiting.popleft()
        self._last_n += 1
        entry.report = msgspec.structs.replace(entry.report, n=self._last_n)
        self._under_way = entry
        self._post()

    def _post(self) -> None:
        assert self._under_way is not None
        self._send(self._under_way.report)
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(self._repeat_s, self.resend)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
