"""Asking a store until it answers, within a time."""

from __future__ import annotations

import asyncio

import pytest

from recorder.service import insistence
from recorder.service.insistence import insist
from vault.errors import ChunkExistsError, KeyServiceError, StoreError, StoreFullError, VaultError


class Store:
    """Answers from the third call on, or never."""

    def __init__(self, error: VaultError | None = None, answers_at: int = 3) -> None:
        self.calls, self.error, self.answers_at = 0, error or StoreError("away"), answers_at

    def act(self) -> str:
        self.calls += 1
        if self.calls < self.answers_at:
            raise self.error
        return "answer"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(insistence, "FIRST_S", 0.001)


@pytest.mark.parametrize("error", [StoreError("away"), KeyServiceError("sealed")], ids=str)
async def test_it_is_asked_until_it_answers(error: VaultError) -> None:
    store = Store(error)
    assert await insist(store.act, within_s=60) == "answer"
    assert store.calls == 3


async def test_after_the_time_the_last_error_is_raised() -> None:
    store = Store(answers_at=10**9)
    with pytest.raises(StoreError, match="away"):
        await insist(store.act, within_s=0.02)
    assert store.calls > 2


@pytest.mark.parametrize("error", [StoreFullError("full"), ChunkExistsError("other bytes")])
async def test_what_does_not_get_better_is_asked_once(error: VaultError) -> None:
    store = Store(error)
    with pytest.raises(type(error)):
        await insist(store.act, within_s=60)
    assert store.calls == 1


async def test_whoever_wants_no_more_does_not_wait() -> None:
    store, over = Store(answers_at=10**9), asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, over.set)
    with pytest.raises(StoreError):
        await insist(store.act, within_s=60, unless=over)
