"""What one commit writes of a decision: the session, and all that must be durable at the same moment."""

from __future__ import annotations

from orchestrator.core.catalog import changed_records
from orchestrator.core.draft import Decision
from orchestrator.core.request_keys import RequestKey
from orchestrator.core.session import Session, freed_key
from orchestrator.ports import Change, CommandRow


def change_of(
    before: Session | None,
    decision: Decision,
    *,
    finished: tuple[CommandRow, ...] = (),
    key: RequestKey | None = None,
) -> Change:
    """Give the change that commits a decision.

    Args:
        before: the record that was decided on; None for a new session.
        decision: what was decided.
        finished: command rows that this is the result of.
        key: bound to the session by it.
    """
    after = decision.session
    return Change(
        session=after,
        events=decision.events,
        commands=decision.commands,
        finished=finished,
        key=key,
        freed_key=None if before is None else freed_key(before, after),
        recordings=changed_records(before, after),
    )
