"""The routes of recordings: idempotent, refused with a sentence, and telling what was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.core.ids import SessionId
from orchestrator.core.recording import RecordingStatus
from orchestrator.core.session import Session
from orchestrator.web.record_routes import status_view
from tests.orchestrator.web.world import World, error_of

RECORD = "/api/v1/record"


async def asked(client: ClientSession, op: str, session_id: str, **fields: Any) -> dict[str, Any]:
    answer = await client.post(f"{RECORD}/{op}", json={"session_id": session_id, **fields})
    body: dict[str, Any] = await answer.json()
    assert answer.status == 200, body
    return body


async def test_a_session_is_recorded_on_demand_and_only_once(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    idle = await (await client.get(f"{RECORD}/status/{session_id}")).json()
    assert (idle["recording_status"], idle["recording_id"], idle["statistics"]) == ("idle", None, {})
    first = await asked(client, "start", session_id, mode="tracks")
    assert (first["recording_status"], first["mode"], first["pending"]) == ("starting", "tracks", None)
    assert await asked(client, "start", session_id) == first
    shown = await (await client.get(f"/api/v1/sessions/{session_id}")).json()
    assert shown["recording_status"] == "starting"
    assert shown["recording"]["recording_id"] == first["recording_id"]
    assert [job["service_id"] for job in shown["jobs"]] == ["recorder"]


async def test_pause_and_resume_and_a_stop_before_a_recorder_came(
    world: World, client: ClientSession
) -> None:
    session_id = (await world.create(client, record=True))["session_id"]
    assert (await asked(client, "pause", session_id))["pending"] == "pause"
    assert (await asked(client, "pause", session_id))["pending"] == "pause"
    assert (await asked(client, "resume", session_id))["pending"] == "resume"
    stopped = await asked(client, "stop", session_id)
    assert (stopped["recording_status"], stopped["pending"]) == ("failed", None)
    assert stopped["detail"] == "stopped before a recorder joined"
    assert await asked(client, "stop", session_id) == stopped
    again = await asked(client, "start", session_id)
    assert again["recording_id"] != stopped["recording_id"]
    assert [e["recording_id"] for e in again["earlier_recordings"]] == [stopped["recording_id"]]


@pytest.mark.parametrize("op", ["stop", "pause", "resume"])
async def test_what_the_state_forbids_is_409_in_one_sentence(
    world: World, client: ClientSession, op: str
) -> None:
    session_id = (await world.create(client))["session_id"]
    answer = await client.post(f"{RECORD}/{op}", json={"session_id": session_id})
    body = await error_of(answer)
    assert (answer.status, body["error"]) == (409, "IllegalTransition")
    assert body["message"] == f"session {session_id} is not being recorded; start a recording first"


async def test_an_ended_session_is_not_recorded(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    await client.post(f"/api/v1/sessions/{session_id}/terminate")
    answer = await client.post(f"{RECORD}/start", json={"session_id": session_id})
    assert (answer.status, (await error_of(answer))["error"]) == (409, "IllegalTransition")


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (
            {"session_id": "S", "mode": "raw"},
            "mode",
            "'raw' is no mode; give one of passthrough, tracks, composite, audio",
        ),
        ({"session_id": "S", "quality": "best"}, "quality", "'best' is no quality; give one of low, medium"),
        ({"session_id": "S", "layout": "heap"}, "layout", "'heap' is no layout; give one of grid, speaker"),
        ({"session_id": "S", "format": "avi"}, "format", "'avi' is no format; give one of mp4, webm, mkv"),
        ({"session_id": "S", "mode": 1}, "mode", "expected"),
        ({}, "session_id", "is required"),
        ({"session_id": "S", "fast": True}, "", "fast"),
    ],
)
async def test_what_cannot_be_is_422_and_starts_nothing(
    world: World, client: ClientSession, body: dict[str, Any], field: str, words: str
) -> None:
    session_id = (await world.create(client))["session_id"]
    sent = {**body, **({"session_id": session_id} if "session_id" in body else {})}
    answer = await client.post(f"{RECORD}/start", json=sent)
    (problem,) = (await error_of(answer))["details"]["fields"]
    assert answer.status == 422
    assert problem["field"] == field
    assert words in problem["message"]
    assert (await world.sessions.get(SessionId(session_id))).recording is None


async def test_an_unknown_session_is_404(world: World, client: ClientSession) -> None:
    for op in ("start", "stop", "pause", "resume"):
        assert (await client.post(f"{RECORD}/{op}", json={"session_id": "nobody"})).status == 404
    assert (await client.get(f"{RECORD}/status/nobody")).status == 404


async def test_a_repeat_under_a_key_starts_no_second_recording(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    headers, body = {"Idempotency-Key": "one"}, {"session_id": session_id}
    first = await (await client.post(f"{RECORD}/start", json=body, headers=headers)).json()
    await asked(client, "stop", session_id)
    again = await (await client.post(f"{RECORD}/start", json=body, headers=headers)).json()
    assert (again["recording_id"], again["recording_status"]) == (first["recording_id"], "failed")
    other = await client.post(f"{RECORD}/start", json={**body, "mode": "tracks"}, headers=headers)
    assert other.status == 422
    stopping = await client.post(f"{RECORD}/stop", json=body, headers=headers)
    assert stopping.status == 200  # a key belongs to its route


async def test_a_refused_request_binds_no_key(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    headers, body = {"Idempotency-Key": "one"}, {"session_id": session_id}
    assert (await client.post(f"{RECORD}/stop", json=body, headers=headers)).status == 409
    await asked(client, "start", session_id)
    answer = await client.post(f"{RECORD}/stop", json=body, headers=headers)
    assert (await answer.json())["recording_status"] == "failed"


async def test_the_status_adds_up_what_all_attempts_measured(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client, record=True))["session_id"]
    session: Session = await world.sessions.get(SessionId(session_id))
    assert session.recording is not None
    recording = replace(
        session.recording,
        status=RecordingStatus.RECORDING,
        earlier_stats={"duration_s": 2.0, "bytes": 1000.0, "tracks": 2.0},
        stats={"duration_s": 2.0, "bytes": 3000.0, "tracks": 2.0},
    )
    view = status_view(replace(session, recording=recording))
    assert view["statistics"] == {"duration_s": 4.0, "bytes": 4000.0, "tracks": 2.0, "bitrate_bps": 8000.0}
