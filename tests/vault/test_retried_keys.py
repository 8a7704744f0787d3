"""A key service that is away for a moment is asked again; one that stays away is an error in good time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.recordings import RECORDING, make_key_ring
from vault.adapters.key_files import KeyFiles
from vault.core.ids import KekId
from vault.core.sealing import AttemptScope, WrappedKey
from vault.errors import KeyFileError, KeyServiceError
from vault.retried_keys import RetriedKeys

SCOPE = AttemptScope(recording_id=RECORDING, attempt=1)
RING = make_key_ring()


class FailingKeys(KeyFiles):
    """Fails some times, then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def wrap(self, data_key: bytes, scope: AttemptScope) -> WrappedKey:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return RING.wrap(data_key, scope)

    def rotate(self, now_s: int) -> KekId:
        self.calls += 1
        raise self.error


class Wait:
    """A clock that moves only when somebody pauses."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds


def retried(keys: FailingKeys, wait: Wait) -> RetriedKeys:
    return RetriedKeys(keys, 20, monotonic=lambda: wait.now_s, pause=wait.pause)


def test_it_asks_again_with_growing_pauses() -> None:
    keys, wait = FailingKeys(5, KeyServiceError("sealed")), Wait()
    assert RING.unwrap(retried(keys, wait).wrap(b"d" * 32, SCOPE), SCOPE) == b"d" * 32
    assert wait.pauses == [0.2, 0.4, 0.8, 1.6, 2.0]


def test_it_gives_up_in_time_and_says_for_how_long_it_tried() -> None:
    keys, wait = FailingKeys(1000, KeyServiceError("it is sealed")), Wait()
    with pytest.raises(KeyServiceError, match=r"it is sealed \(tried for 20 s\)"):
        retried(keys, wait).wrap(b"d" * 32, SCOPE)
    assert 18 <= wait.now_s <= 20


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (KeyFileError("permission denied"), lambda keys: keys.wrap(b"d" * 32, SCOPE)),
        (KeyServiceError("lost answer"), lambda keys: keys.rotate(0)),
    ],
    ids=["what is to be repaired", "what must not happen twice"],
)
def test_it_does_not_ask_again(error: Exception, call: Callable[[RetriedKeys], object]) -> None:
    keys, wait = FailingKeys(1000, error), Wait()
    with pytest.raises(type(error), match=str(error)):
        call(retried(keys, wait))
    assert (keys.calls, wait.pauses) == (1, [])
