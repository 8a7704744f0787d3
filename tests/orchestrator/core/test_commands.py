"""Commands: durable rows, so each must come back from JSON as what it was."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from orchestrator.core.commands import (
    Command,
    ControlRecording,
    CreateRoom,
    DeleteDispatch,
    DeleteRoom,
    DispatchAgent,
    LeaveJob,
    RemoveParticipant,
)

ALL: tuple[Command, ...] = (
    CreateRoom(room_name="room-1"),
    DeleteRoom(room_name="room-1"),
    RemoveParticipant(room_name="room-1", identity="asr#2", reason="a newer attempt has joined"),
    LeaveJob(job_id="s1-1", attempt=2, worker_id="w", room_name="room-1", reason="terminated", is_stale=True),
    ControlRecording(job_id="s1-2", attempt=1, worker_id="r", n=3, op="stop"),
    DispatchAgent(job_id="s1-3", attempt=2),
    DeleteDispatch(job_id="s1-3", attempt=1),
)


def test_there_is_an_example_of_every_command() -> None:
    assert [type(command) for command in ALL] == list(get_args(Command))


@pytest.mark.parametrize("command", ALL, ids=lambda command: type(command).__name__)
def test_a_command_survives_the_store(command: Command) -> None:
    stored = msgspec.json.encode(command)
    assert msgspec.json.decode(stored)["type"] == type(command).__name__
    assert msgspec.json.decode(stored, type=Command) == command


def test_an_unknown_command_is_refused_by_name() -> None:
    with pytest.raises(msgspec.ValidationError, match="EraseRoom"):
        msgspec.json.decode(b'{"type":"EraseRoom","room_name":"room-1"}', type=Command)


@pytest.mark.parametrize("command", ALL, ids=lambda command: type(command).__name__)
def test_a_command_carries_no_token(command: Command) -> None:
    assert not [field for field in command.__struct_fields__ if "token" in field or "secret" in field]
