"""Fixtures of the route tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from orchestrator.settings import ServerSettings, Settings
from tests.orchestrator.web.world import PAGE_ORIGIN, World


@pytest.fixture
def settings() -> Settings:
    return Settings(server=ServerSettings(cors_origins=(PAGE_ORIGIN,)))


@pytest.fixture
def world(settings: Settings) -> World:
    return World(settings=settings)


@pytest.fixture
async def client(world: World) -> AsyncIterator[ClientSession]:
    async with world.running() as client:
        yield client
