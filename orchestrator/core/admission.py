"""Who may be in the room: whose tokens still count, and what makes them useless.

LiveKit revokes nothing, and renews the tokens of whoever got in: a token that must not count any more is
refused where it is minted, and known by its signed attributes where it is used.
Source: architecture §4 (room and token policy), docs/decisions/0008-removal-by-grant-numbers.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from orchestrator.core import agents, ending, work
from orchestrator.core.draft import Draft
from orchestrator.core.errors import BarredError, IllegalTransitionError
from orchestrator.core.grants import Standing
from orchestrator.core.ids import Identity, is_agent
from orchestrator.core.jobs import HELD, Job
from orchestrator.core.recording import RECORDER
from orchestrator.core.session import Session
from orchestrator.core.triggers import JobLost, Participant, RemovalAsked, RoleAsked

MAX_STANDINGS: Final = 256  # of one session: they stay for its life, because a renewed token lives as long
ENDING: Final = "the session is ending"

_REMOVED: Final = "removed by a caller"
_NO_STANDING: Final = Standing(number=0)


def standing_of(session: Session, identity: Identity) -> Standing:
    """Give the standing of somebody who may ask for a token.

    Raises:
        BarredError: they may not.
    """
    standing = session.standings.get(identity, _NO_STANDING)
    if standing.is_barred:
        raise BarredError(identity)
    return standing


def refusal(session: Session, participant: Participant) -> str | None:
    """Say why a participant may not be in the room; None when they may.

    One without attributes of ours was let in by somebody else who has LiveKit's key: that is a client.
    """
    if not session.is_live:
        return None if participant.sid in session.participants else ENDING
    participant = agents.taken_for(session, participant)
    if participant.session_id not in ("", session.id):
        return "the token is another session's"
    if participant.service_id is not None:
        job = session.job_of(participant.service_id)
        if job is None or job.attempt != participant.attempt or job.state not in HELD:
            return "a newer attempt of this job exists"
        return agents.refusal(session, participant) if is_agent(job.service_id) else None
    standing = session.standings.get(participant.identity)
    if standing is None:
        return None
    if standing.is_barred:
        return "removed from the session, and kept out"
    if participant.grant < standing.number or participant.role != standing.role:
        return "the token is older than a removal or a change of role"
    return None


def removal_asked(draft: Draft, trigger: RemovalAsked) -> None:
    """Make the tokens of an identity useless and put it out; a worker's job is offered again instead."""
    session, identity = draft.session, trigger.identity
    _check_live(session)
    service_id = identity.partition("#")[0]
    if service_id == RECORDER:
        raise IllegalTransitionError(
            "the recorder is not removed from the room: stop the recording, or end the session"
        )
    job = session.job_of(service_id) or agents.job_of(session, identity)
    if job is not None:
        _remove_worker(draft, job, identity)
        return
    old = session.standings.get(identity, _NO_STANDING)
    is_news = not (old.is_barred and trigger.is_barred)  # nobody barred got a token since
    if is_news:
        _put_standing(draft, identity, replace(old, number=old.number + 1, is_barred=trigger.is_barred))
    if not _put_out(draft, identity, _REMOVED) and is_news:
        draft.say_removed(identity, _REMOVED)


def role_asked(draft: Draft, trigger: RoleAsked) -> None:
    """Make the tokens of another role useless; whoever is connected with one is put out at once."""
    session, identity = draft.session, trigger.identity
    _check_live(session)
    if session.job_of(identity.partition("#")[0]) is not None or agents.job_of(session, identity):
        raise IllegalTransitionError(f"{identity!r} is the name of a service of session {session.id}")
    old = standing_of(session, identity)
    if old.role != trigger.role:
        _put_standing(draft, identity, replace(old, number=old.number + 1, role=trigger.role))
        _put_out(draft, identity, "the role changed")


def _remove_worker(draft: Draft, job: Job, identity: Identity) -> None:
    if job.identity == identity and job.state in HELD:
        work.lost(draft, JobLost(job_id=job.job_id, attempt=job.attempt, detail=_REMOVED))
    _put_out(draft, identity, _REMOVED)


def _put_out(draft: Draft, identity: Identity, reason: str) -> bool:
    """Have LiveKit remove an identity; tell whether it was known to be in the room."""
    for participant in draft.session.participants.values():
        if participant.identity == identity:
            ending.say_gone(draft, participant)
            draft.remove(participant, reason)
            return True
    draft.ask_removal(identity, reason)  # LiveKit may know of one whose webhook is still under way
    return False


def _put_standing(draft: Draft, identity: Identity, standing: Standing) -> None:
    standings = draft.session.standings
    if identity not in standings and len(standings) >= MAX_STANDINGS:
        raise IllegalTransitionError(
            f"{len(standings)} identities of this session were removed or changed their role, the limit is "
            f"{MAX_STANDINGS}; end the session and open another one"
        )
    draft.set(standings={**standings, identity: standing})


def _check_live(session: Session) -> None:
    if not session.is_live:
        raise IllegalTransitionError(
            f"session {session.id} is {session.room_status.value}: its room is closed to everybody"
        )
