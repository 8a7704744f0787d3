"""A plan that says nothing more than what is recorded is one without a past."""

from __future__ import annotations

from recorder.service.recording_plan import RecordingPlan


def test_a_plan_begins_unpaused_unless_it_says_otherwise() -> None:
    plan = RecordingPlan(recording_id="r", session_id="s", attempt=1)
    assert (plan.is_paused, plan.op, plan.pauses, plan.mode) == (False, 0, (), "passthrough")
