"""Recorders with other keys are refused with one sentence, and a key that is too old is told loudly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from orchestrator.core.errors import OtherKeysError
from orchestrator.service.key_watch import KeyWatch
from tests.fakes.assembly import assembly
from tests.fakes.clock import FakeClock
from tests.fakes.pull_worker import hello
from vault.adapters.key_files import KeyFiles
from vault.core.public_key import derive_key_id
from vault.opening_keys import KeySettings, SharedKeys

DAY_S = 86400


def ids(ring: KeyFiles) -> dict[str, str]:
    return {"signing_key_id": derive_key_id(ring.public_key), "kek_id": ring.kek_id}


@pytest.fixture
async def watch(tmp_path: Path) -> AsyncIterator[KeyWatch]:
    made = KeyWatch(SharedKeys(KeySettings(key_dir=tmp_path / "keys")), rotation_days=90, clock=FakeClock())
    yield made
    made.close()


async def test_a_recorder_with_the_same_keys_is_welcome(watch: KeyWatch, tmp_path: Path) -> None:
    await watch.check_recorder({"kek_id": "0" * 16})  # there are no keys here yet: the recorder makes them
    ring = KeyFiles.create_or_open(tmp_path / "keys")
    await watch.check_recorder(ids(ring))
    await watch.check_recorder({})


async def test_a_recorder_that_still_wraps_with_the_key_before_is_welcome(
    watch: KeyWatch, tmp_path: Path
) -> None:
    ring = KeyFiles.create_or_open(tmp_path / "keys")
    before = ids(ring)
    await watch.check_recorder(before)
    ring.rotate(2_000_000_000)
    await watch.check_recorder(before)
    await watch.check_recorder(ids(ring))


@pytest.mark.parametrize(
    ("theirs", "is_told"), [("file:///ours", False), ("file:///theirs", True), ("", False)]
)
async def test_a_recorder_that_writes_elsewhere_is_told_of_and_welcome(
    tmp_path: Path, theirs: str, is_told: bool
) -> None:
    keys = SharedKeys(KeySettings(key_dir=tmp_path / "keys"))
    watch = KeyWatch(keys, rotation_days=90, clock=FakeClock(), store="file:///ours")
    with structlog.testing.capture_logs() as logged:
        await watch.check_recorder({"store": theirs})
    watch.close()
    assert [line["recorder"] for line in logged] == ([theirs] if is_told else [])
    assert all("CHUNK_STORAGE_PATH" in line["fix"] for line in logged)


async def test_a_recorder_with_other_keys_is_refused(watch: KeyWatch, tmp_path: Path) -> None:
    ours = ids(KeyFiles.create_or_open(tmp_path / "keys"))
    theirs = ids(KeyFiles.create_or_open(tmp_path / "other"))
    with pytest.raises(OtherKeysError) as raised:
        await watch.check_recorder(theirs)
    assert str(raised.value) == (
        f"recorder signs with key {theirs['signing_key_id']}, the orchestrator with "
        f"{ours['signing_key_id']}: give both the same keys"
    )
    with pytest.raises(OtherKeysError, match=f"wraps with key {theirs['kek_id']}, unknown here"):
        await watch.check_recorder(ours | {"kek_id": theirs["kek_id"]})


async def test_a_hello_of_a_recorder_with_other_keys_is_not_registered(tmp_path: Path) -> None:
    KeyFiles.create_or_open(tmp_path / "keys")
    theirs = ids(KeyFiles.create_or_open(tmp_path / "other"))
    async with assembly(encryption={"key_dir": tmp_path / "keys"}) as running:
        with pytest.raises(OtherKeysError, match="give both the same keys"):
            await hello(running, service="recorder", metadata=theirs)
        assert running.registry.all() == []
        await hello(running, service="asr", metadata=theirs)  # whose keys are not ours to compare
        assert len(running.registry.all()) == 1


async def test_the_age_of_the_key_is_told_and_an_old_one_loudly(tmp_path: Path) -> None:
    clock = FakeClock()
    ages: list[float] = []
    KeyFiles.create_or_open(tmp_path / "keys", now_s=int(clock.now().timestamp()))
    watch = KeyWatch(SharedKeys(KeySettings(key_dir=tmp_path / "keys")), rotation_days=90, clock=clock)
    watch.on_age = ages.append
    with structlog.testing.capture_logs() as logs:
        await watch._look()
        clock.advance(89 * DAY_S)
        await watch._look()
        assert logs == []
        clock.advance(2 * DAY_S)
        await watch._look()
    watch.close()
    assert [round(age) for age in ages] == [0, 89, 91]
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("key_is_old", "warning")
    assert "has been in use for 91 days" in entry["reason"]


async def test_keys_that_cannot_be_opened_keep_no_recorder_away(watch: KeyWatch, tmp_path: Path) -> None:
    ring = KeyFiles.create_or_open(tmp_path / "keys")
    (tmp_path / "keys" / f"kek-{ring.kek_id}.key").chmod(0o644)
    with structlog.testing.capture_logs() as logs:
        await watch.check_recorder(ids(ring))
        await watch._look()
    assert [entry["event"] for entry in logs] == ["recorder_keys_not_compared", "keys_not_seen"]
