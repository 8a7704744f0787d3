"""Reading what the store does not have: unknown, deleted, or in another store, each with its own answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession

from orchestrator.core.catalog import Custody, Deletion
from orchestrator.core.recording import RecordingStatus
from tests.contracts.test_catalog_store import record
from tests.fakes.clock import START
from tests.fakes.kept_recordings import id_of
from tests.orchestrator.web.test_recording_routes import stored
from tests.orchestrator.web.world import World, error_of

COMPLETED = record(id_of(1), status=RecordingStatus.COMPLETED)


async def refusal(
    client: ClientSession, number: int = 1, route: str = "tracks", path: str | None = None
) -> tuple[int, str]:
    error = await error_of(await client.get(path or f"/api/v1/recordings/{id_of(number)}/{route}"))
    return error["code"], error["message"]


@pytest.fixture
async def elsewhere(tmp_path: Path) -> World:
    """A world with its keys and one recording that is there, and none of those that the tests ask for."""
    world, _ = await stored(tmp_path, number=9)
    return world


async def test_what_nobody_knows_is_404(elsewhere: World) -> None:
    async with elsewhere.running() as client:
        assert (await refusal(client))[0] == 404


@pytest.mark.parametrize("route", ["tracks", "verify", "proof/1.0", "hls/master.m3u8"])
async def test_what_lies_in_another_store_is_503_with_its_name(elsewhere: World, route: str) -> None:
    await elsewhere.store.catalog.save(replace(COMPLETED, store="s3://elsewhere/recordings"))
    async with elsewhere.running() as client:
        code, sentence = await refusal(client, route=route)
        assert code == 503
        assert "lies in s3://elsewhere/recordings, and this orchestrator reads file://" in sentence


@pytest.mark.parametrize("path", [None, f"/api/v1/storage/chunks/{id_of(1)}.1.0"])
async def test_what_was_deleted_is_410_with_when_and_why(elsewhere: World, path: str | None) -> None:
    await elsewhere.store.catalog.save(COMPLETED)
    deletion = Deletion(cause="retention", by="retention", asked_at=START, done_at=START)
    await elsewhere.store.catalog.save_custody(COMPLETED.recording_id, Custody(deletion=deletion, version=1))
    async with elsewhere.running() as client:
        code, sentence = await refusal(client, path=path)
        assert (code, sentence) == (
            410,
            f"recording {id_of(1)} was deleted at 2026-11-21T12:00:00.000Z (retention)",
        )


@pytest.mark.parametrize("says_where", [True, False])
async def test_what_should_be_here_and_is_not_stays_404(elsewhere: World, says_where: bool) -> None:
    store = elsewhere.orchestrator.keeping.stored.url if says_where else ""
    await elsewhere.store.catalog.save(replace(COMPLETED, store=store))
    async with elsewhere.running() as client:
        assert (await refusal(client))[0] == 404
