"""The two forms of a handler have the same hooks, with the same defaults."""

from __future__ import annotations

import inspect

import pytest

from sdk.hooks import FunctionHandler, WorkerHandler
from sdk.job import Job, JobFacts
from sdk.wire import Control
from tests.fakes.job_line import FakeLine

JOB_FACTS = JobFacts(job_id="a", attempt=1, session_id="s", service_id="x", room_name="r")


class Least(WorkerHandler):
    async def join_room(self, job: Job) -> None:
        return


def test_join_room_is_required() -> None:
    with pytest.raises(TypeError, match="join_room"):
        WorkerHandler()  # type: ignore[abstract]


@pytest.mark.parametrize("handler", [Least(), FunctionHandler()])
async def test_all_else_has_a_default(handler: WorkerHandler) -> None:
    job = Job(JOB_FACTS, line=FakeLine(), room=None, end=lambda *_: None)
    await handler.leave_room(job)
    await handler.rejoined(job)
    await handler.control(job, Control(job_id="a", attempt=1, n=1, op="stop"))
    assert await handler.health() is True


def test_the_decorated_form_has_every_hook() -> None:
    hooks = {
        name
        for name, _ in inspect.getmembers(WorkerHandler, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert hooks <= set(vars(FunctionHandler))
