"""Triggers: what is assumed of a participant that says nothing of itself."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import get_args

import pytest

from orchestrator.core.ids import Identity, ParticipantSid, RoomSid
from orchestrator.core.triggers import Participant, RoomCreated, RoomCreateFailed, Trigger


def test_who_has_no_role_that_we_minted_is_a_client() -> None:
    stranger = Participant(identity=Identity("somebody"), sid=ParticipantSid("PA_1"))
    assert (stranger.role, stranger.service_id, stranger.attempt) == ("client", None, 0)


def test_a_failed_room_is_ours_unless_it_is_said_to_be_a_strangers() -> None:
    assert not RoomCreateFailed(detail="no answer").is_foreign


def test_triggers_are_values() -> None:
    assert RoomCreated(sid=RoomSid("RM_1")) == RoomCreated(sid=RoomSid("RM_1"))
    with pytest.raises(FrozenInstanceError):
        RoomCreated(sid=RoomSid("RM_1")).sid = RoomSid("RM_2")  # type: ignore[misc]
    assert len(set(get_args(Trigger))) == len(get_args(Trigger)) == 20
