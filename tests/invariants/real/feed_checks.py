"""What a history must look like whatever happened: pure checks over what readers, workers and LiveKit saw.

Each gives its complaints in words, none when all is well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.core.states import TABLE
from sdk.client import ServerEvent
from tests.invariants.real.fleet import Line

_MOVES: Final = {(before.value, after.value) for (before, _), after in TABLE.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An event as it stands in the store's file; ``number`` counts within its session, from 1."""

    seq: int
    session: int | None
    number: int
    name: str


def check_reader(got: Sequence[ServerEvent], told: Sequence[ServerEvent], *, who: str) -> list[str]:
    """I7: a reader got exactly what the feed tells, in its order, each once."""
    wrong = [f"{who} was told of a gap: {event.data}" for event in got if event.event == "gap"]
    ids, wanted = [event.id for event in got], [event.id for event in told]
    wrong += [f"{who} got {name} {count} times" for name, count in Counter(ids).items() if count > 1]
    missed = [name for name in wanted if name not in set(ids)]
    if missed:
        wrong.append(f"{who} missed {len(missed)} events, the first {missed[0]}")
    if not wrong and ids != wanted:
        wrong.append(f"{who} got the events in another order, or events that the feed does not tell")
    return wrong


def check_store(told: Sequence[ServerEvent], stored: Sequence[Stored]) -> list[str]:
    """I7, I8: the feed tells what was committed, and a session's events are numbered without a hole."""
    wrong = []
    ids = [int(event.id.partition(":")[2]) for event in told]
    if ids != [event.seq for event in stored] or [e.event for e in told] != [e.name for e in stored]:
        wrong.append(f"the feed tells {len(ids)} events, and they are not the {len(stored)} that are stored")
    last: dict[int, int] = defaultdict(int)
    for event in stored:
        if event.session is not None:
            if event.number != last[event.session] + 1:
                wrong.append(f"event {event.seq} has number {event.number} after {last[event.session]}")
            last[event.session] = event.number
    return wrong


def check_moves(told: Sequence[ServerEvent]) -> list[str]:
    """I2: each session begins once, moves by the table, and says nothing of its room life after its end."""
    wrong = []
    status: dict[str, str] = {}
    for event in told:
        session_id = str(event.data.get("session_id", ""))
        if event.event == "session_created":
            if session_id in status:
                wrong.append(f"{session_id} was created twice")
            status[session_id] = "Creating"
        elif event.event == "status_changed":
            before, after = status.get(session_id, "nothing"), str(event.data["status"])
            is_same = before == after and after != "Terminated"  # `degraded` changed
            if (before, after) not in _MOVES and not is_same:
                wrong.append(f"{session_id} moved from {before} to {after}")
            status[session_id] = after
        elif event.event == "session_terminated" and status.get(session_id) not in (
            "Terminating",
            "Terminated",
        ):
            wrong.append(f"{session_id} is said to be terminated while {status.get(session_id)}")
    return wrong


def check_attempts(told: Sequence[ServerEvent]) -> list[str]:
    """I3: every offer is a later attempt, and what is accepted or joined is the one last offered."""
    wrong = []
    newest: dict[str, int] = defaultdict(int)
    holder: dict[str, str] = {}
    for event in told:
        if not event.event.startswith("job_") or "job_id" not in event.data:
            continue
        job_id, attempt = str(event.data["job_id"]), int(event.data.get("attempt", 0))
        worker_id = str(event.data.get("worker_id", ""))
        if event.event == "job_offered":
            if attempt <= newest[job_id]:
                wrong.append(f"{job_id} was offered as attempt {attempt} after {newest[job_id]}")
            newest[job_id], holder[job_id] = attempt, worker_id
        elif attempt != newest[job_id] or worker_id not in ("", holder.get(job_id)):
            wrong.append(
                f"{event.event} of attempt {attempt} of {job_id} by {worker_id}, held by {holder.get(job_id)}"
                f" as attempt {newest[job_id]}"
            )
    return wrong


def check_deliveries(journal: Sequence[Line]) -> list[str]:
    """I3, as the workers saw it: one worker to an attempt, and none begun after a newer one of its worker."""
    wrong = []
    holder: dict[tuple[str, int], str] = {}
    for line in journal:
        if line.what != "joined":
            continue
        first = holder.setdefault((line.job_id, line.attempt), line.worker_id)
        if first != line.worker_id:
            wrong.append(f"attempt {line.attempt} of {line.job_id} ran on {first} and on {line.worker_id}")
    return wrong


def check_rooms(rooms: Mapping[str, str], live: Mapping[str, str]) -> list[str]:
    """I10: the rooms of LiveKit are those of the live sessions (room name to session id)."""
    wrong = [f"room {name} belongs to no live session" for name in rooms.keys() - live.keys()]
    return wrong + [f"session {live[name]} has no room" for name in live.keys() - rooms.keys()]


def check_presence(present: Sequence[str], wanted: Mapping[str, str], *, session_id: str) -> list[str]:
    """I5, I6: of each service the current attempt's identity is in the room, and no other."""
    wrong = []
    for service_id, identity in wanted.items():
        there = [name for name in present if name.partition("#")[0] == service_id]
        if there != [identity]:
            wrong.append(f"{session_id}: {service_id} is there as {there}, wanted is {identity}")
    return wrong
