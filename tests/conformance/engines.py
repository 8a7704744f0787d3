"""The media servers that the suite is run on, each started as its users start it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from greenroom.embedded_engine import MediaEngine
from greenroom.media_binary import find_livekit_server
from greenroom.media_server import MediaServer, prepare
from tests.integration.servers import MISSING, WebhookRelay

ENGINES: Final[tuple[MediaEngine, ...]] = get_args(MediaEngine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A media server that runs: use room names of your own.

    Attributes:
        name: which of the two.
        url: where clients connect (ws://…).
        api_key, api_secret: its keys.
        pid: of its process.
        webhooks: what it was told to report to; it reports every kind of event.
        log_path: where it writes.
    """

    name: MediaEngine
    url: str
    api_key: str
    api_secret: str = field(repr=False)
    pid: int
    webhooks: WebhookRelay
    log_path: Path

    @property
    def http(self) -> str:
        """Where its HTTP interfaces are."""
        return self.url.replace("ws", "http", 1)


@contextmanager
def running(
    name: MediaEngine, folder: Path, skip: Callable[[str], None], *, auto_create: bool = False
) -> Iterator[Engine]:
    """Start one and stop it at the end.

    Args:
        name: which.
        folder: for its files.
        skip: told why it cannot be started here.
        auto_create: whether a join makes the room.
    """
    if name == "livekit" and find_livekit_server() is None:
        skip(MISSING)
    overrides: dict[str, Any] = {"webhook": {"filter_params": None}, "room": {"auto_create": auto_create}}
    with (
        WebhookRelay() as relay,
        MediaServer(prepare(folder, engine=name, webhook_urls=[relay.url], overrides=overrides)) as server,
    ):
        yield Engine(
            name=name,
            url=server.url,
            api_key=server.api_key,
            api_secret=server.api_secret,
            pid=server.pid,
            webhooks=relay,
            log_path=server.setup.log_path,
        )
