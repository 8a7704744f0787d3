"""The wire's frames: round trips, unknown kinds and fields, and tokens that never show."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from sdk import wire

JOB = {"job_id": "a", "attempt": 1}
WORKER_FRAMES: list[wire.WorkerFrame] = [
    wire.Hello(service_id="x", worker_id="w", resuming=[wire.HeldJob(**JOB)]),  # type: ignore[arg-type]
    wire.Ping(load=0.5, jobs=1, draining=True),
    wire.Accept(job_id="a", attempt=1, manual_ready=True),
    wire.Refuse(job_id="a", attempt=1, reason="no"),
    wire.Report(job_id="a", attempt=1, state="joined"),
    wire.RecordingReport(job_id="a", attempt=1, n=1, recording_id="r", state="recording"),
    wire.TokenWanted(job_id="a", attempt=1),
]
ORCHESTRATOR_FRAMES: list[wire.OrchestratorFrame] = [
    wire.Welcome(worker_id="w", heartbeat_interval=2.0, instance="i"),
    wire.Pong(position="1:2"),
    wire.Offer(job_id="a", attempt=1, session_id="s", service_id="x", room_name="r"),
    wire.Assign(job_id="a", attempt=1, access_token="SECRET", livekit_url="ws://x", expires_at="t"),
    wire.Ack(job_id="a", attempt=1, n=1),
    wire.Control(job_id="a", attempt=1, n=1, op="stop"),
    wire.TokenRenewed(job_id="a", attempt=1, access_token="SECRET", expires_at="t"),
    wire.Leave(job_id="a", attempt=1),
    wire.Stale(job_id="a", attempt=1),
    wire.Drain(),
    wire.Reconnect(),
]


def test_every_frame_is_here() -> None:
    assert {type(frame) for frame in WORKER_FRAMES} == set(get_args(wire.WorkerFrame))
    assert {type(frame) for frame in ORCHESTRATOR_FRAMES} == set(get_args(wire.OrchestratorFrame))


@pytest.mark.parametrize("frame", WORKER_FRAMES)
def test_worker_frames_round_trip(frame: wire.WorkerFrame) -> None:
    assert wire.decode_worker_frame(wire.encode_frame(frame)) == frame


@pytest.mark.parametrize("frame", ORCHESTRATOR_FRAMES)
def test_orchestrator_frames_round_trip_and_show_no_token(frame: wire.OrchestratorFrame) -> None:
    assert wire.decode_orchestrator_frame(wire.encode_frame(frame)) == frame
    assert "SECRET" not in repr(frame)


def test_frames_and_fields_of_later_versions_are_ignored() -> None:
    assert wire.decode_worker_frame('{"t":"confetti"}') is None
    assert wire.decode_orchestrator_frame('{"t":"confetti"}') is None
    assert wire.decode_worker_frame('{"t":"ping","colour":"red"}') == wire.Ping()


@pytest.mark.parametrize(
    "text",
    ['{"t":"report","job_id":"a"}', '{"t":"ping","load":"high"}', '{"t":7}', "[]", "{}", '{"t":"pong"'],
)
def test_what_is_wrong_raises(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        wire.decode_worker_frame(text)


def test_an_assignment_without_a_recording_has_no_such_key() -> None:
    assert "recording" not in wire.encode_frame(ORCHESTRATOR_FRAMES[3])
