"""A job's line to the orchestrator that keeps what is said on it."""

from __future__ import annotations

from sdk.errors import UnavailableError
from sdk.ports import Grant
from sdk.wire import RecordingReport, ReportState


class FakeLine:
    """Implements `JobLine`.

    Attributes:
        reports: state and detail of each report.
        recordings: recording reports, acknowledged at once.
        grants: fresh grants to give out; none left is `UnavailableError`.
    """

    def __init__(self) -> None:
        self.reports: list[tuple[ReportState, str]] = []
        self.recordings: list[RecordingReport] = []
        self.grants: list[Grant] = []
        self.last_pong_age_s = 0.5
        self.is_in_touch = True

    def report(self, state: ReportState, detail: str = "") -> None:
        self.reports.append((state, detail))

    async def say_ready(self) -> None:
        self.report("ready")

    async def fresh_grant(self) -> Grant:
        if not self.grants:
            raise UnavailableError("no grant left")
        return self.grants.pop(0)

    async def record(self, report: RecordingReport, *, timeout_s: float) -> None:
        self.recordings.append(report)
