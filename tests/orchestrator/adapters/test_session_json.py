"""Records as JSON: there and back unchanged, and a newer or damaged one refused with one sentence."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orchestrator.adapters.session_json import (
    decode_command,
    decode_session,
    decode_worker,
    encode_command,
    encode_session,
    encode_worker,
)
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
from orchestrator.core.errors import StoreError
from orchestrator.core.grants import Standing
from orchestrator.core.ids import Identity, ParticipantSid, RecordingId, ServiceId, WorkerId
from orchestrator.core.jobs import JobState
from orchestrator.core.recording import Checkpoint, Control, Recording, RecordingStatus
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant
from orchestrator.core.workers import Registration
from tests.contracts.session_changes import first_change
from tests.fakes.clock import START

RECORDING = Recording(
    recording_id=RecordingId("r1"),
    status=RecordingStatus.STOPPING,
    attempt=2,
    n=7,
    wanted=Control(n=1, op="stop"),
    checkpoints=(Checkpoint(attempt=1, size=9, root="ab" * 32, note="origin\n9\n"),),
    stats={"duration_s": 1.5, "frames": 3},
)
SESSION = replace(
    (_new := first_change(services=("asr", "tts")).session),
    room_status=RoomStatus.ACTIVE,
    recording=RECORDING,
    participants={
        ParticipantSid("PA_1"): Participant(
            identity=Identity("asr#2"),
            sid=ParticipantSid("PA_1"),
            role="worker",
            service_id=ServiceId("asr"),
            attempt=2,
        )
    },
    standings={Identity("ben"): Standing(number=2, role="operator", is_barred=True)},
    removed=(ParticipantSid("PA_0"),),
    jobs=(replace(_new.jobs[0], state=JobState.JOINED, refused_by=(WorkerId("w"),)), _new.jobs[1]),
)
COMMANDS: tuple[Command, ...] = (
    CreateRoom(room_name="r"),
    DeleteRoom(room_name="r"),
    RemoveParticipant(room_name="r", identity="i", reason="kept out"),
    LeaveJob(job_id="j", attempt=1, worker_id="w", room_name="r", reason="over", is_stale=True),
    ControlRecording(job_id="j", attempt=1, worker_id="w", n=3, op="stop"),
    DispatchAgent(job_id="j", attempt=2),
    DeleteDispatch(job_id="j", attempt=1),
)
WORKER = Registration(
    worker_id=WorkerId("asr/1"),
    service_id=ServiceId("asr"),
    endpoint="http://127.0.0.1:7000",
    metadata={"a": "ü"},
    capabilities={"b": "c"},
    capacity=4,
    in_default=False,
    registered_at=START,
    seen_at=START,
)


def test_a_session_comes_back_as_it_was() -> None:
    assert decode_session(encode_session(SESSION)) == SESSION


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_command_comes_back_as_it_was(command: Command) -> None:
    assert decode_command(encode_command(command)) == command


def test_a_registration_comes_back_as_it_was() -> None:
    assert decode_worker(encode_worker(WORKER)) == WORKER


@pytest.mark.parametrize(
    ("data", "decode"),
    [
        (encode_session(SESSION), decode_session),
        (encode_command(COMMANDS[0]), decode_command),
        (encode_worker(WORKER), decode_worker),
    ],
)
def test_every_record_says_its_version_and_a_newer_one_is_refused(data: bytes, decode: object) -> None:
    envelope = json.loads(data)
    assert envelope["schema_version"] == 1
    newer = json.dumps({**envelope, "schema_version": 2, "record": {"another": "shape"}}).encode()
    with pytest.raises(StoreError, match="has schema version 2 and this version of Greenroom reads up to 1"):
        decode(newer)  # type: ignore[operator]


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'{"schema_version":1,"record":{"id":1}}'])
def test_a_damaged_record_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="a stored session cannot be read"):
        decode_session(data)


def test_a_field_that_came_later_has_its_default() -> None:
    envelope = json.loads(encode_session(SESSION))
    del envelope["record"]["degraded"]
    del envelope["record"]["limits"]["offer_s"]
    envelope["record"]["gone"] = "in this version"
    assert decode_session(json.dumps(envelope).encode()) == SESSION


def test_a_session_of_before_grant_numbers_has_nobody_removed() -> None:
    envelope = json.loads(encode_session(SESSION))
    for name in ("standings", "removed"):
        del envelope["record"][name]
    for participant in envelope["record"]["participants"].values():
        del participant["grant"], participant["session_id"]
    assert decode_session(json.dumps(envelope).encode()) == replace(SESSION, standings={}, removed=())


def test_a_record_from_before_recordings_were_controlled_is_read() -> None:
    stored = json.loads(encode_session(SESSION))
    del stored["record"]["earlier_recordings"]
    for name in ("mode", "pauses", "earlier_stats"):
        del stored["record"]["recording"][name]
    assert decode_session(json.dumps(stored).encode()) == SESSION
