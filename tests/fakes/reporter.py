"""An orchestrator that takes every report of a recorder and remembers it."""

from __future__ import annotations

from recorder.core.errors import StaleAttemptError
from recorder.ports import Standing


class FakeReporter:
    """A `Reporter`. Set ``is_stale`` to refuse what comes, clear ``is_in_touch`` as silence does."""

    def __init__(self) -> None:
        self.standings: list[Standing] = []
        self.is_stale = False
        self.is_in_touch = True

    async def report(self, standing: Standing) -> None:
        """Remember a standing."""
        if self.is_stale:
            raise StaleAttemptError("another attempt holds the recording")
        self.standings.append(standing)

    @property
    def states(self) -> list[str]:
        """The states in the order reported, repeats left out."""
        states: list[str] = []
        for standing in self.standings:
            if not states or states[-1] != standing.state.value:
                states.append(standing.state.value)
        return states
