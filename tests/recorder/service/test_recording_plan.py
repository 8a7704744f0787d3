"""A plan that says nothing more than what is recorded is one without a past."""

from __future__ import annotations

import pytest

from recorder.service.recording_plan import RecordingPlan, committed_closes
from vault.core.manifest import AttemptClose


def test_a_plan_begins_unpaused_unless_it_says_otherwise() -> None:
    plan = RecordingPlan(recording_id="r", session_id="s", attempt=1)
    assert (plan.is_paused, plan.op, plan.pauses, plan.mode) == (False, 0, (), "passthrough")


def test_closes_come_as_they_were_reported() -> None:
    stated = [{"attempt": 2, "tree_size": 7, "root": "ab"}]
    assert committed_closes(stated) == [AttemptClose(attempt=2, size=7, root="ab", closed="recovered")]
    for wrong in ({"attempt": 2, "tree_size": 7}, {"attempt": "2", "tree_size": 7, "root": "ab"}):
        with pytest.raises(ValueError, match="lacks"):
            committed_closes([wrong])
