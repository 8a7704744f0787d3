"""The routes of the catalog: pages, filters, and refusals in one sentence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.core.recording import RecordingStatus
from orchestrator.recording_settings import EncryptionSettings, RecordingSettings
from orchestrator.settings import Settings
from orchestrator.web import recording_routes
from tests.contracts.test_catalog_store import record
from tests.fakes.kept_recordings import id_of
from tests.fakes.recordings import write_recording
from tests.orchestrator.web.world import World, error_of
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId as StoredId

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


async def deleted(client: ClientSession, path: str) -> tuple[int, dict[str, Any]]:
    answer = await client.delete(f"{RECORDINGS}/{path}")
    body: dict[str, Any] = await answer.json()
    return answer.status, body


async def stored(tmp_path: Path, number: int = 1) -> tuple[World, str]:
    """Give a world over a real directory with one completed recording in it."""
    recording_id = id_of(number)
    keys = KeyFiles.create_or_open(tmp_path / "keys")
    chunks = tmp_path / "recordings"
    write_recording(DirChunkStore(chunks), keys, recording_id=StoredId(recording_id))
    world = World(
        settings=Settings(
            recording=RecordingSettings(chunk_store=str(chunks), retention_days=1),
            encryption=EncryptionSettings(key_dir=tmp_path / "keys"),
        )
    )
    entered = record(recording_id, status=RecordingStatus.COMPLETED)
    await world.store.catalog.save(replace(entered, store=chunks.as_uri()))
    return world, recording_id


async def test_a_recording_is_held_released_and_deleted(tmp_path: Path) -> None:
    world, recording_id = await stored(tmp_path)
    async with world.running() as client:
        hold = {"by": "legal", "reason": "case 7"}
        answer = await client.post(f"{RECORDINGS}/{recording_id}/legal-hold", json=hold)
        shown = await answer.json()
        assert answer.status == 200
        assert shown["legal_hold"] | hold == shown["legal_hold"]
        assert shown["retained_until"] is None
        status, body = await deleted(client, recording_id)
        assert (status, body["error"]) == (423, "LegalHold")
        assert body["details"] | hold == body["details"]
        assert body["details"]["since"] == shown["legal_hold"]["since"].replace(".000Z", "+00:00")
        status, body = await deleted(client, f"{recording_id}/legal-hold")
        assert (status, body["legal_hold"]) == (200, None)
        assert body["retained_until"] > body["ended_at"]
        following = asyncio.ensure_future(world.orchestrator.keeping.custodian.run())
        status, body = await deleted(client, recording_id)
        assert (status, body["state"], body["bytes"]) == (200, "deleted", 0)
        assert body["deletion"]["by"] == "caller"
        assert body["checkpoints"]
        assert not [path for path in (tmp_path / "recordings").rglob("*") if path.is_file()]
        status, body = await deleted(client, f"{recording_id}?purge=true")
        assert (status, body["purged"]) == (200, True)
        assert (await deleted(client, recording_id))[0] == 404
        following.cancel()
        await asyncio.wait({following})


async def test_a_deletion_that_lasts_is_202_and_one_of_what_runs_409(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_routes, "DELETED_WITHIN_S", 0.01)
    world, recording_id = await stored(tmp_path)
    async with world.running() as client:
        status, body = await deleted(client, recording_id)  # nobody carries it out here
        assert (status, body["state"]) == (202, "completed")
        assert body["deletion"]["done_at"] is None
        await world.create(client, record=True)
        runs = (await listed(client, "?state=starting"))["recordings"][0]["recording_id"]
        status, body = await deleted(client, runs)
        assert (status, body["error"]) == (409, "IllegalTransition")
        assert "stop it and wait until it is completed" in body["message"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"by": "", "reason": "x"}, "by: is empty"),
        ({"by": "x" * 257, "reason": "x"}, "by: has 257 characters; the limit is 256"),
        ({"by": "x", "reason": "x" * 1001}, "reason: has 1001 characters"),
        ({"by": "x", "reason": "a\nb"}, "reason: contains a control character"),
        ({"by": "x"}, "reason: is required"),
    ],
)
async def test_a_hold_without_a_name_and_a_reason_is_refused(
    client: ClientSession, body: dict[str, str], word: str
) -> None:
    answer = await error_of(await client.post(f"{RECORDINGS}/{id_of(1)}/legal-hold", json=body))
    assert answer["code"] == 422
    assert word in answer["message"]


async def test_what_cannot_be_understood_or_reached_is_said(tmp_path: Path) -> None:
    world, recording_id = await stored(tmp_path)
    (tmp_path / "keys" / "signing.pub").unlink()
    async with world.running() as client:
        status, body = await deleted(client, f"{recording_id}?purge=maybe")
        assert (status, body["error"]) == (422, "InvalidRequest")
        status, body = await deleted(client, recording_id)
        assert (status, body["error"]) == (503, "ChunkStoreUnavailable")
        assert "the keys ([encryption] key_dir) cannot be used" in body["message"]


async def test_metrics_tell_what_recordings_take(tmp_path: Path) -> None:
    world, _ = await stored(tmp_path)
    await world.orchestrator.keeping.quota.look()
    text = world.metrics.exposition().decode()
    used = sum(path.stat().st_size for path in (tmp_path / "recordings").rglob("*") if path.is_file())
    assert f"greenroom_recordings_bytes {float(used)}" in text
    assert 'greenroom_recordings{state="completed"} 1.0' in text
    assert "greenroom_recordings_quota_bytes" not in text
    world.orchestrator.keeping.close()
