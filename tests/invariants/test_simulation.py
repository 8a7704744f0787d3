"""Seeds of the simulation keep every invariant, and a seed is the same run each time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.invariants.simulate import run_seeds
from tests.invariants.simulation import world
from tests.invariants.simulation.faults import KINDS, plan_of
from tests.invariants.simulation.operations import OPERATIONS
from tests.invariants.simulation.world import World, run_seed

ROOT = Path(__file__).resolve().parents[2]
IS_FULL = os.environ.get("GREENROOM_FULL") == "1"
FEW, MANY = 100, 20_000 if IS_FULL else 2_000
PROCESSES = 2
BATCH = 100

DIGEST = "from tests.invariants.simulation.world import run_seed; print(run_seed(11).digest())"


def test_some_seeds_keep_every_invariant() -> None:
    assert run_seeds(range(FEW)) == {}


@pytest.mark.acceptance
@pytest.mark.xdist_group("timed")  # holds no limit, but takes both cores from those that do
@pytest.mark.timeout(7200 if IS_FULL else 1200)
def test_many_seeds_keep_every_invariant() -> None:
    batches = [range(first, first + BATCH) for first in range(FEW, MANY, BATCH)]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        failed = {seed: what for found in pool.map(run_seeds, batches) for seed, what in found.items()}
    # Line by line: pytest would show the first few of what took minutes to find.
    assert not failed, "\n".join(f"seed {seed}: {what}" for seed, found in failed.items() for what in found)


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_is_the_same_run_each_time(seed: int) -> None:
    first = run_seed(seed)
    assert len(first) > 100
    assert run_seed(seed).digest() == first.digest()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_is_the_same_run_in_another_process(hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DIGEST]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=True)
    assert done.stdout.decode().strip() == run_seed(11).digest()


def test_two_seeds_are_two_runs() -> None:
    assert run_seed(1).digest() != run_seed(2).digest()


def test_every_kind_of_fault_and_operation_is_drawn_soon() -> None:
    plans = [plan_of(seed) for seed in range(FEW)]
    assert {fault.kind for plan in plans for fault in plan.faults} == set(KINDS)
    assert {asked.kind for plan in plans for asked in plan.operations} == set(OPERATIONS)


async def _never_returns(world: World) -> None:
    while True:
        pass


async def _yields_only(world: World) -> None:
    while True:
        await asyncio.sleep(0)


async def _hardly_waits(world: World) -> None:
    while True:
        await asyncio.sleep(1e-6)


async def _waits_for_nothing(world: World) -> None:
    await world.loop.create_future()


@pytest.mark.parametrize("run", [_never_returns, _yields_only, _hardly_waits, _waits_for_nothing])
def test_a_run_that_does_not_end_is_a_failure_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[World], Coroutine[Any, Any, None]]
) -> None:
    monkeypatch.setattr(world, "MOST_CPU_S", 0.3 if run is _never_returns else 60.0)
    monkeypatch.setattr(World, "run", run)
    with pytest.raises(AssertionError, match="seed 7 does not end"):
        run_seed(7)
