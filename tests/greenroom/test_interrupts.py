"""Ending by signal: the first is polite, the second is not, and the clean-up runs either way."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from greenroom.interrupts import run_interruptible


async def test_work_that_ends_by_itself_gives_its_result() -> None:
    async def work() -> str:
        return "done"

    assert await run_interruptible(work(), on_signal=lambda _: None) == "done"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_one_signal_lets_the_work_clean_up(signum: int) -> None:
    counts: list[int] = []
    steps: list[str] = []

    async def work() -> str:
        os.kill(os.getpid(), signum)
        try:
            await asyncio.sleep(60)
            return "never"
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned")

    assert await run_interruptible(work(), on_signal=counts.append) is None
    assert (counts, steps) == ([1], ["cleaned"])


async def test_a_second_signal_cancels_the_clean_up() -> None:
    counts: list[int] = []
    steps: list[str] = []

    async def work() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
            return "never"
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                steps.append("killed")
                raise

    assert await run_interruptible(work(), on_signal=counts.append) is None
    assert (counts, steps) == ([1, 2], ["killed"])


async def test_an_error_of_the_work_passes() -> None:
    async def work() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await run_interruptible(work(), on_signal=lambda _: None)


async def test_signals_are_the_loops_again_afterwards() -> None:
    async def work() -> None:
        return None

    await run_interruptible(work(), on_signal=lambda _: None)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
