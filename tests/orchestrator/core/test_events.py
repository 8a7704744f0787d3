"""Events: names and payloads of the reference's SSE, and never a token."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from orchestrator.core.events import (
    ClientJoined,
    ClientLeft,
    Error,
    Event,
    JobChanged,
    MicroserviceJoined,
    MicroserviceLeft,
    MicroserviceRegistered,
    MicroserviceUnavailable,
    ParticipantRemoved,
    RecordingChanged,
    RecordingDeleted,
    RecordingQuota,
    RoomRecreated,
    SessionCreated,
    SessionReady,
    SessionStatusChanged,
    SessionTerminated,
    decode_data,
    encode_data,
    name_of,
)

S = {"session_id": "s1"}
REFERENCE: list[tuple[Event, str, dict[str, Any]]] = [
    (
        SessionCreated(session_id="s1", room_name="r", livekit_url="ws://l"),
        "session_created",
        {"type": "SessionCreated", **S, "room_name": "r", "livekit_url": "ws://l"},
    ),
    (
        MicroserviceJoined(session_id="s1", service_id="asr"),
        "microservice_joined",
        {"type": "MicroserviceJoined", **S, "service_id": "asr"},
    ),
    (
        MicroserviceLeft(session_id="s1", service_id="asr"),
        "microservice_left",
        {"type": "MicroserviceLeft", **S, "service_id": "asr"},
    ),
    (
        ClientJoined(session_id="s1", user_identity="ann"),
        "client_joined",
        {"type": "ClientJoined", **S, "user_identity": "ann"},
    ),
    (
        ClientLeft(session_id="s1", user_identity="ann"),
        "client_left",
        {"type": "ClientLeft", **S, "user_identity": "ann"},
    ),
    (
        SessionReady(session_id="s1", all_participants_joined=True),
        "session_ready",
        {"type": "SessionReady", **S, "all_participants_joined": True},
    ),
    (
        SessionReady(session_id="s1", all_participants_joined=False, missing_services=("asr",)),
        "session_ready",
        {"type": "SessionReady", **S, "all_participants_joined": False, "missing_services": ["asr"]},
    ),
    (
        SessionStatusChanged(session_id="s1", status="Active"),
        "status_changed",
        {"type": "SessionStatusChanged", **S, "status": "Active"},
    ),
    (
        SessionStatusChanged(session_id="s1", status="Ready", degraded=True, missing_services=("asr",)),
        "status_changed",
        {
            "type": "SessionStatusChanged",
            **S,
            "status": "Ready",
            "degraded": True,
            "missing_services": ["asr"],
        },
    ),
    (Error(session_id="s1", message="why"), "error", {"type": "Error", **S, "message": "why"}),
]
OURS: list[tuple[Event, str]] = [
    (SessionTerminated(session_id="s1", end_reason="expired"), "session_terminated"),
    (RoomRecreated(session_id="s1", room_name="r"), "room_recreated"),
    (ParticipantRemoved(session_id="s1", identity="asr", reason="why"), "participant_removed"),
    (JobChanged(session_id="s1", job_id="s1-1", service_id="a", attempt=2, state="lost"), "job_lost"),
    (JobChanged(session_id="s1", job_id="s1-1", service_id="a", attempt=2, state="offered"), "job_offered"),
    (
        RecordingChanged(session_id="s1", recording_id="rec1", recording_status="recording"),
        "recording_started",
    ),
    (
        RecordingChanged(session_id="s1", recording_id="rec1", recording_status="failed", detail="why"),
        "recording_status_changed",
    ),
    (RecordingDeleted(session_id="s1", recording_id="rec1", cause="asked"), "recording_deleted"),
    (RecordingQuota(level="warning", used_bytes=9, quota_bytes=10), "recording_quota"),
    (MicroserviceRegistered(service_id="asr", worker_id="w"), "microservice_registered"),
    (MicroserviceUnavailable(service_id="asr", worker_id="w", reason="silent"), "microservice_unavailable"),
]


@pytest.mark.parametrize(("event", "name", "data"), REFERENCE)
def test_the_references_events_keep_name_and_payload(event: Event, name: str, data: dict[str, Any]) -> None:
    assert name_of(event) == name
    assert decode_data(encode_data(event)) == data


@pytest.mark.parametrize(("event", "name"), OURS)
def test_our_own_events_are_tagged_too(event: Event, name: str) -> None:
    assert name_of(event) == name
    assert decode_data(encode_data(event))["type"] == type(event).__name__


def test_there_is_an_example_of_every_event() -> None:
    assert {type(event) for event, *_ in (*REFERENCE, *OURS)} == set(get_args(Event))


def test_data_is_one_line_whatever_is_said() -> None:
    data = encode_data(Error(session_id="s1", message="two\nlines\r\n\u2028 and\x00 more"))
    assert not set(data) & {0x0A, 0x0D, 0x00}
    assert decode_data(data)["message"] == "two\nlines\r\n\u2028 and\x00 more"


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_no_event_has_a_place_for_a_token(kind: type[Event]) -> None:
    assert not [f for f in kind.__struct_fields__ if any(w in f for w in ("token", "jwt", "secret", "key"))]
