"""Reports stay until a pong proves them, and what is final is never lost."""

from __future__ import annotations

from sdk.outbox import Outbox
from sdk.wire import HeldJob, Report, ReportState


def report(state: ReportState, job_id: str = "a", attempt: int = 1) -> Report:
    return Report(job_id=job_id, attempt=attempt, state=state)


A, B = HeldJob(job_id="a", attempt=1), HeldJob(job_id="b", attempt=1)


def states(outbox: Outbox) -> list[str]:
    return [kept.state for kept in outbox.unproven()]


def test_reports_wait_in_order_until_they_are_proven() -> None:
    outbox = Outbox()
    outbox.add(report("joined"))
    outbox.add(report("ready"))
    mark = outbox.mark()
    outbox.add(report("joined", "b"))
    assert states(outbox) == ["joined", "ready", "joined"]
    assert outbox.jobs() == [A, B]
    outbox.prove(mark)
    assert outbox.jobs() == [B]
    outbox.prove(mark)
    assert states(outbox) == ["joined"]


def test_the_end_of_a_job_replaces_what_was_said_before() -> None:
    outbox = Outbox()
    for one in (report("joined"), report("joined", "b"), report("done")):
        outbox.add(one)
    assert [(kept.job_id, kept.state) for kept in outbox.unproven()] == [("b", "joined"), ("a", "done")]


def test_the_same_state_again_is_kept_once_and_must_be_proven_anew() -> None:
    outbox = Outbox()
    outbox.add(report("joined"))
    mark = outbox.mark()
    outbox.add(report("joined"))
    outbox.prove(mark)
    assert states(outbox) == ["joined"]


def test_another_attempt_is_another_job() -> None:
    outbox = Outbox()
    outbox.add(report("joined", attempt=1))
    outbox.add(report("done", attempt=2))
    assert states(outbox) == ["joined", "done"]


def test_of_jobs_that_were_not_resumed_only_the_end_is_kept() -> None:
    outbox = Outbox()
    for one in (report("joined"), report("joined", "b"), report("failed", "c")):
        outbox.add(one)
    outbox.settle([A])
    assert [(kept.job_id, kept.state) for kept in outbox.unproven()] == [("a", "joined"), ("c", "failed")]


def test_a_dropped_job_is_forgotten() -> None:
    outbox = Outbox()
    outbox.add(report("done"))
    outbox.add(report("done", "b"))
    outbox.drop(A)
    assert outbox.jobs() == [B]


def test_it_is_bounded_by_the_jobs() -> None:
    outbox = Outbox()
    for _ in range(100):
        for state in ("joined", "ready"):
            outbox.add(report(state))
    assert len(outbox.unproven()) == 2
