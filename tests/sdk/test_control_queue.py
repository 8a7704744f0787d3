"""Recording operations reach the author in order, once, and an error of theirs ends the job."""

from __future__ import annotations

import asyncio

from sdk.control_queue import MAX_CONTROLS, ControlQueue
from sdk.job import Job, JobFacts
from sdk.wire import Control
from tests.fakes.job_line import FakeLine
from tests.fakes.worker_author import Author, until


def a_job() -> Job:
    facts = JobFacts(job_id="a", attempt=1, session_id="s", service_id="x", room_name="r")
    return Job(facts, line=FakeLine(), room=None, end=lambda *_: None)


def control(n: int) -> Control:
    return Control(job_id="a", attempt=1, n=n, op="pause")


class Slow(Author):
    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.fails = False

    async def control(self, job: Job, control: Control) -> None:
        await self.go_on.wait()
        if self.fails:
            raise KeyError("participant's words")
        await super().control(job, control)


async def test_in_order_and_once() -> None:
    author = Author()
    queue = ControlQueue(a_job(), author, on_error=lambda _: None)
    for n in (1, 2, 2, 1, 5, 4):
        queue.put(control(n))
    await queue.settle()
    assert [n for n, _ in author.controls] == [1, 2, 5]
    await queue.close()


async def test_what_is_dropped_is_taken_when_it_is_repeated() -> None:
    author = Slow()
    queue = ControlQueue(a_job(), author, on_error=lambda _: None)
    for n in range(1, MAX_CONTROLS + 10):
        queue.put(control(n))
    author.go_on.set()
    await queue.settle()
    assert len(author.controls) == MAX_CONTROLS
    queue.put(control(MAX_CONTROLS + 1))
    await until(lambda: len(author.controls) == MAX_CONTROLS + 1)
    await queue.close()


async def test_an_error_is_told_without_its_words_and_the_queue_goes_on() -> None:
    author, errors = Slow(), list[str]()
    author.fails = True
    author.go_on.set()
    queue = ControlQueue(a_job(), author, on_error=errors.append)
    queue.put(control(1))
    await queue.settle()
    assert errors == ["control pause raised KeyError"]
    author.fails = False
    queue.put(control(2))
    await until(lambda: author.controls == [(2, "pause")])
    await queue.close()


async def test_closing_ends_a_hook_that_hangs() -> None:
    author = Slow()
    queue = ControlQueue(a_job(), author, on_error=lambda _: None)
    queue.put(control(1))
    await asyncio.sleep(0)
    await asyncio.wait_for(queue.close(), 1)
    assert author.controls == []
