"""A push worker that is slow to join is asked once: presence decides, and only the retry interval asks again.

The workers are real HTTP servers in threads of their own, so that an orchestrator's crash leaves them alone.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.adapters.worker_callbacks import WorkerCallbacks
from orchestrator.core.ids import WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.session import Session
from orchestrator.service.new_session import NewSession
from orchestrator.service.push import NewWorker
from tests.fakes.assembly import Assembly, assembly

ASR = NewSession(user_identity="anna", required_services=("asr",))
NOTIFY_S = 0.8  # real time; all else is the fake clock's


class SlowWorker:
    """Takes its time to join: until ``may_answer`` is set. With one thread it answers nothing meanwhile."""

    def __init__(self, server: type[HTTPServer]) -> None:
        self.attempts: list[int] = []
        self.may_answer = threading.Event()
        self._server = server(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.02)

    def stop(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        worker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(b'{"status":"healthy"}')

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/join-room":
                    worker.attempts.append(body["attempt"])
                    worker.may_answer.wait(10)
                self._say(b'{"success":true}')

            def _say(self, body: bytes) -> None:
                try:
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    pass  # the orchestrator did not wait so long

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@contextmanager
def slow_worker(server: type[HTTPServer] = ThreadingHTTPServer) -> Iterator[SlowWorker]:
    made = SlowWorker(server)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join(5)


@asynccontextmanager
async def calling() -> AsyncIterator[Assembly]:
    """An orchestrator over fakes that calls its workers for real."""
    async with assembly() as fakes:
        caller = WorkerCallbacks(
            allow_private=True, notify_timeout_s=NOTIFY_S, probe_timeout_s=0.2, now=fakes.clock.now
        )
        await caller.open()
        parts = replace(fakes.parts, caller=caller)
        running = Assembly(parts, fakes.settings, fakes.fake_rooms, fakes.caller)
        await running.open()
        try:
            yield running
        finally:
            await running.close()
            await caller.close()


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


async def register(running: Assembly, worker: SlowWorker, worker_id: str = "asr") -> None:
    await running.push.register(NewWorker(service_id="asr", worker_id=worker_id, endpoint=worker.url))


async def asked(running: Assembly, worker: SlowWorker) -> Session:
    """Have a session whose job the worker was asked to do."""
    created = await running.sessions.create(ASR)
    await until(lambda: worker.attempts)
    return await running.sessions.get(created.session.id)


async def call_is_over(running: Assembly) -> None:
    await until(lambda: not running.dispatch.busy)


async def in_the_room(running: Assembly, session: Session, attempt: int = 1) -> Session:
    running.fake_rooms.add_participant(session.room_name, "asr", service_id="asr", attempt=attempt)
    await running.reconciler.look(session.id)
    return await running.sessions.get(session.id)


async def let_pass(running: Assembly, seconds: float) -> None:
    running.clock.advance(seconds)
    await running.deadlines.sweep()


async def test_one_that_answers_late_but_in_time_is_asked_once() -> None:
    with slow_worker() as worker:
        async with calling() as running:
            await register(running, worker)
            session = await asked(running, worker)
            await let_pass(running, 9.0)
            worker.may_answer.set()
            await call_is_over(running)
            assert (await running.sessions.get(session.id)).jobs[0].state is JobState.ACCEPTED
            await let_pass(running, 20.0)
            assert (await in_the_room(running, session)).jobs[0].state is JobState.JOINED
            await let_pass(running, 60.0)
            assert worker.attempts == [1]


@pytest.mark.parametrize("is_restarted", [False, True], ids=["", "orchestrator-restarted"])
async def test_one_whose_answer_is_not_awaited_but_who_joins_is_asked_once(is_restarted: bool) -> None:
    with slow_worker() as worker:
        async with calling() as first:
            await register(first, worker)
            session = await asked(first, worker)
            await call_is_over(first)
            running = await first.restarted() if is_restarted else first
            await call_is_over(running)  # nobody is being called again
            await let_pass(running, 25.0)
            assert (await running.sessions.get(session.id)).jobs[0].state is JobState.OFFERED
            assert (await in_the_room(running, session)).jobs[0].state is JobState.JOINED
            await let_pass(running, 60.0)
            assert worker.attempts == [1]


async def test_a_restart_in_the_middle_of_the_call_does_not_repeat_it() -> None:
    with slow_worker() as worker:
        async with calling() as first:
            await register(first, worker)
            session = await asked(first, worker)
            running = await first.restarted()
            await call_is_over(running)
            worker.may_answer.set()
            await let_pass(running, 29.0)
            await call_is_over(running)
            assert worker.attempts == [1]
            assert (await in_the_room(running, session)).jobs[0].state is JobState.JOINED


@pytest.mark.parametrize("is_restarted", [False, True], ids=["", "orchestrator-restarted"])
async def test_one_that_never_joins_is_asked_again_after_the_retry_interval(is_restarted: bool) -> None:
    with slow_worker() as worker:
        async with calling() as first:
            await register(first, worker)
            session = await asked(first, worker)
            await call_is_over(first)
            running = await first.restarted() if is_restarted else first
            await let_pass(running, 30.1)
            (job,) = (await running.sessions.get(session.id)).jobs
            assert job.detail == "the worker did not answer in time"
            await let_pass(running, 1.0)
            await until(lambda: len(worker.attempts) == 2)
            assert worker.attempts == [1, 2]
            # The first one joins after all: it is put out, only the newest attempt counts.
            late = await in_the_room(running, session, attempt=1)
            assert late.jobs[0].state is not JobState.JOINED


async def die(running: Assembly, worker_id: str) -> None:
    """Let probes fail until a worker is taken for dead."""
    worker = running.registry.get(WorkerId(worker_id))
    for _ in range(5):
        running.clock.advance(2.0)
        await running.liveness.check(worker)
    assert worker.is_dead


async def test_one_that_answers_no_probe_while_it_joins_is_not_asked_twice() -> None:
    with slow_worker(HTTPServer) as worker:
        async with calling() as running:
            await register(running, worker)
            session = await asked(running, worker)
            await call_is_over(running)
            await die(running, "asr")
            assert (await running.sessions.get(session.id)).jobs[0].state is JobState.OFFERED
            worker.may_answer.set()  # it is through, and answers again
            running.clock.advance(2.0)
            await running.liveness.check(running.registry.get(WorkerId("asr")))
            assert not running.registry.get(WorkerId("asr")).is_dead
            await call_is_over(running)
            assert (await in_the_room(running, session)).jobs[0].state is JobState.JOINED
            assert worker.attempts == [1]


async def test_with_another_worker_there_the_job_of_a_silent_one_goes_on() -> None:
    with slow_worker(HTTPServer) as silent, slow_worker() as other:
        async with calling() as running:
            await register(running, silent, "asr-1")
            session = await asked(running, silent)
            await call_is_over(running)
            other.may_answer.set()
            await register(running, other, "asr-2")
            await die(running, "asr-1")
            await until(lambda: other.attempts == [2])
            assert (await running.sessions.get(session.id)).jobs[0].worker_id == "asr-2"
