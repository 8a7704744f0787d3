"""What the routes are handed is what wiring made, and nothing else."""

from __future__ import annotations

from orchestrator.web.app import build_app
from orchestrator.web.services import SERVICES
from tests.orchestrator.web.world import World


def test_the_edge_counts_the_calls_that_the_services_make(world: World) -> None:
    services = world.orchestrator.services(world.verifier)
    assert services.rooms is world.orchestrator.rooms
    assert services.feed is world.feed
    assert services.verifier is world.verifier


async def test_the_application_carries_them(world: World) -> None:
    services = world.orchestrator.services(world.verifier)
    assert build_app(services)[SERVICES] is services
