"""I7: every reader received exactly the events of its scope after its position, in order; or a `gap`."""

from __future__ import annotations

from bisect import bisect_right

from tests.invariants.checks.watching import Violation
from tests.invariants.history import Appended, History, Reading, Seen

ARRIVE_S = 3.0  # what was committed in the last moments of a run may still be on its way


def check_i7(history: History) -> list[Violation]:
    """No lost event."""
    found = []
    committed = list(history.of(Appended))
    scopes: dict[str | None, list[Appended]] = {None: committed}
    for event in committed:
        if event.session_id is not None:
            scopes.setdefault(event.session_id, []).append(event)
    seqs = {scope: [event.seq for event in events] for scope, events in scopes.items()}
    at: dict[str, int] = {}
    scope_of: dict[str, str | None] = {}
    for record in history:
        match record:
            case Reading():
                scope_of[record.reader] = record.session_id
                at.setdefault(record.reader, _seq(record.begins))
            case Seen():
                scope = scope_of[record.reader]
                seq = _seq(record.position)
                if record.name == "gap":
                    at[record.reader] = seq
                    continue
                place = bisect_right(seqs.get(scope, []), at[record.reader])
                wanted = scopes[scope][place] if place < len(scopes.get(scope, [])) else None
                if wanted is None or (wanted.position, wanted.data) != (record.position, record.data):
                    due = wanted.position if wanted is not None else "nothing"
                    what = f"{record.reader} received {record.position} {record.name}, due was {due}"
                    found.append(Violation(invariant="I7", at=record.at, what=what))
                at[record.reader] = seq
            case _:
                pass
    for reader, seq in at.items():
        scope = scope_of[reader]
        missed = [e for e in scopes.get(scope, []) if e.seq > seq and e.at < history.ended_at - ARRIVE_S]
        if missed:
            what = f"{reader} never received {missed[0].position} {missed[0].name} and {len(missed) - 1} more"
            found.append(Violation(invariant="I7", at=history.ended_at, what=what))
    return found


def _seq(position: str) -> int:
    return int(position.partition(":")[2])
