"""The LiveKit client and agents: which participants are agents, whose dispatches are ours, what is asked."""

from __future__ import annotations

import pytest
from livekit.protocol import agent, agent_dispatch, models

from orchestrator.adapters.livekit_rooms import read_dispatch, read_participant


@pytest.mark.parametrize(
    ("attributes", "role", "service_id", "attempt"),
    [
        ({"lk.agent_name": "echo", "lk.agent.name": "other"}, "worker", "agent:echo", 0),
        ({"lk.agent_name": ""}, "worker", None, 0),  # dispatched to every room by itself
        ({}, "worker", None, 0),
        # Our own hidden recorder is of kind AGENT too: the role that we minted comes first.
        (
            {"greenroom.role": "recorder", "greenroom.service": "recorder", "greenroom.attempt": "3"},
            "recorder",
            "recorder",
            3,
        ),
    ],
)
def test_who_came_by_livekits_dispatch_is_no_client(
    attributes: dict[str, str], role: str, service_id: str | None, attempt: int
) -> None:
    info = models.ParticipantInfo(identity="agent-AJ_1", sid="PA_1", attributes=attributes)
    found = read_participant(info, is_agent=True)
    assert (found.role, found.service_id, found.attempt) == (role, service_id, attempt)


def test_a_client_does_not_become_an_agent_by_an_attribute() -> None:
    info = models.ParticipantInfo(identity="eve", sid="PA_1", attributes={"lk.agent_name": "echo"})
    found = read_participant(info)
    assert (found.role, found.service_id) == ("client", None)


def test_a_dispatch_says_whose_it_is_and_who_came() -> None:
    dispatch = agent_dispatch.AgentDispatch(
        id="AD_1",
        agent_name="echo",
        attributes={"greenroom.job": "s1-1", "greenroom.attempt": "2"},
        state=agent_dispatch.AgentDispatchState(
            jobs=[
                agent.Job(state=agent.JobState(participant_identity="agent-AJ_1")),
                agent.Job(state=agent.JobState()),
            ]
        ),
    )
    found = read_dispatch(dispatch)
    assert (found.id, found.agent_name, found.job_id, found.attempt) == ("AD_1", "echo", "s1-1", 2)
    assert found.identities == ("agent-AJ_1",)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"greenroom.job": "s1-1"},
        {"greenroom.attempt": "2"},
        {"greenroom.job": "s1-1", "greenroom.attempt": "²"},
    ],
)
def test_a_dispatch_of_others_is_nobodys_attempt(attributes: dict[str, str]) -> None:
    found = read_dispatch(agent_dispatch.AgentDispatch(id="AD_1", attributes=attributes))
    assert (found.job_id, found.attempt) == ("", 0)
