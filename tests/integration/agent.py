"""A LiveKit agent for tests and bench: joins the room of each job and stays. Runs in `.tools/agents-venv`.

    .tools/agents-venv/bin/python tests/integration/agent.py NAME start

Says on standard output, one JSON object a line, when it is asked for a job, begins it, and is in the room.
"""

from __future__ import annotations

import json
import sys
import time

from livekit.agents import JobContext, JobExecutorType, JobRequest, WorkerOptions, cli


def say(what: str, job_id: str, room: str, metadata: str = "") -> None:
    """Write one line; the time is CLOCK_MONOTONIC, which is the same in every process of a machine."""
    line = {"at": time.monotonic(), "what": what, "job_id": job_id, "room": room, "metadata": metadata}
    print(json.dumps(line), flush=True)


async def asked(request: JobRequest) -> None:
    """Take every job."""
    say("asked", request.job.id, request.job.room.name)
    await request.accept()


async def entrypoint(context: JobContext) -> None:
    """Join and stay, until LiveKit ends the job."""
    say("begun", context.job.id, context.job.room.name, context.job.metadata)
    if not context.job.metadata.startswith("stay out"):
        await context.connect()
        say("joined", context.job.id, context.job.room.name)


if __name__ == "__main__":
    name = sys.argv.pop(1)
    cli.run_app(
        WorkerOptions(
            entrypoint_fnc=entrypoint,
            request_fnc=asked,
            agent_name=name,
            job_executor_type=JobExecutorType.THREAD,
            num_idle_processes=4,
            load_threshold=float("inf"),
            port=0,
        )
    )
