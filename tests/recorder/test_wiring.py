"""What the recorder's program is made of, and its exit codes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from greenroom.free_ports import LOOPBACK, free_port
from recorder.core.errors import SettingsError
from recorder.settings import RecorderSettings
from recorder.wiring import build
from sdk.testing import FakeOrchestrator
from tests.fakes.odd_s3_server import odd_s3_server
from tests.fakes.recordings import MILLISECONDS, PROLOGUE, RECORDING, open_writer
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles, read_public_key
from vault.core.public_key import derive_key_id


def settings(folder: Path, url: str = "http://127.0.0.1:1", store: str = "") -> RecorderSettings:
    values: dict[str, Any] = {
        "GREENROOM_URL": url,
        "CHUNK_STORAGE_PATH": store or str(folder / "recordings"),
        "SPOOL_PATH": folder / "spool",
        "GREENROOM_KEY_DIR": folder / "keys",
    }
    return RecorderSettings(**values)


async def test_the_recorder_offers_itself_outside_of_the_default_services_and_names_its_keys(
    tmp_path: Path,
) -> None:
    async with FakeOrchestrator() as orchestrator, build(settings(tmp_path, orchestrator.url)):
        hello = await orchestrator.hello()
    assert (hello.service_id, hello.in_default, hello.capacity) == ("recorder", False, 4)
    (kek,) = (tmp_path / "keys").glob("kek-*.key")
    assert kek.name == f"kek-{hello.metadata['kek_id']}.key"
    assert hello.metadata["signing_key_id"] == derive_key_id(read_public_key(tmp_path / "keys/signing.pub"))
    assert hello.metadata["store"] == (tmp_path / "recordings").as_uri()


def test_a_chunk_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("a file")
    with pytest.raises(SettingsError, match=r"CHUNK_STORAGE_PATH .*recordings cannot be written"):
        build(settings(tmp_path))


@pytest.mark.parametrize(
    ("copies", "sentence"),
    [
        ("recordings", "it is CHUNK_STORAGE_PATH; name another place"),
        ("keys/signing.pub", "cannot be written"),
    ],
)
def test_a_place_for_copies_that_cannot_be_one_is_named(tmp_path: Path, copies: str, sentence: str) -> None:
    KeyFiles.create_or_open(tmp_path / "keys")
    given = settings(tmp_path).model_copy(update={"checkpoint_copies": str(tmp_path / copies)})
    with pytest.raises(SettingsError, match=f"MERKLE_STORAGE_PATH cannot be used: .*{sentence}"):
        build(given)


def test_a_bucket_that_takes_no_conditional_puts_is_named(tmp_path: Path, s3_credentials: None) -> None:
    with odd_s3_server(200) as location, pytest.raises(SettingsError, match=r"CHUNK_STORAGE_PATH .*If-None"):
        build(settings(tmp_path, store=location.url))


def test_a_bucket_that_does_not_answer_yet_is_no_reason_to_end(tmp_path: Path, s3_credentials: None) -> None:
    build(settings(tmp_path, store=f"s3://bucket?endpoint=http://{LOOPBACK}:{free_port()}"))


def test_a_spool_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(SettingsError, match="SPOOL_PATH cannot be used"):
        build(settings(tmp_path))


def test_what_an_earlier_recorder_left_in_the_spool_is_put_at_the_start(tmp_path: Path) -> None:
    store = DirChunkStore(tmp_path / "recordings")
    writer = open_writer(store, KeyFiles.create_or_open(tmp_path / "keys"))
    sealed = writer.seal_init(1, PROLOGUE, b"init", time_base=MILLISECONDS, offset_us=0)
    DirChunkStore(tmp_path / "spool").put(RECORDING, sealed.name, sealed.data)
    build(settings(tmp_path))
    deadline = time.monotonic() + 10
    while not (tmp_path / "recordings" / RECORDING / sealed.name).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_key_folder_with_a_weak_key_is_named(tmp_path: Path) -> None:
    build(settings(tmp_path))
    (kek,) = (tmp_path / "keys").glob("kek-*.key")
    kek.chmod(0o644)
    with pytest.raises(SettingsError, match="GREENROOM_KEY_DIR cannot be used"):
        build(settings(tmp_path))


def environment(folder: Path, url: str) -> dict[str, str]:
    own = {
        "GREENROOM_URL": url,
        "CHUNK_STORAGE_PATH": str(folder / "recordings"),
        "SPOOL_PATH": str(folder / "spool"),
        "GREENROOM_KEY_DIR": str(folder / "keys"),
    }
    return {**os.environ, **own}


def test_a_wrong_setting_ends_the_program_with_one_sentence_and_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recorder"],
        env=environment(tmp_path, "nonsense"),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stderr == "greenroom recorder: GREENROOM_URL cannot be used: must be http(s)://host[:port]\n"


async def test_sigterm_ends_an_idle_recorder_soon_with_code_0(tmp_path: Path) -> None:
    async with FakeOrchestrator() as orchestrator:
        process = subprocess.Popen(
            [sys.executable, "-m", "recorder"], env=environment(tmp_path, orchestrator.url)
        )
        try:
            deadline = time.monotonic() + 20  # loading the media libraries takes seconds on a busy machine
            while not orchestrator.hellos:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
        finally:
            process.kill()
            process.wait()
