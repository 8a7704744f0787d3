"""What the checkers share: a violation, how long something stays wrong, and the two views side by side."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from orchestrator.core.session import Session
from tests.invariants.history import Committed, Joined, Left, Record, RoomGone, RoomMade


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken promise. ``at``: when it was certain, in virtual seconds."""

    invariant: str
    at: float
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.at:.3f} s: {self.what}"


class Persisting:
    """Notes since when something is wrong, and complains when it is for longer than it may be.

    Args:
        invariant: whose complaint it is.
        bound_s: how long it may last.
        since_s: time before this is not counted (faults are not healed yet).
    """

    def __init__(self, invariant: str, bound_s: float, since_s: float) -> None:
        self._invariant = invariant
        self._bound_s = bound_s
        self._since_s = since_s
        self._wrong: dict[Hashable, float] = {}
        self.violations: list[Violation] = []

    def see(self, at: float, wrong: Iterable[Hashable]) -> None:
        """Take what is wrong from now on; what is not among it any more is right again."""
        now = dict.fromkeys(wrong)
        for what in [what for what in self._wrong if what not in now]:
            self._judge(at, what)
            del self._wrong[what]
        for what in now:
            self._wrong.setdefault(what, at)

    def end(self, at: float) -> list[Violation]:
        """Give the complaints once nothing more is to come."""
        for what in self._wrong:
            self._judge(at, what)
        self._wrong.clear()
        return self.violations

    def _judge(self, at: float, what: Hashable) -> None:
        begun = max(self._wrong[what], self._since_s)
        if at - begun > self._bound_s:
            text = f"{what} for {at - begun:.2f} s, {self._bound_s:g} s are allowed"
            self.violations.append(Violation(invariant=self._invariant, at=at, what=text))


@dataclass(slots=True)
class Views:
    """The store's sessions and LiveKit's rooms as they stand while a history is read."""

    sessions: dict[str, Session] = field(default_factory=dict)
    rooms: dict[str, RoomMade] = field(default_factory=dict)
    present: dict[str, dict[str, Joined]] = field(default_factory=dict)  # by room name, by SID

    def take(self, record: Record) -> bool:
        """Follow one record; whether it changed anything here."""
        match record:
            case Committed():
                self.sessions[record.session.id] = record.session
            case RoomMade():
                self.rooms[record.name] = record
            case RoomGone():
                self.rooms.pop(record.name, None)
            case Joined():
                self.present.setdefault(record.room, {})[record.sid] = record
            case Left():
                self.present.get(record.room, {}).pop(record.sid, None)
            case _:
                return False
        return True

    def of(self, session: Session) -> dict[str, Joined]:
        """Give who LiveKit lists in a session's room, by SID."""
        return self.present.get(session.room_name, {})
