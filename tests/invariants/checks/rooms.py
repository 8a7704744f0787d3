"""I9, I10: our view of LiveKit comes right, and no room of ours outlives its session."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.core.session import Session
from tests.invariants.checks.watching import Persisting, Views, Violation
from tests.invariants.history import History, RoomGone, RoomMade

REPAIR_S = 2.0


def check_i9(history: History) -> list[Violation]:
    """Truth: every difference between our view and LiveKit's is mended within the interval and 2 s."""
    bounds = history.bounds
    views = Views()
    people = Persisting("I9", bounds.participants_interval_s + REPAIR_S, history.healed_at)
    rooms = Persisting("I9", bounds.rooms_interval_s + REPAIR_S, history.healed_at)
    for record in history:
        if views.take(record):
            people.see(record.at, _people(views))
            rooms.see(record.at, _rooms(views))
    return people.end(history.ended_at) + rooms.end(history.ended_at)


def check_i10(history: History) -> list[Violation]:
    """No ghost room: a room of ours has its session or is gone soon; rooms of others are not touched."""
    views = Views()
    made = next((r.deployment_id for r in history.of(RoomMade) if r.session_id), "")
    ghosts = Persisting("I10", history.bounds.rooms_interval_s + REPAIR_S, history.healed_at)
    found = []
    for record in history:
        if isinstance(record, RoomGone) and record.by == "us":
            room = views.rooms.get(record.name)
            if room is not None and room.deployment_id != made:
                what = f"{record.name} is somebody else's, and we deleted it"
                found.append(Violation(invariant="I10", at=record.at, what=what))
        if views.take(record):
            ghosts.see(record.at, _ghosts(views, made))
    return found + ghosts.end(history.ended_at)


def _live(views: Views) -> Iterator[Session]:
    return (session for session in views.sessions.values() if session.is_live and session.room_sid)


def _people(views: Views) -> Iterator[str]:
    for session in _live(views):
        for sid in session.participants.keys() ^ views.of(session).keys():
            where = "in our view" if sid in session.participants else "in LiveKit"
            yield f"{sid} of {session.room_name} only {where}"


def _rooms(views: Views) -> Iterator[str]:
    for session in _live(views):
        room = views.rooms.get(session.room_name)
        if room is None or room.sid != session.room_sid:
            yield f"{session.room_name} is {session.room_sid} for us, {room and room.sid} for LiveKit"


def _ghosts(views: Views, deployment_id: str) -> Iterator[str]:
    for room in views.rooms.values():
        if room.deployment_id != deployment_id:
            continue
        session = views.sessions.get(room.session_id)
        if session is None or session.is_over or session.room_name != room.name:
            yield f"{room.name} ({room.sid}) belongs to nobody"
