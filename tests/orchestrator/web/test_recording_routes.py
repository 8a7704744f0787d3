"""The routes of the catalog: pages, filters, and refusals in one sentence."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientSession

from orchestrator.core.recording import RecordingStatus
from tests.contracts.test_catalog_store import record
from tests.orchestrator.web.world import World, error_of

RECORDINGS = "/api/v1/recordings"


async def listed(client: ClientSession, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"{RECORDINGS}{query}")
    body: dict[str, Any] = await answer.json()
    assert answer.status == 200, body
    return body


async def test_a_recording_of_a_session_is_listed_at_once(world: World, client: ClientSession) -> None:
    created = await world.create(client, record=True)
    page = await listed(client)
    (shown,) = page["recordings"]
    assert (shown["session_id"], shown["state"]) == (created["session_id"], "starting")
    assert (shown["ended_at"], shown["legal_hold"], shown["deletion"]) == (None, None, None)
    assert await (await client.get(f"{RECORDINGS}/{shown['recording_id']}")).json() == shown
    assert (page["total"], page["next_cursor"]) == (1, None)


async def test_the_tree_heads_of_all_attempts_are_told(world: World, client: ClientSession) -> None:
    await world.store.catalog.save(record("r1", status=RecordingStatus.COMPLETED, used=12))
    shown = await (await client.get(f"{RECORDINGS}/r1")).json()
    assert shown["checkpoints"] == [{"attempt": 1, "size": 5, "root": "ab"}]
    assert (shown["bytes"], shown["duration_s"], shown["mode"]) == (12, 1.5, "passthrough")
    assert shown["ended_at"].endswith("Z")


async def test_pages_and_filters(world: World, client: ClientSession) -> None:
    for number in range(5):
        status = RecordingStatus.FAILED if number == 2 else RecordingStatus.COMPLETED
        await world.store.catalog.save(record(f"r{number}", status=status, session=f"s{number % 2}"))
    first = await listed(client, "?limit=2")
    assert [one["recording_id"] for one in first["recordings"]] == ["r4", "r3"]
    rest = await listed(client, f"?limit=3&cursor={first['next_cursor']}")
    assert [one["recording_id"] for one in rest["recordings"]] == ["r2", "r1", "r0"]
    assert rest["total"] == 5
    filtered = await listed(client, "?session_id=s0&state=failed")
    assert [one["recording_id"] for one in filtered["recordings"]] == ["r2"]


async def test_what_is_not_there_or_meaningless_is_one_sentence(client: ClientSession) -> None:
    missing = await error_of(await client.get(f"{RECORDINGS}/nothing"))
    assert (missing["code"], missing["error"]) == (404, "RecordingNotFound")
    bad = await error_of(await client.get(f"{RECORDINGS}?state=lost"))
    assert bad["code"] == 422
    assert "'lost' is no state of a recording; choose of: idle, starting," in bad["message"]
    assert (await error_of(await client.get(f"{RECORDINGS}?limit=0")))["code"] == 422
