"""Identifiers: how jobs and attempts are named, and which names callers may choose."""

from __future__ import annotations

import pytest

from orchestrator.core.ids import (
    MAX_NAME,
    ServiceId,
    SessionId,
    agent_name_of,
    agent_problem,
    identity_of,
    is_agent,
    job_id,
    name_problem,
)


def test_a_job_is_named_by_its_session_and_number() -> None:
    assert job_id(SessionId("0f-1"), 2) == "0f-1-2"


@pytest.mark.parametrize(("attempt", "identity"), [(1, "asr"), (2, "asr#2"), (11, "asr#11")])
def test_the_first_attempt_joins_under_the_plain_service_id(attempt: int, identity: str) -> None:
    assert identity_of(ServiceId("asr"), attempt) == identity


@pytest.mark.parametrize("name", ["a", "Ann Müller", "agent:NAME", "x" * MAX_NAME, " padded "])
def test_ordinary_names_are_fine(name: str) -> None:
    assert name_problem(name, what="user_identity") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        (" \t ", "is empty"),
        ("x" * (MAX_NAME + 1), "has 129 characters; the limit is 128"),
        ("asr#2", "contains '#'"),
        ("a\nb", "control character"),
        ("a\x7f", "control character"),
        ("a\x00", "control character"),
    ],
)
def test_other_names_are_refused_in_one_sentence_with_the_field(name: str, said: str) -> None:
    problem = name_problem(name, what="room_name")
    assert problem is not None
    assert problem.startswith("room_name ")
    assert said in problem
    assert "\n" not in problem


@pytest.mark.parametrize("name", ["echo", "a", "Inbound.Agent_2-x", "7"])
def test_an_agent_is_asked_for_by_its_name_at_livekit(name: str) -> None:
    service_id = ServiceId(f"agent:{name}")
    assert is_agent(service_id)
    assert agent_name_of(service_id) == name
    assert agent_problem(service_id) is None


@pytest.mark.parametrize("name", ["", " ", ".x", "a b", "a/b", "a:b", "ä", "a\n"])
def test_other_names_of_agents_are_refused(name: str) -> None:
    problem = agent_problem(f"agent:{name}")
    assert problem is not None
    assert "names no agent" in problem


@pytest.mark.parametrize("service_id", ["asr", "agent", "Agent:x", "an agent:x"])
def test_other_services_are_no_agents(service_id: str) -> None:
    assert not is_agent(service_id)
    assert agent_problem(service_id) is None
