"""The routes of uploads: binary bodies in and out, idempotent, bounded, proved, good to both verifiers."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from examples.verify_recording import Verification
from orchestrator.recording_settings import EncryptionSettings, RecordingSettings
from orchestrator.settings import Settings
from tests.fakes.kept_recordings import id_of
from tests.orchestrator.web.world import World, error_of
from vault.adapters.key_files import read_public_key
from vault.uploads import MAX_PART_BYTES
from vault.verification import verify_recording

CHUNKS = "/api/v1/storage/chunks"
MERKLE = "/api/v1/storage/merkle"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(
        settings=Settings(
            recording=RecordingSettings(chunk_store=str(tmp_path / "recordings")),
            encryption=EncryptionSettings(key_dir=tmp_path / "keys"),
        )
    )


@pytest.fixture
async def client(world: World) -> AsyncIterator[ClientSession]:
    async with world.running() as client:
        yield client


async def put(
    client: ClientSession, session_id: str, index: int | str, data: bytes, number: int = 1, **headers: str
) -> tuple[int, dict[str, Any]]:
    query = {"session_id": session_id, "recording_id": id_of(number), "index": str(index)}
    answer = await client.post(CHUNKS, params=query, data=io.BytesIO(data), headers=headers)
    body: dict[str, Any] = await answer.json()
    return answer.status, body


async def test_chunks_go_in_come_out_and_are_proved(
    world: World, client: ClientSession, tmp_path: Path
) -> None:
    session_id = (await world.create(client))["session_id"]
    texts = [os.urandom(1000), b"\x00\xff", os.urandom(MAX_PART_BYTES)]
    ids = []
    for index, text in enumerate(texts):
        status, body = await put(client, session_id, index, text)
        assert (status, body["index"], body["size_bytes"]) == (201, index, len(text))
        assert body["checkpoints"][0]["size"] == index + 2
        assert await put(client, session_id, index, text) == (200, body)
        ids.append(body["chunk_id"])
    assert ids == [f"{id_of(1)}.1.{leaf}" for leaf in (1, 2, 3)]
    for chunk_id, text in zip(ids, texts, strict=True):
        answer = await client.get(f"{CHUNKS}/{chunk_id}")
        assert (answer.status, answer.content_type) == (200, "application/octet-stream")
        assert await answer.read() == text
    answer = await client.post(MERKLE, json={"recording_id": id_of(1), "proof": 2})
    closed = await answer.json()
    assert answer.status == 200, closed
    assert closed["size"] == 5  # what begins the track, three chunks, what ends it
    (checkpoint,) = closed["checkpoints"]
    assert checkpoint["note"].startswith(f"greenroom/recording/{id_of(1)}/1\n5\n")
    assert closed["proof"]["chunk_id"] == ids[1]
    assert closed["proof"]["tlog_proof"].startswith("c2sp.org/tlog-proof@v1")
    again = await (await client.post(MERKLE, json={"recording_id": id_of(1)})).json()
    assert again == {key: value for key, value in closed.items() if key != "proof"}
    shown = await (await client.get(f"/api/v1/recordings/{id_of(1)}")).json()
    assert (shown["state"], shown["mode"], shown["session_id"]) == ("completed", "upload", session_id)
    key = read_public_key(tmp_path / "keys" / "signing.pub")
    folder = tmp_path / "recordings" / id_of(1)
    report = await asyncio.to_thread(verify_recording, folder, key)
    assert (report.exit_code, report.root) == (0, closed["root"])
    second = Verification(folder, key, [(1, 5, bytes.fromhex(checkpoint["root"]))])
    assert (second.exit_code, second.bad) == (0, [])


async def test_other_bytes_and_a_closed_upload_are_409(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    await put(client, session_id, 0, b"zero")
    status, body = await put(client, session_id, 0, b"other")
    assert (status, body["error"]) == (409, "IllegalTransition")
    assert "index 0 of upload" in body["message"]
    await client.post(MERKLE, json={"recording_id": id_of(1)})
    assert (await put(client, session_id, 1, b"late"))[0] == 409


async def test_an_upload_gets_an_id_when_it_has_none(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    answer = await client.post(CHUNKS, params={"session_id": session_id, "index": "0"}, data=b"x")
    body = await answer.json()
    assert body["chunk_id"] == f"{body['recording_id']}.1.1"


async def test_a_chunk_over_the_limit_is_413_whatever_it_says_of_itself(
    world: World, client: ClientSession
) -> None:
    session_id = (await world.create(client))["session_id"]
    status, body = await put(client, session_id, 0, bytes(MAX_PART_BYTES + 1))
    assert (status, body["error"]) == (413, "PayloadTooLarge")
    status, _ = await put(client, session_id, 0, bytes(MAX_PART_BYTES + 1), Expect="100-continue")
    assert status == 413

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield bytes(1024 * 1024)

    query = {"session_id": session_id, "recording_id": id_of(1), "index": "0"}
    assert (await client.post(CHUNKS, params=query, data=parts())).status == 413
    status, _ = await put(client, session_id, 0, bytes(MAX_PART_BYTES), Expect="100-continue")
    assert status == 201  # other routes take half of it


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"index": "0"}, "session_id: is required"),
        ({"session_id": "s", "index": "-1"}, "index: '-1' is no number from 0 to 99999"),
        ({"session_id": "s", "index": "100000"}, "is no number"),
        ({"session_id": "s"}, "index: '' is no number"),
        (
            {"session_id": "s", "index": "0", "recording_id": "../x"},
            "'../x' is no lowercase UUID",
        ),
    ],
)
async def test_what_is_missing_or_meaningless_is_422(
    client: ClientSession, query: dict[str, str], word: str
) -> None:
    error = await error_of(await client.post(CHUNKS, params=query, data=b"x"))
    assert error["code"] == 422
    assert word in error["message"]


async def test_nothing_is_stored_of_an_empty_body_or_for_an_unknown_session(
    world: World, client: ClientSession, tmp_path: Path
) -> None:
    session_id = (await world.create(client))["session_id"]
    assert (await put(client, session_id, 0, b""))[0] == 422
    status, body = await put(client, "nobody", 0, b"x")
    assert (status, body["error"]) == (404, "SessionNotFound")
    assert not (tmp_path / "recordings").exists()


@pytest.mark.parametrize("name", ["nothing", f"{id_of(1)}.1.0", f"{id_of(1)}.0.1", f"{id_of(1)}.1.9"])
async def test_a_chunk_that_is_not_there_is_404(client: ClientSession, name: str) -> None:
    assert (await error_of(await client.get(f"{CHUNKS}/{name}")))["code"] == 404


async def test_no_byte_of_a_damaged_chunk_leaves(world: World, client: ClientSession, tmp_path: Path) -> None:
    session_id = (await world.create(client))["session_id"]
    _, body = await put(client, session_id, 0, b"these words")
    path = tmp_path / "recordings" / id_of(1) / "1" / "chunk-0000000001"
    stored = bytearray(path.read_bytes())
    stored[110] ^= 1
    path.chmod(0o600)
    path.write_bytes(stored)
    error = await error_of(await client.get(f"{CHUNKS}/{body['chunk_id']}"))
    assert (error["code"], error["error"]) == (502, "RecordingDamaged")
    assert "1/chunk-0000000001" in error["message"]


async def test_what_merkle_refuses(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    await put(client, session_id, 0, b"x")
    for body, code in (
        ({"recording_id": "x"}, 422),
        ({"recording_id": id_of(2)}, 404),
        ({"recording_id": id_of(1), "proof": 3}, 422),
        ({"recording_id": id_of(1), "proof": -1}, 422),
    ):
        assert (await error_of(await client.post(MERKLE, json=body)))["code"] == code
