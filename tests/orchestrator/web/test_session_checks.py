"""What a request for a session must mean: all mistakes at once, and what the service is handed."""

from __future__ import annotations

import pytest

from orchestrator.service.new_session import NewSession, ServiceOptions
from orchestrator.web.errors import FieldsError
from orchestrator.web.session_checks import check_token_request, new_session
from sdk.wire import CreateSession, TokenRequest
from sdk.wire import ServiceOptions as WireOptions


def nobody(name: str) -> bool:
    return False


def test_all_mistakes_are_told_at_once() -> None:
    body = CreateSession(user_identity="", room_name="#", wait_s=1e9, required_services=["ok", "a#1"])
    with pytest.raises(FieldsError) as caught:
        new_session(body, nobody)
    fields = [problem.field for problem in caught.value.problems]
    assert fields == ["user_identity", "room_name", "required_services", "wait_s"]


def test_absent_and_empty_services_are_different_wishes() -> None:
    assert new_session(CreateSession(user_identity="a"), nobody).required_services is None
    assert new_session(CreateSession(user_identity="a", required_services=[]), nobody).required_services == ()


def test_everything_asked_for_is_handed_on() -> None:
    body = CreateSession(
        user_identity="a",
        user_name="A",
        room_name="r",
        metadata={"k": "v"},
        required_services=["x"],
        services={"y": WireOptions(required=False, policy="strict", priority=3, capabilities={"lang": "de"})},
        policy="strict",
        record=True,
        expires_in=60,
        max_duration=120,
        wait_s=5,
    )
    assert new_session(body, nobody) == NewSession(
        user_identity="a",
        user_name="A",
        room_name="r",
        metadata={"k": "v"},
        required_services=("x",),
        services={
            "y": ServiceOptions(required=False, policy="strict", priority=3, capabilities={"lang": "de"})
        },
        policy="strict",
        record=True,
        expires_in_s=60,
        max_duration_s=120,
        wait_s=5,
    )


@pytest.mark.parametrize("name", ["recorder", "asr"])
def test_no_client_takes_a_services_name(name: str) -> None:
    with pytest.raises(FieldsError, match="name of a service"):
        new_session(CreateSession(user_identity=name), lambda candidate: candidate == "asr")
    with pytest.raises(FieldsError, match="name of a service"):
        check_token_request(TokenRequest(user_identity=name), lambda candidate: candidate == "asr")


def test_the_edges_of_the_ranges_are_inside() -> None:
    body = CreateSession(user_identity="a" * 128, wait_s=0, expires_in=1, max_duration=1)
    assert new_session(body, nobody).wait_s == 0
    assert new_session(CreateSession(user_identity="a", wait_s=300), nobody).wait_s == 300


@pytest.mark.parametrize("name", ["agent:", "agent:a b", "agent:a/b"])
def test_an_agent_is_asked_for_by_a_name_that_livekit_can_know(name: str) -> None:
    for body in (
        CreateSession(user_identity="a", required_services=["agent:echo", name]),
        CreateSession(user_identity="a", services={"agent:echo": WireOptions(), name: WireOptions()}),
    ):
        with pytest.raises(FieldsError, match="names no agent") as caught:
            new_session(body, nobody)
        assert len(caught.value.problems) == 1


def test_capabilities_and_priorities_have_limits() -> None:
    services = {
        "x": WireOptions(capabilities={"k": "v" * 1100}),
        "y": WireOptions(priority=2_000_000),
        "agent:echo": WireOptions(capabilities={"k": "v"}),
        "z": WireOptions(priority=-1_000_000, capabilities={"k": "v" * 1000}),
    }
    with pytest.raises(FieldsError) as caught:
        new_session(CreateSession(user_identity="a", services=services), nobody)
    assert [(p.field, p.message) for p in caught.value.problems] == [
        ("services.x.capabilities", "capabilities have 1108 bytes as JSON; the limit is 1024"),
        ("services.y.priority", "2000000 is out of range; give -1000000 to 1000000"),
        (
            "services.agent:echo.capabilities",
            "LiveKit's agents have no capabilities here; leave them out",
        ),
    ]
