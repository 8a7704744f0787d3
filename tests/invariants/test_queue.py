"""I6 for the queue: jobs that were asked for before any worker existed are all done, or end with a reason.

A media server, the orchestrator and workers as processes. Beside it the naive way, which offers a
job once at its session's creation: the same check must find its jobs lost.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from orchestrator.core.ids import ServiceId
from orchestrator.service.new_session import NewSession
from tests.acceptance.system import System, system
from tests.acceptance.test_workers import process, until_registered
from tests.fakes.assembly import assembly
from tests.integration.servers import LiveKitFactory

IS_FULL: Final = os.environ.get("GREENROOM_FULL") == "1"
JOBS: Final = 100 if IS_FULL else 20
JOIN_S: Final = 20  # the sessions' own deadline: later they go on without, and the job still waits
ALL_S: Final = 180 if IS_FULL else 60


def lost(sessions: Iterable[dict[str, Any]]) -> list[str]:
    """Give the sessions whose job is neither done nor given up with a stated reason."""
    return [
        session["session_id"]
        for session in sessions
        for job in session["jobs"]
        if not (job["ready"] or (job["state"] == "failed" and job["detail"] and session["end_reason"]))
    ]


async def all_of(running: System, session_ids: list[str]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*map(running.session, session_ids)))


@pytest.mark.acceptance
@pytest.mark.integration
@pytest.mark.xdist_group("timed")
@pytest.mark.timeout(240)
async def test_no_job_is_lost_that_was_asked_for_before_any_worker_existed(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    waits = {"microservices__join_timeout": str(JOIN_S), "microservices__client_timeout": "3600"}
    async with (
        system(tmp_path, fresh_livekit_server, with_webhooks=True, **waits) as running,
        AsyncExitStack() as workers,
    ):
        wanted = [await running.create(services={"pong": {"priority": number % 3}}) for number in range(JOBS)]
        orphans = [
            await running.create(required_services=["nobody-offers-this"], policy="strict")
            for _ in range(JOBS // 5)
        ]
        assert all(created["missing_services"] == ["pong"] for created in wanted)
        waiting = (await running.session(wanted[0]["session_id"]))["jobs"][0]["waiting"]
        assert waiting["reason"] == "no_worker"
        ids = [created["session_id"] for created in wanted]
        assert lost(await all_of(running, ids)) == ids, "the check sees what nobody did yet"

        for _ in range(1 + JOBS // 50):
            await workers.enter_async_context(process(running, "examples.pong_worker"))
        await until_registered(running, "pong")

        async def are_joined() -> bool:
            sessions = await all_of(running, ids)
            return all(s["room_status"] == "Ready" and s["ready_services"] == ["pong"] for s in sessions)

        await running.until(are_joined, within_s=ALL_S, what=f"{JOBS} jobs to be joined")
        joined = await all_of(running, ids)
        assert not any(session["degraded"] or session["missing_services"] for session in joined)
        for created in orphans:
            ended = await running.until_status(created["session_id"], "Terminated", within_s=JOIN_S + 15)
            assert ended["end_reason"] == "services_timeout"
        everything = [*ids, *(created["session_id"] for created in orphans)]
        assert lost(await all_of(running, everything)) == []
        # One effect (I3): who is in the room is one worker, of the attempt that counts.
        for session in await all_of(running, ids):
            present = await running.get(f"/api/v1/sessions/{session['session_id']}/participants")
            (participant,) = present["participants"]
            assert participant["attempt"] == session["jobs"][0]["attempt"]


async def test_the_naive_way_loses_them() -> None:
    async with assembly() as running:

        def offer_once(service_id: ServiceId) -> None:
            """The naive queue: none. A job that nobody took when it was made is dropped."""

        running.dispatch.wake = offer_once  # type: ignore[method-assign]
        request = NewSession(user_identity="anna", required_services=("pong",))
        made = [(await running.sessions.create(request)).session.id for _ in range(JOBS)]
        await running.settled()
        await running.add_push_worker("pong")
        for session_id in made:
            session = await running.now(session_id)
            (job,) = session.jobs
            view = {
                "session_id": session.id,
                "end_reason": session.end_reason,
                "jobs": [{"ready": job.is_ready, "state": job.state.value, "detail": job.detail}],
            }
            assert lost([view]) == [session.id]
