"""The limits that the settings give new sessions."""

from __future__ import annotations

from orchestrator.core.session import Limits
from orchestrator.settings import Settings


def limits_of(settings: Settings) -> Limits:
    """Give the limits that new sessions are born with."""
    waits = settings.microservices
    return Limits(
        create_s=settings.sessions.create_timeout,
        join_s=waits.join_timeout,
        service_s=waits.service_timeout,
        retry_s=waits.retry_interval,
        client_s=waits.client_timeout,
        termination_s=settings.sessions.termination_timeout,
        ttl_s=settings.sessions.default_ttl,
    )
