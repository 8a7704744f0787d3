"""A LiveKit agent for tests and bench: joins the room of each job and stays. Runs in `.tools/agents-venv`.

    .tools/agents-venv/bin/python tests/integration/agent.py NAME start

Says on standard error, one JSON object a line, when it is asked for a job, begins it, and is in the room.
"""

from __future__ import annotations

import json
import os
import sys
import time

from livekit.agents import JobContext, JobExecutorType, JobRequest, WorkerOptions, cli

STAY_OUT = "stay out"  # metadata of a job that is over when it begins, for the bench


def say(what: str, room: str) -> None:
    """Write one line; the time is CLOCK_MONOTONIC, which is the same in every process of a machine.

    In one piece, to where the framework's log does not go: other threads write, too.
    """
    line = {"at": time.monotonic(), "what": what, "key": room}
    os.write(2, (json.dumps(line) + "\n").encode())


async def asked(request: JobRequest) -> None:
    """Take every job."""
    say("asked", request.job.room.name)
    await request.accept()


async def entrypoint(context: JobContext) -> None:
    """Join and stay, until LiveKit ends the job."""
    say("begun", context.job.room.name)
    if context.job.metadata == STAY_OUT:
        context.shutdown()
        return
    await context.connect()
    say("joined", context.job.room.name)


def idle() -> float:
    """Say that nothing is in the way of the next job."""
    return 0.0


if __name__ == "__main__":
    name = sys.argv.pop(1)
    cli.run_app(
        WorkerOptions(
            entrypoint_fnc=entrypoint,
            request_fnc=asked,
            agent_name=name,
            job_executor_type=JobExecutorType.THREAD,
            num_idle_processes=4,
            # LiveKit asks nobody who says that 0.7 of the machine is in use, as it is while tests run.
            load_fnc=idle,
            load_threshold=float("inf"),
            port=0,
        )
    )
