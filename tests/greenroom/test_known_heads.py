"""`greenroom verify --against`: a rolled-back folder is seen, what cannot be asked is one sentence."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from greenroom.errors import CommandError
from greenroom.known_heads import known_heads
from orchestrator.core.catalog import CatalogRecord
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import Checkpoint, RecordingStatus
from orchestrator.settings import Settings
from tests.fakes.recordings import RECORDING, make_key_ring, write_recording
from tests.greenroom.test_commands import assert_refused, greenroom
from tests.orchestrator.web.world import World
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.copied_checkpoints import CopiedCheckpoints
from vault.core.public_key import encode_public_key

KEY = make_key_ring().public_key


async def test_a_folder_that_was_rolled_back_is_bad_against_the_orchestrator(tmp_path: Path) -> None:
    keys = make_key_ring()
    manifest = write_recording(DirChunkStore(tmp_path), keys)
    (tmp_path / "signing.pub").write_text(encode_public_key(keys.public_key) + "\n")
    folder = tmp_path / RECORDING
    world = World(settings=Settings())
    closes = manifest.attempts
    await world.store.catalog.save(
        CatalogRecord(
            recording_id=RecordingId(RECORDING),
            session_id=SessionId("session-1"),
            status=RecordingStatus.COMPLETED,
            checkpoints=tuple(Checkpoint(attempt=c.attempt, size=c.size, root=c.root) for c in closes),
        )
    )
    command = ("verify", str(folder), "--public-key", "signing.pub")
    async with world.running():
        against = (*command, "--against", world.url)
        done = await asyncio.to_thread(greenroom, *against, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (folder / "manifest").unlink()
        last = sorted((folder / "1").glob("chunk-*"))[-1]
        last.unlink()
        for checkpoint in (folder / "1").glob("checkpoint-*"):
            checkpoint.unlink()
        alone = await asyncio.to_thread(greenroom, *command, cwd=tmp_path)
        assert alone.returncode == 3, alone.stdout  # the control: by itself the folder looks unfinished
        done = await asyncio.to_thread(greenroom, *against, cwd=tmp_path)
        assert done.returncode == 1, done.stdout
        assert f"1/{last.name}" in done.stdout
    done = await asyncio.to_thread(greenroom, *against, cwd=tmp_path)
    assert_refused(done, world.url, "does not answer")


async def test_what_the_orchestrator_does_not_know_is_said(tmp_path: Path) -> None:
    (tmp_path / RECORDING).mkdir()
    world = World(settings=Settings())
    async with world.running():
        with pytest.raises(CommandError, match="does not know this recording"):
            await asyncio.to_thread(known_heads, world.url, tmp_path / RECORDING, KEY)


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x", "http://", "http://u:secret@h"])
def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(CommandError, match="is no orchestrator; write http://HOST:PORT") as caught:
        known_heads(url, tmp_path / RECORDING, KEY)
    assert "secret" not in str(caught.value)


async def test_a_head_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORDING).mkdir()
    world = World(settings=Settings())
    await world.store.catalog.save(
        CatalogRecord(
            recording_id=RecordingId(RECORDING),
            session_id=SessionId("s"),
            status=RecordingStatus.COMPLETED,
            checkpoints=(Checkpoint(attempt=1, size=5, root="abcd"),),
        )
    )
    async with world.running():
        with pytest.raises(CommandError, match="a root of 2 bytes instead of 32"):
            await asyncio.to_thread(known_heads, world.url, tmp_path / RECORDING, KEY)


async def test_a_folder_that_was_rolled_back_is_seen_by_the_copies_of_its_checkpoints(tmp_path: Path) -> None:
    """Without an orchestrator; the control beside it: by itself the folder looks unfinished."""
    ring = KeyFiles.create_or_open(tmp_path / "keys")
    store = CopiedCheckpoints(
        DirChunkStore(tmp_path / "recordings"), DirChunkStore(tmp_path / "copies"), say=print
    )
    write_recording(store, ring)
    assert store.flush(10)
    folder = tmp_path / "recordings" / RECORDING
    command = ("verify", str(folder), "--key-dir", str(tmp_path / "keys"))
    against = (*command, "--against", str(tmp_path / "copies"))
    done = await asyncio.to_thread(greenroom, *against, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder / "manifest").unlink()
    last = sorted((folder / "1").glob("chunk-*"))[-1]
    last.unlink()
    for checkpoint in (folder / "1").glob("checkpoint-*"):
        checkpoint.unlink()
    assert (await asyncio.to_thread(greenroom, *command, cwd=tmp_path)).returncode == 3
    done = await asyncio.to_thread(greenroom, *against, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert f"1/{last.name}" in done.stdout


def test_a_place_without_copies_of_this_recording_is_said(tmp_path: Path) -> None:
    (tmp_path / RECORDING).mkdir()
    (tmp_path / "copies").mkdir()
    with pytest.raises(CommandError, match=f"copies has no checkpoint of recording {RECORDING}"):
        known_heads(str(tmp_path / "copies"), tmp_path / RECORDING, KEY)
