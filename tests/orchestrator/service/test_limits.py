"""The settings' durations are the limits of new sessions."""

from __future__ import annotations

from orchestrator.service.limits import limits_of
from orchestrator.settings import MicroservicesSettings, SessionsSettings, Settings


def test_every_setting_is_the_limit_of_its_name() -> None:
    limits = limits_of(
        Settings(
            microservices=MicroservicesSettings(
                join_timeout=1, service_timeout=2, retry_interval=3, client_timeout=4
            ),
            sessions=SessionsSettings(create_timeout=5, termination_timeout=6, default_ttl=7),
        )
    )
    assert (limits.join_s, limits.service_s, limits.retry_s, limits.client_s) == (1, 2, 3, 4)
    assert (limits.create_s, limits.termination_s, limits.ttl_s) == (5, 6, 7)
