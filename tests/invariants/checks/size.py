"""I14: nothing grows with the number of sessions that came and went."""

from __future__ import annotations

from tests.invariants.checks.watching import Violation
from tests.invariants.history import History, Sampled

TASKS_PER_SESSION = 0.001
OBJECTS_PER_SESSION = 0.05  # a record that stays behind is dozens


def check_i14(history: History) -> list[Violation]:
    """Bounded: the slopes of tasks and objects over sessions are nothing, by a fit over all samples."""
    samples = list(history.of(Sampled))
    found = []
    for name, limit in (("tasks", TASKS_PER_SESSION), ("objects", OBJECTS_PER_SESSION)):
        rise = _slope([(sample.sessions, getattr(sample, name)) for sample in samples])
        if rise > limit:
            what = f"{rise:.4f} more {name} with each session, {limit:g} are allowed"
            found.append(Violation(invariant="I14", at=history.ended_at, what=what))
    return found


def _slope(points: list[tuple[float, float]]) -> float:
    """Fit a line by least squares; 0 for fewer than three points."""
    if len(points) < 3:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
