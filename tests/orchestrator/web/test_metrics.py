"""The numbers of `/metrics` are those of the things they count."""

from __future__ import annotations

from math import isnan

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.workers import NO
from tests.orchestrator.web.world import World, until


async def numbers(client: ClientSession) -> dict[str, float]:
    """Give every sample as `name{label="value",…}`."""
    answer = await client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    found = {}
    for family in text_string_to_metric_families(await answer.text()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_sessions_and_jobs_are_counted_by_state(world: World, client: ClientSession) -> None:
    await world.create(client)
    await world.create(client, required_services=["asr", "tts"])
    found = await numbers(client)
    assert found['greenroom_sessions{room_status="Ready"}'] == 1
    assert found['greenroom_sessions{room_status="WaitingForServices"}'] == 1
    assert found['greenroom_sessions{room_status="Active"}'] == 0
    assert found['greenroom_jobs{state="pending"}'] == 2
    assert found["greenroom_jobs_queued"] == 2
    assert found["greenroom_events_total"] == world.sessions.events_committed > 0


async def test_workers_are_counted_by_the_state_of_their_breaker(world: World, client: ClientSession) -> None:
    for name in ("asr", "tts"):
        body = {"service_id": name, "endpoint": f"http://127.0.0.1:9/{name}"}
        assert (await client.post("/api/v1/microservices/register", json=body)).status == 200
    world.caller.answers = [NO] * 3
    for _ in range(3):
        await world.create(client, required_services=["asr"])
    await until(lambda: not world.orchestrator.dispatch.busy)
    found = await numbers(client)
    assert found['greenroom_worker_breakers{state="open"}'] == 1
    assert found['greenroom_worker_breakers{state="closed"}'] == 1
    assert found['greenroom_worker_breakers{state="half_open"}'] == 0


async def test_requests_are_counted_by_route_not_by_path(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    await client.get(f"/api/v1/sessions/{session_id}")
    await client.get("/nothing/1")
    await client.get("/nothing/2")
    found = await numbers(client)
    route = "/api/v1/sessions/{session_id}"
    count = "greenroom_http_request_seconds_count"
    assert found[f'{count}{{method="GET",route="{route}",status="200"}}'] == 1
    assert found[f'{count}{{method="GET",route="none",status="404"}}'] == 2


async def test_calls_of_livekit_are_counted_with_their_outcome(world: World, client: ClientSession) -> None:
    await world.create(client)
    world.rooms.down = True
    await client.post("/api/v1/create-session", json={"user_identity": "a"})
    found = await numbers(client)
    assert found['greenroom_livekit_calls_total{call="create_room",outcome="ok"}'] == 1
    assert found['greenroom_livekit_calls_total{call="create_room",outcome="unavailable"}'] == 1


async def test_streams_are_a_number_of_now(world: World, client: ClientSession) -> None:
    async with client.get("/api/v1/events"):
        assert (await numbers(client))["greenroom_event_readers"] == 1
    world.feed.end_readers()
    await until(lambda: b"greenroom_event_readers 0.0" in world.metrics.exposition())


@pytest.mark.parametrize("kind", ["CreateRoom", "DeleteRoom"])
async def test_postponed_commands_are_counted(world: World, client: ClientSession, kind: str) -> None:
    world.orchestrator.commands.on_failure(kind)
    found = await numbers(client)
    assert found[f'greenroom_commands_postponed_total{{command="{kind}"}}'] == 1


async def test_the_age_of_the_key_that_wraps_is_told(world: World, client: ClientSession) -> None:
    assert isnan((await numbers(client))["greenroom_kek_age_days"]), "there are no keys yet"
    world.orchestrator.keys.on_age(91.5)
    assert (await numbers(client))["greenroom_kek_age_days"] == 91.5
