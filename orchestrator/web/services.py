"""What the routes are handed: the parts of the service layer, made by wiring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from orchestrator.catalog_ports import CatalogStore
from orchestrator.ports import Notice, RoomServer, SessionStore
from orchestrator.service.dispatch import Dispatch
from orchestrator.service.draining import Drains
from orchestrator.service.feed import Feed
from orchestrator.service.keeping import Keeping
from orchestrator.service.outgoing import OutgoingWebhooks
from orchestrator.service.playback import Playback
from orchestrator.service.pull import PullWorkers
from orchestrator.service.push import PushWorkers
from orchestrator.service.recordings import RecordingControl
from orchestrator.service.registry import Registry
from orchestrator.service.repeats import Repeats
from orchestrator.service.sessions import Sessions
from orchestrator.service.uploads import Uploads
from orchestrator.service.webhooks import Webhooks
from orchestrator.settings import Settings
from orchestrator.web.metrics import Metrics


class WebhookVerifier(Protocol):
    """Proves that a webhook is LiveKit's. Adapter: livekit_webhooks."""

    def verify(self, body: bytes, authorization: str) -> Notice:
        """Give what the webhook says.

        Raises:
            WebhookRefusedError: not signed with our key, too old, or not the body that was signed.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the HTTP edge stands on."""

    settings: Settings
    store: SessionStore
    catalog: CatalogStore
    rooms: RoomServer
    sessions: Sessions
    registry: Registry
    dispatch: Dispatch
    push: PushWorkers
    pull: PullWorkers
    drains: Drains
    repeats: Repeats
    recording_control: RecordingControl
    playback: Playback
    keeping: Keeping
    uploads: Uploads
    webhooks: Webhooks
    verifier: WebhookVerifier
    outgoing: OutgoingWebhooks
    feed: Feed
    metrics: Metrics


SERVICES = web.AppKey("services", Services)
