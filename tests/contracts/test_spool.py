"""What every spool promises: one holder for each attempt, a share that is not exceeded, files that last."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.adapters.dir_spool import DirSpool
from recorder.ports import Spool, SpoolShare
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.fakes.spools import MemorySpool
from vault.errors import FileMissingError

NAME = "1/chunk-0000000000"
SHARE = 1_000


@pytest.fixture(params=["memory", "dir"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Spool:
    if request.param == "memory":
        return MemorySpool(SHARE)
    return DirSpool(tmp_path / "spool", budget_bytes=4 * SHARE, recordings=4)


def claim(spool: Spool, attempt: int = 1) -> SpoolShare:
    share = spool.claim(RECORDING, attempt)
    assert share is not None
    return share


def test_what_is_kept_is_read_and_named_until_it_is_dropped(spool: Spool) -> None:
    share = claim(spool)
    assert share.keep("1/chunk-0000000001", b"second")
    assert share.keep(NAME, b"first")
    assert share.names() == [NAME, "1/chunk-0000000001"]
    assert share.read(NAME) == b"first"
    share.drop(NAME)
    share.drop(NAME)
    with pytest.raises(FileMissingError):
        share.read(NAME)
    assert share.names() == ["1/chunk-0000000001"]


def test_an_attempt_has_one_holder_and_others_are_free(spool: Spool) -> None:
    share = claim(spool)
    assert spool.claim(RECORDING, 1) is None
    claim(spool, attempt=2).release()
    share.release()
    claim(spool).release()


def test_what_is_left_is_found_by_the_next_holder(spool: Spool) -> None:
    share = claim(spool)
    assert spool.left_behind() == []
    share.keep(NAME, b"sealed")
    assert spool.left_behind() == [(RECORDING, 1)]
    share.release()
    again = claim(spool)
    assert (again.names(), again.read(NAME)) == ([NAME], b"sealed")
    again.drop(NAME)
    again.release()
    assert spool.left_behind() == []


def test_a_share_that_is_full_refuses_and_leaves_others_theirs(spool: Spool) -> None:
    share = claim(spool)
    assert share.keep(NAME, bytes(SHARE - 10))
    assert not share.keep("1/chunk-0000000001", bytes(11))
    assert share.names() == [NAME]
    other = spool.claim(OTHER_RECORDING, 1)
    assert other is not None
    assert other.keep(NAME, bytes(SHARE))
    share.drop(NAME)
    assert share.keep("1/chunk-0000000001", bytes(11))
