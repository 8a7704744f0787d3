"""A recorder's reports: numbered without holes, one under way, repeated, coalesced, closed."""

from __future__ import annotations

import asyncio

import pytest

from sdk.errors import JobEndedError, JobStaleError, UnavailableError
from sdk.recording_lane import MAX_WAITING, RecordingLane
from sdk.wire import RecordingReport, RecordingState
from tests.fakes.worker_author import until


def report(state: RecordingState, **fields: object) -> RecordingReport:
    return RecordingReport(
        job_id="a",
        attempt=1,
        n=0,
        recording_id="r",
        state=state,
        **fields,  # type: ignore[arg-type]
    )


class Sent(list[RecordingReport]):
    @property
    def numbers(self) -> list[int]:
        return [frame.n for frame in self]


def lane(**options: float) -> tuple[RecordingLane, Sent]:
    sent = Sent()
    return RecordingLane(sent.append, **options), sent


def deliver(to: RecordingLane, one: RecordingReport, timeout_s: float = 5) -> asyncio.Task[None]:
    return asyncio.create_task(to.deliver(one, timeout_s=timeout_s))


async def test_one_is_under_way_at_a_time() -> None:
    to, sent = lane()
    first, second = deliver(to, report("starting")), deliver(to, report("recording"))
    await asyncio.sleep(0)
    assert sent.numbers == [1]
    to.acknowledge(7)
    assert sent.numbers == [1]
    to.acknowledge(1)
    assert sent.numbers == [1, 2]
    to.acknowledge(2)
    await asyncio.gather(first, second)


async def test_a_newer_report_of_the_same_state_replaces_one_that_waits() -> None:
    to, sent = lane()
    under_way = deliver(to, report("recording", tree_size=1))
    await asyncio.sleep(0)
    waiting = [
        deliver(to, report("recording", tree_size=2, closes=[{"attempt": 1}])),
        deliver(to, report("recording", tree_size=3, closes=[{"attempt": 2}])),
        deliver(to, report("stopping", tree_size=3)),
    ]
    await asyncio.sleep(0)
    to.acknowledge(1)
    to.acknowledge(2)
    to.acknowledge(3)
    await asyncio.gather(under_way, *waiting)
    assert [(frame.n, frame.state, frame.tree_size) for frame in sent] == [
        (1, "recording", 1),
        (2, "recording", 3),
        (3, "stopping", 3),
    ]
    assert sent[1].closes == [{"attempt": 1}, {"attempt": 2}]


async def test_the_queue_is_bounded() -> None:
    to, sent = lane()
    states: list[RecordingState] = ["paused", "recording"]
    tasks = [deliver(to, report(states[n % 2], tree_size=n)) for n in range(200)]
    await asyncio.sleep(0)
    for n in range(1, 300):
        to.acknowledge(n)
    await asyncio.gather(*tasks)
    assert len(sent) == MAX_WAITING + 1
    assert sent[-1].tree_size == 199
    assert sent.numbers == list(range(1, MAX_WAITING + 2))


async def test_what_is_not_acknowledged_is_repeated_with_its_number() -> None:
    to, sent = lane(repeat_s=0.05)
    waiting = deliver(to, report("recording"))
    await until(lambda: len(sent) >= 3)
    to.resend()
    assert set(sent.numbers) == {1}
    to.acknowledge(1)
    await waiting
    count = len(sent)
    to.resend()
    await asyncio.sleep(0.1)
    assert len(sent) == count


async def test_a_deadline_gives_up_waiting_and_not_the_report() -> None:
    to, sent = lane()
    with pytest.raises(UnavailableError, match=r"within 0\.05 s"):
        await to.deliver(report("recording"), timeout_s=0.05)
    to.resend()
    assert sent.numbers == [1, 1]
    to.acknowledge(1)
    next_one = deliver(to, report("stopped"))
    await asyncio.sleep(0)
    to.acknowledge(2)
    await next_one


async def test_a_closed_lane_tells_all_who_wait_and_all_who_come() -> None:
    to, sent = lane()
    waiting = [deliver(to, report("recording")), deliver(to, report("stopped"))]
    await asyncio.sleep(0)
    to.close(JobStaleError("held by another"))
    to.close(JobEndedError("only the first reason counts"))
    for task in waiting:
        with pytest.raises(JobStaleError):
            await task
    with pytest.raises(JobStaleError):
        await to.deliver(report("failed"), timeout_s=1)
    to.resend()
    assert sent.numbers == [1]
