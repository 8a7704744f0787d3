"""LiveKit agents as services (`agent:NAME`): LiveKit dispatches them, the job says when again.

LiveKit loses a dispatch that comes before its worker, never repeats one, and runs one that is repeated twice.
So a job of an agent is offered to LiveKit, by a command, and counts when the agent is in the room.
Source: architecture §5, docs/decisions/0012-agents-as-services.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from orchestrator.core import ending, work
from orchestrator.core.commands import DispatchAgent
from orchestrator.core.draft import Draft, armed_for
from orchestrator.core.ids import Identity, is_agent
from orchestrator.core.jobs import HELD, Job, JobCause
from orchestrator.core.session import Session
from orchestrator.core.triggers import JobLost, Participant

_OF_ONE_JOB: Final = (
    "agent-AJ_"  # LiveKit's number of a job makes these identities unique; others may come back
)
_FORMER: Final = 8  # agents of earlier attempts that a job remembers


def dispatch_pending(draft: Draft) -> None:
    """Have every agent dispatched that a session is waiting for; called at the end of every step."""
    for job in draft.session.jobs:
        if is_agent(job.service_id) and work.is_offerable(draft.session, job):
            offered = draft.move_job(
                job,
                JobCause.OFFER,
                attempt=job.attempt + 1,
                said_ready=False,
                manual_ready=False,
                detail="",
                agent=None,
                former_agents=_former(job),
            )
            draft.arm(armed_for("offer", offered), draft.session.limits.retry_s)
            draft.commands.append(DispatchAgent(job_id=offered.job_id, attempt=offered.attempt))


def taken_for(session: Session, participant: Participant) -> Participant:
    """Say whose agent a newcomer is taken for.

    LiveKit needs up to five seconds to say by which dispatch an agent came: until then it is assumed to be
    the one that was asked for. One that nobody asked for is a worker of no service.
    """
    if participant.service_id is None or not is_agent(participant.service_id):
        return participant
    job = session.job_of(participant.service_id)
    if job is None:
        return replace(participant, service_id=None, attempt=0)
    if participant.attempt or participant.identity in job.former_agents:
        return participant
    return replace(participant, attempt=job.attempt, is_assumed=True)


def job_of(session: Session, identity: Identity) -> Job | None:
    """Give the job whose agent has this identity, or None."""
    return next((job for job in session.jobs if job.agent == identity), None)


def refusal(session: Session, participant: Participant) -> str | None:
    """Say why an agent of a job's current attempt may not stay; None when it may.

    Who was there first stays, unless LiveKit has said that the newcomer is the one, and of the other not.
    """
    if participant.sid in session.removed:
        return "another agent does this job"
    others = _others(session, participant)
    is_better = not participant.is_assumed and all(other.is_assumed for other in others)
    return None if is_better or not others else "another agent of this name is in the room"


def replace_others(draft: Draft, participant: Participant) -> None:
    """Put out the agents that gave way to the one that has joined."""
    for other in _others(draft.session, participant):
        draft.remove(other, "the agent of the current dispatch has joined")


def room_lost(draft: Draft) -> None:
    """Take back the jobs of agents: their dispatches went with the room."""
    for job in draft.session.jobs:
        if not is_agent(job.service_id) or job.state not in HELD:
            continue
        for sid, participant in draft.session.participants.items():
            if participant.service_id == job.service_id:
                others = {key: p for key, p in draft.session.participants.items() if key != sid}
                draft.set(participants=others)
                ending.say_gone(draft, participant)
        lost = JobLost(job_id=job.job_id, attempt=job.attempt, detail="LiveKit lost the room")
        work.lost(draft, lost)


def _others(session: Session, participant: Participant) -> list[Participant]:
    """Give the agents in the room that are believed to do the same job."""
    return [
        other
        for other in session.participants.values()
        if other.service_id == participant.service_id and other.identity != participant.identity
    ]


def _former(job: Job) -> tuple[Identity, ...]:
    if job.agent is None or not job.agent.startswith(_OF_ONE_JOB):
        return job.former_agents
    return (*job.former_agents, job.agent)[-_FORMER:]
