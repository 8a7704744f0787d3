"""Reports on their way to the orchestrator: kept until it is known that they arrived."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sdk.wire import HeldJob, Report

_FINAL: Final = frozenset({"done", "failed"})


class Outbox:
    """Keeps each job's reports until a pong proves that they were read.

    The protocol does not answer reports. But frames are read in order, so the pong to a ping that was sent
    after a report proves it. What is not proven is sent again on the next connection; the orchestrator takes
    a repeated report as one. Size: a report replaces an older one of the same job and state, and a final one
    all of its job, so there are at most three per job that the worker holds.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, Report]] = []
        self._next_number = 1

    def add(self, report: Report) -> None:
        """Keep one more report."""
        is_final = report.state in _FINAL
        self._kept = [
            (number, kept)
            for number, kept in self._kept
            if not (_is_same(kept, report) and (is_final or kept.state == report.state))
        ]
        self._kept.append((self._next_number, report))
        self._next_number += 1

    def unproven(self) -> list[Report]:
        """Give what has to be sent (again) on a new connection, oldest first."""
        return [report for _, report in self._kept]

    def mark(self) -> int:
        """Give a mark to be proven by the next ping; take it when all that was added has been written."""
        return self._next_number - 1

    def prove(self, mark: int) -> None:
        """Forget what was added up to this mark: it has arrived."""
        self._kept = [(number, report) for number, report in self._kept if number > mark]

    def settle(self, resumed: Collection[HeldJob]) -> None:
        """Keep, of jobs that were not resumed, only how they ended: that may be news to the orchestrator."""
        self._kept = [
            (number, report)
            for number, report in self._kept
            if report.state in _FINAL or HeldJob(job_id=report.job_id, attempt=report.attempt) in resumed
        ]

    def drop(self, job: HeldJob) -> None:
        """Forget a job's reports: the orchestrator does not want to hear of this attempt."""
        self._kept = [(number, report) for number, report in self._kept if not _is_same(report, job)]

    def jobs(self) -> list[HeldJob]:
        """Give the jobs that still have something to say, so that `hello` lists them."""
        seen = dict.fromkeys((report.job_id, report.attempt) for _, report in self._kept)
        return [HeldJob(job_id=job_id, attempt=attempt) for job_id, attempt in seen]


def _is_same(report: Report, other: Report | HeldJob) -> bool:
    return report.job_id == other.job_id and report.attempt == other.attempt
