"""Kill -9 of the orchestrator while it deletes and while it takes an upload: finished, and nothing lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from greenroom.known_heads import known_heads
from tests.acceptance.system import System, system
from tests.fakes.kept_recordings import id_of
from tests.fakes.recordings import complete, open_writer, write_seconds
from tests.integration.servers import LiveKitFactory
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId, VerifyKey
from vault.verification import verify_recording

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]

RECORDINGS = "/api/v1/recordings"
CHUNKS = "/api/v1/storage/chunks"


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def until_known(running: System, recording_id: str, state: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def is_there() -> bool:
        async with running.http.get(f"{running.url}{RECORDINGS}/{recording_id}") as answer:
            found.update(await answer.json())
            return answer.status == 200 and found["state"] == state

    await running.until(is_there, within_s=30, what=f"{recording_id} to be {state}", seen=found)
    return found


async def delete(running: System, path: str) -> int:
    async with running.http.delete(f"{running.url}{RECORDINGS}/{path}") as answer:
        await answer.read()
        return answer.status


async def put(running: System, session_id: str, index: int, data: bytes) -> tuple[int, dict[str, Any]]:
    query = {"session_id": session_id, "recording_id": id_of(2), "index": str(index)}
    async with running.http.post(f"{running.url}{CHUNKS}", params=query, data=data) as answer:
        return answer.status, await answer.json()


async def test_deletions_and_uploads_survive_kills_and_the_catalog_its_loss(
    tmp_path: Path, fresh_livekit_server: LiveKitFactory
) -> None:
    keys = KeyFiles.create_or_open(tmp_path / "keys")
    chunks = DirChunkStore(tmp_path / "recordings")
    recording_id = RecordingId(id_of(1))
    writer = open_writer(chunks, keys, recording_id=recording_id)
    write_seconds(writer, seconds=100)
    complete(chunks, keys, writer.close(), recording_id=recording_id)
    folder = tmp_path / "recordings" / recording_id
    async with system(tmp_path, fresh_livekit_server) as running:
        await until_known(running, recording_id, "completed")  # entered, though no session here made it
        await _delete_with_a_kill(running, recording_id, folder)
        uploaded = await _upload_with_a_kill(running, keys.public_key)
        running.stop()
        for path in tmp_path.glob("greenroom.db*"):
            path.unlink()
        await running.start()
        again = await until_known(running, id_of(2), "completed")
        assert again["checkpoints"] == uploaded["checkpoints"]
        assert again["session_id"] == uploaded["session_id"]
        assert (await running.get(RECORDINGS))["total"] == 1  # what was deleted is not back


async def _delete_with_a_kill(running: System, recording_id: str, folder: Path) -> None:
    hold = {"by": "legal", "reason": "case 7"}
    await running.post(f"{RECORDINGS}/{recording_id}/legal-hold", hold)
    assert await delete(running, recording_id) == 423
    assert await delete(running, f"{recording_id}/legal-hold") == 200
    before = len(files_of(folder))
    deleting = asyncio.create_task(delete(running, recording_id))
    while len(files_of(folder)) > before * 0.7:
        await asyncio.sleep(0.002)
    running.kill()
    with pytest.raises(aiohttp.ClientError):
        await deleting
    left = files_of(folder)
    assert left  # it was killed in the middle of it
    assert not [path for path in left if "key-record" in path.name]  # and nothing is readable any more
    await running.start()
    entry = await until_known(running, recording_id, "deleted")
    assert files_of(folder) == []
    assert (entry["deletion"]["by"], entry["bytes"]) == ("caller", 0)
    assert entry["checkpoints"]


async def _upload_with_a_kill(running: System, key: VerifyKey) -> dict[str, Any]:
    session_id = (await running.create())["session_id"]
    assert (await put(running, session_id, 0, b"zero"))[0] == 201
    running.kill()
    await running.start()
    assert (await put(running, session_id, 0, b"zero"))[0] == 200
    assert (await put(running, session_id, 0, b"other"))[0] == 409
    status, body = await put(running, session_id, 1, b"one")
    assert (status, body["chunk_id"]) == (201, f"{id_of(2)}.2.1")
    closed = await running.post("/api/v1/storage/merkle", {"recording_id": id_of(2), "proof": 1})
    assert [attempt["attempt"] for attempt in closed["checkpoints"]] == [1, 2]
    folder = running.folder / "recordings" / id_of(2)
    heads = await asyncio.to_thread(known_heads, running.url, folder, key)
    report = await asyncio.to_thread(verify_recording, folder, key, against=heads)
    assert (report.exit_code, report.root) == (0, closed["root"])
    entry: dict[str, Any] = await running.get(f"{RECORDINGS}/{id_of(2)}")
    return entry
