"""The relay's weather is what it says: every fate befalls some, and calm passes all on once."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.invariants.real.webhook_weather import WebhookWeather

SENT = 30


def _post(url: str, body: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("POST", parts.path, body=body)
        return connection.getresponse().status
    finally:
        connection.close()


class _Receiver:
    """Counts the webhooks that arrive."""

    def __init__(self) -> None:
        got = self.got = Counter[str]()
        self.order: list[str] = []
        order = self.order

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                got[body] += 1
                order.append(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/webhook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


def _send(relay: WebhookWeather, receiver: _Receiver) -> None:
    relay.target = receiver.url
    for number in range(SENT):
        assert _post(relay.url, f"{number:03}") == 200


def test_some_are_lost_some_repeated_some_late() -> None:
    receiver = _Receiver()
    try:
        with WebhookWeather(seed=1) as relay:
            _send(relay, receiver)
        assert all(relay.done[kind] for kind in ("pass", "lose", "repeat", "delay"))
        assert 0 < len(receiver.got) < SENT
        assert max(receiver.got.values()) == 2
    finally:
        receiver.close()


def test_calm_passes_all_on_once_and_in_order() -> None:
    receiver = _Receiver()
    try:
        with WebhookWeather(seed=1) as relay:
            relay.is_calm = True
            _send(relay, receiver)
        assert receiver.order == sorted(receiver.order)
        assert set(receiver.got.values()) == {1}
        assert len(receiver.got) == SENT
    finally:
        receiver.close()
