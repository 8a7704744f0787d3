"""The spool in a folder: what a killed recorder left, locks of the living, the budget over restarts."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.adapters.dir_spool import DirSpool
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from vault.errors import StoreError, StoreSetupError

NAME = "1/chunk-0000000000"
HOLDER = """
import sys
from pathlib import Path
from recorder.adapters.dir_spool import DirSpool
spool = DirSpool(Path(sys.argv[1]), budget_bytes=1000, recordings=1)
share = spool.claim(sys.argv[2], 1)
assert share.keep(sys.argv[3], b"sealed")
print("kept", flush=True)
sys.stdin.read()
"""


def open_spool(path: Path, budget_bytes: int = 1_000, recordings: int = 1) -> DirSpool:
    return DirSpool(path, budget_bytes=budget_bytes, recordings=recordings)


def test_the_spool_of_a_killed_recorder_is_free_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), RECORDING, NAME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "kept\n"
            spool = open_spool(tmp_path)
            assert spool.left_behind() == [(RECORDING, 1)]
            assert spool.claim(RECORDING, 1) is None
        finally:
            holder.kill()
    share = spool.claim(RECORDING, 1)
    assert share is not None
    assert share.read(NAME) == b"sealed"


def test_what_is_left_counts_against_the_budget_of_the_next_start(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    left = spool.claim(RECORDING, 1)
    assert left is not None
    assert left.keep(NAME, bytes(900))
    left.release()
    spool = open_spool(tmp_path)
    share = spool.claim(OTHER_RECORDING, 1)
    assert share is not None
    assert not share.keep(NAME, bytes(200))
    again = spool.claim(RECORDING, 1)
    assert again is not None
    again.drop(NAME)
    assert share.keep(NAME, bytes(200))


def test_nothing_stays_of_an_attempt_that_is_stored(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    share = spool.claim(RECORDING, 1)
    assert share is not None
    share.keep(NAME, b"sealed")
    share.drop(NAME)
    share.release()
    assert [entry.name for entry in tmp_path.rglob("*")] == [".locks"]


def test_what_a_cut_short_keep_left_is_named_so_that_it_can_be_dropped(tmp_path: Path) -> None:
    (tmp_path / RECORDING / "1").mkdir(parents=True)
    (tmp_path / RECORDING / f"{NAME}.0123456789abcdef.tmp").write_bytes(b"half")
    spool = open_spool(tmp_path)
    assert spool.left_behind() == [(RECORDING, 1)]
    share = spool.claim(RECORDING, 1)
    assert share is not None
    for name in share.names():
        share.drop(name)
    share.release()
    assert spool.left_behind() == []


@pytest.mark.parametrize(("number", "is_full"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_full_disk_is_a_full_share_and_a_broken_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_full: bool
) -> None:
    share = open_spool(tmp_path).claim(RECORDING, 1)
    assert share is not None

    def link(source: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    if is_full:
        assert not share.keep(NAME, bytes(1_000))
    else:
        with pytest.raises(StoreError):
            share.keep(NAME, bytes(1_000))
    monkeypatch.undo()
    assert share.keep(NAME, bytes(1_000)), "what was refused does not count"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreSetupError, match="name another"):
        open_spool(tmp_path / "file" / "spool")
