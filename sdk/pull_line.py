"""How a job of a pull worker speaks to the orchestrator: frames over the worker's one connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sdk.connection import Connection
from sdk.errors import JobEndedError, UnavailableError
from sdk.ports import Grant
from sdk.recording_lane import RecordingLane
from sdk.settings import WorkerSettings
from sdk.wire import HeldJob, RecordingReport, Report, ReportState, TokenRenewed, TokenWanted, WorkerFrame

ASK_AGAIN_S: Final = 5.0  # a wish for a token is repeated, and at once on a new connection


class PullLine:
    """A `JobLine` over the pull connection. Used in the jobs' loop."""

    def __init__(
        self,
        job: HeldJob,
        *,
        settings: WorkerSettings,
        connection: Connection,
        send: Callable[[WorkerFrame], None],
    ) -> None:
        self.job = job
        self.lane = RecordingLane(send)
        self.grant: Grant | None = None
        self._settings = settings
        self._connection = connection
        self._send = send
        self._renewal: asyncio.Future[Grant] | None = None
        self._error: JobEndedError | None = None

    @property
    def last_pong_age_s(self) -> float:
        """Seconds since the sending of the last answered heartbeat."""
        return self._connection.last_pong_age_s

    @property
    def is_in_touch(self) -> bool:
        """Whether the orchestrator hears this worker."""
        return self._connection.is_in_touch

    def report(self, state: ReportState, detail: str = "") -> None:
        """Send a report; the connection keeps it until it has arrived."""
        if self._error is None:
            self._send(Report(job_id=self.job.job_id, attempt=self.job.attempt, state=state, detail=detail))

    async def say_ready(self) -> None:
        """Report `ready`; kept until it has arrived, so this never has to be repeated."""
        self.report("ready")

    async def fresh_grant(self) -> Grant:
        """Ask for a new token; several who ask at the same time get the same one.

        Raises:
            UnavailableError: none came within `request_timeout`.
            JobEndedError: the job ended meanwhile.
        """
        if self._error is not None:
            raise self._error
        if self._renewal is None:
            self._renewal = asyncio.get_running_loop().create_future()
        renewal = self._renewal
        until = time.monotonic() + self._settings.request_timeout
        while (left_s := until - time.monotonic()) > 0:
            self._ask()
            done, _ = await asyncio.wait({renewal}, timeout=min(ASK_AGAIN_S, left_s))
            if done:
                return renewal.result()
        raise UnavailableError(f"no new token came within {self._settings.request_timeout:g} s")

    async def record(self, report: RecordingReport, *, timeout_s: float) -> None:
        """Deliver a recording report."""
        await self.lane.deliver(report, timeout_s=timeout_s)

    def renewed(self, frame: TokenRenewed) -> None:
        """Take the answer to a wish for a token."""
        if self.grant is None or self._renewal is None or self._renewal.done():
            return
        self.grant = Grant(
            livekit_url=self.grant.livekit_url,
            access_token=frame.access_token,
            expires_at=unix_time(frame.expires_at),
            second_token=frame.second_token,
        )
        self._renewal.set_result(self.grant)
        self._renewal = None

    def reconnected(self) -> None:
        """Say again what a new connection does not know."""
        self.lane.resend()
        if self._renewal is not None:
            self._ask()

    def close(self, error: JobEndedError) -> None:
        """End the line; whoever still waits gets this error."""
        self._error = self._error or error
        self.lane.close(error)
        if self._renewal is not None and not self._renewal.done():
            self._renewal.set_exception(error)
            self._renewal.exception()  # nobody may be waiting any more
            self._renewal = None

    def _ask(self) -> None:
        self._send(TokenWanted(job_id=self.job.job_id, attempt=self.job.attempt))


def unix_time(expires_at: str) -> float | None:
    """Read an RFC 3339 time; None for one that cannot be read, which counts as unknown."""
    try:
        return datetime.fromisoformat(expires_at).timestamp()
    except ValueError:
        return None
