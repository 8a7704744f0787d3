"""Media servers for tests, on free ports, and a switchable relay for their webhooks."""

from __future__ import annotations

import http.client
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

from greenroom.embedded_engine import MediaEngine
from greenroom.media_binary import LIVEKIT_VERSION, find_livekit_server
from greenroom.media_server import MediaServer, prepare

MISSING = f"livekit-server {LIVEKIT_VERSION} is not there; run: python3 scripts/livekit_server.py"
KEPT_WEBHOOKS = 1_000
VARIABLE: Final = "GREENROOM_TEST_ENGINE"


def engine_of_tests(environment: Mapping[str, str]) -> MediaEngine:
    """Say which media server the tests get that need some server and do not care which.

    Raises:
        ValueError: the variable names none.
    """
    match environment.get(VARIABLE, "") or "embedded":
        case "embedded":
            return "embedded"
        case "livekit":
            return "livekit"
        case other:
            raise ValueError(f"{VARIABLE}={other!r} is no media server; say embedded or livekit")


ENGINE: Final = engine_of_tests(os.environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedWebhook:
    """One webhook as the media server sent it."""

    body: bytes
    authorization: str


class WebhookRelay:
    """Stands between a media server that is started once and receivers that differ from test to test.

    `target` is the URL to pass webhooks on to, or None: then they are answered 200 and dropped, which is what
    a lost webhook looks like. `received` has the last 1,000 of them either way. A target that does not answer
    makes 503, so the server tries again as it would without a relay.
    """

    def __init__(self) -> None:
        self.target: str | None = None
        self.received: deque[ReceivedWebhook] = deque(maxlen=KEPT_WEBHOOKS)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where the media server sends its webhooks."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/webhook"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def deliver(self, webhook: ReceivedWebhook, headers: Mapping[str, str]) -> int:
        """Keep a webhook and pass it on; gives the status to answer with."""
        self.received.append(webhook)
        target = self.target
        if target is None:
            return 200
        parts = urlsplit(target)
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=10)
        try:
            connection.request("POST", parts.path or "/", body=webhook.body, headers=dict(headers))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 503
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                kept = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() in ("authorization", "content-type")
                }
                webhook = ReceivedWebhook(body=body, authorization=self.headers.get("Authorization", ""))
                status = relay.deliver(webhook, kept)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing; a test that fails looks at `received`."""

        return Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedLiveKit:
    """The one server of a test run: use room names of your own, and leave its process alone."""

    url: str
    api_key: str
    api_secret: str
    webhooks: WebhookRelay


class LiveKitFactory(Protocol):
    """Makes a server that a test has for itself: `kill()`, `start()` on the same ports, `stop()`."""

    def __call__(
        self,
        *,
        webhook_urls: Sequence[str] = (),
        overrides: Mapping[str, Any] | None = None,
    ) -> MediaServer:
        """Start one; it is stopped when the test ends."""


@contextmanager
def shared_livekit(
    folder: Path, skip: Callable[[str], None], *, engine: MediaEngine = ENGINE
) -> Iterator[SharedLiveKit]:
    """Start the server that all tests share."""
    look_for(engine, skip)
    with (
        WebhookRelay() as relay,
        MediaServer(prepare(folder, engine=engine, webhook_urls=[relay.url])) as server,
    ):
        yield SharedLiveKit(
            url=server.url, api_key=server.api_key, api_secret=server.api_secret, webhooks=relay
        )


@contextmanager
def livekit_factory(
    folder: Path, skip: Callable[[str], None], *, engine: MediaEngine = ENGINE
) -> Iterator[LiveKitFactory]:
    """Give a function that starts servers, each in a folder of its own."""
    with ExitStack() as running:
        count = 0

        def make(
            *, webhook_urls: Sequence[str] = (), overrides: Mapping[str, Any] | None = None
        ) -> MediaServer:
            nonlocal count
            look_for(engine, skip)
            count += 1
            place = folder / f"livekit-{count}"
            setup = prepare(place, engine=engine, webhook_urls=webhook_urls, overrides=overrides)
            server = MediaServer(setup)
            running.callback(server.stop)
            server.start()
            return server

        yield make


def look_for(engine: MediaEngine, skip: Callable[[str], None]) -> None:
    """Skip where this media server cannot be started."""
    if engine == "livekit" and find_livekit_server() is None:
        skip(MISSING)
