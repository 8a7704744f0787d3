"""Each trouble of the vault has its status and a sentence that says what to do."""

from __future__ import annotations

import pytest

from orchestrator.service.threads import BusyError
from orchestrator.web.errors import problem_of
from orchestrator.web.playback_errors import translated
from tests.fakes.recordings import RECORDING
from vault import errors


@pytest.mark.parametrize(
    ("trouble", "status", "word"),
    [
        (errors.NotARecordingError("x"), 404, "Recording not found"),
        (errors.SignatureError("1/chunk-0000000001: bad"), 502, "1/chunk-0000000001"),
        (errors.FileMissingError("1/chunk-0000000001 is missing"), 502, "damaged"),
        (errors.ShreddedError("recording x was shredded by anna"), 410, "shredded"),
        (errors.WrongKeyError("kek x is not in y"), 503, "key_dir"),
        (errors.KeyFileError("signing.pub is missing"), 503, "signing.pub"),
        (errors.StoreError("/mnt cannot be read"), 503, "chunk_store"),
        (errors.ExportError("no media"), 409, "no media"),
        (BusyError("too much"), 503, "too much"),
    ],
)
def test_trouble_is_answered(trouble: Exception, status: int, word: str) -> None:
    with pytest.raises(Exception) as caught, translated(RECORDING):
        raise trouble
    problem = problem_of(caught.value)
    assert problem is not None
    assert problem.status == status
    assert word in problem.message
    assert ("Retry-After" in problem.headers) is (status == 503)


def test_a_mistake_of_ours_stays_one() -> None:
    with pytest.raises(ZeroDivisionError), translated(RECORDING):
        raise ZeroDivisionError
