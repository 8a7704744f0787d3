"""What the tokens of each role say before they are signed."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.grants import client_grant, operator_grant, recorder_grant, worker_grant
from orchestrator.core.ids import Identity, RoomName, ServiceId, name_problem

ROOM = RoomName("room-1")


def test_a_client_takes_part_under_its_own_name() -> None:
    grant = client_grant(ROOM, Identity("ann"), "Ann")
    assert (grant.identity, grant.name, grant.role, grant.kind) == ("ann", "Ann", "client", "standard")
    assert grant.can_publish
    assert grant.can_subscribe
    assert grant.can_publish_data
    assert not grant.hidden
    assert (grant.service_id, grant.attempt) == (None, 0)


def test_an_operator_watches_unseen_and_changes_nothing() -> None:
    grant = operator_grant(ROOM, Identity("op"), "Op")
    assert grant.role == "operator"
    assert grant.can_subscribe
    assert grant.hidden
    assert not grant.can_publish
    assert not grant.can_publish_data
    assert not grant.recorder


def test_a_worker_joins_as_its_attempt_and_is_named_by_its_service() -> None:
    first, third = worker_grant(ROOM, ServiceId("asr"), 1), worker_grant(ROOM, ServiceId("asr"), 3)
    assert (first.identity, third.identity) == ("asr", "asr#3")
    assert first.name == third.name == "asr"
    assert (third.role, third.service_id, third.attempt) == ("worker", "asr", 3)
    assert third.can_publish
    assert not third.hidden


def test_the_recorders_second_connection_is_the_same_attempt_under_a_name_that_no_client_can_have() -> None:
    first, second = (recorder_grant(ROOM, ServiceId("recorder"), 2, is_second=flag) for flag in (False, True))
    assert second.identity == "recorder#2.second"
    assert replace(second, identity=first.identity) == first
    assert name_problem(second.identity, what="user_identity") is not None


def test_the_recorder_is_hidden_an_agent_and_only_subscribes() -> None:
    grant = recorder_grant(ROOM, ServiceId("recorder"), 2)
    assert (grant.identity, grant.role, grant.kind) == ("recorder#2", "recorder", "agent")
    assert grant.hidden
    assert grant.recorder
    assert grant.can_subscribe
    assert not grant.can_publish
    assert not grant.can_publish_data
