"""The engine that a test runs on, and a stage of its own there: every test runs on each engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conformance.engines import ENGINES, Engine, running
from tests.conformance.stage import Stage, open_stage


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server of this kind for the whole run."""
    with running(request.param, tmp_path_factory.mktemp(request.param), pytest.skip) as engine:
        yield engine


@pytest.fixture
async def stage(engine: Engine) -> AsyncIterator[Stage]:
    """A room of this test's own, and ways into it."""
    engine.webhooks.target = None
    async with open_stage(engine) as stage:
        yield stage
