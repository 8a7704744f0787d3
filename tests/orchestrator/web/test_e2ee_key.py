"""The key of an encrypted room goes to the recorder sealed, and comes back to nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from orchestrator.adapters.session_json import encode_session
from orchestrator.core.ids import SessionId
from orchestrator.recording_settings import EncryptionSettings
from orchestrator.settings import Settings
from tests.orchestrator.web.world import World, error_of
from vault.adapters.key_files import KeyFiles
from vault.core.ids import parse_recording_id
from vault.sealed_text import open_text

START = "/api/v1/record/start"
SECRET = "correct horse battery staple"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def world(keys: Path) -> World:
    return World(settings=Settings(encryption=EncryptionSettings(key_dir=keys)))


@pytest.fixture
async def client(world: World) -> AsyncIterator[ClientSession]:
    async with world.running() as http:
        yield http


async def started(client: ClientSession, session_id: str, **fields: str) -> tuple[int, str]:
    body = {"session_id": session_id, "e2ee_key": SECRET, **fields}
    answer = await client.post(START, json=body)
    return answer.status, await answer.text()


async def test_it_is_kept_sealed_and_never_returned(world: World, client: ClientSession, keys: Path) -> None:
    ring = KeyFiles.create_or_open(keys)
    session_id = (await world.create(client))["session_id"]
    status, answer = await started(client, session_id)
    assert status == 200
    shown = await (await client.get(f"/api/v1/record/status/{session_id}")).text()
    session = await (await client.get(f"/api/v1/sessions/{session_id}")).text()
    stored = await world.sessions.get(SessionId(session_id))
    assert stored.recording is not None
    for text in (answer, shown, session, encode_session(stored).decode(), repr(stored)):
        assert SECRET not in text
    for text in (answer, shown, session, repr(stored)):
        assert "wrapped_key" not in text
    recording_id = parse_recording_id(stored.recording.recording_id)
    assert open_text(stored.recording.e2ee, ring, recording_id=recording_id) == SECRET


async def test_once_the_recording_is_over_it_is_not_kept(
    world: World, client: ClientSession, keys: Path
) -> None:
    KeyFiles.create_or_open(keys)
    session_id = (await world.create(client))["session_id"]
    await started(client, session_id)
    await client.post("/api/v1/record/stop", json={"session_id": session_id})
    stored = await world.sessions.get(SessionId(session_id))
    assert stored.recording is not None
    assert (stored.recording.status.value, stored.recording.e2ee) == ("failed", "")


async def test_a_recording_that_runs_without_one_is_not_given_one(
    world: World, client: ClientSession, keys: Path
) -> None:
    KeyFiles.create_or_open(keys)
    session_id = (await world.create(client))["session_id"]
    await client.post(START, json={"session_id": session_id})
    status, answer = await started(client, session_id)
    assert status == 409
    assert "without an e2ee_key; stop that first" in answer


async def test_without_keys_to_seal_it_nothing_is_started(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    status, answer = await started(client, session_id)
    assert status == 503
    assert "the keys ([encryption] key_dir) cannot be used" in answer
    assert SECRET not in answer
    assert (await world.sessions.get(SessionId(session_id))).recording is None


@pytest.mark.parametrize(("key", "size"), [("", 0), ("s3cret" * 200, 1200)])
async def test_one_of_the_wrong_length_is_422_and_not_repeated(
    world: World, client: ClientSession, key: str, size: int
) -> None:
    session_id = (await world.create(client))["session_id"]
    answer = await client.post(START, json={"session_id": session_id, "e2ee_key": key})
    (problem,) = (await error_of(answer))["details"]["fields"]
    assert answer.status == 422
    assert problem == {"field": "e2ee_key", "message": f"has {size} bytes; give 1 to 1024, or leave it out"}


async def test_a_repeat_is_not_known_by_it(world: World, client: ClientSession, keys: Path) -> None:
    KeyFiles.create_or_open(keys)
    session_id = (await world.create(client))["session_id"]
    headers = {"Idempotency-Key": "one"}
    ids = []
    for key in (SECRET, "another"):
        body = {"session_id": session_id, "e2ee_key": key}
        ids.append((await (await client.post(START, json=body, headers=headers)).json())["recording_id"])
    assert ids[0] == ids[1]
    body = {"session_id": session_id, "e2ee_key": SECRET, "mode": "audio"}
    assert (await client.post(START, json=body, headers=headers)).status == 422
