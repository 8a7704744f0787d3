"""A server that speaks as much S3 as a put needs, badly: it answers as it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from greenroom.free_ports import LOOPBACK
from vault.adapters.s3_store import PROBE_NAME
from vault.core.store_location import S3Location


@contextmanager
def odd_s3_server(status: int, code: str = "", extra: str = "") -> Iterator[S3Location]:
    """Run one that answers each request with this status and S3 error; its location is yielded."""
    body = f"<Error><Code>{code}</Code><Message>{extra}</Message></Error>".encode() if code else b""

    class Handler(_Silent):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(status)
            self.send_header("ETag", '"etag"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET = do_DELETE = _answer  # noqa: N815 - http.server's names

    with _serving(Handler) as location:
        yield location


@contextmanager
def closing_s3_server(*, stored: bytes) -> Iterator[S3Location]:
    """Run one that has every object with these bytes, and closes the connection in the middle of a put."""

    class Handler(_Silent):
        def do_PUT(self) -> None:
            if self.path.endswith(PROBE_NAME):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(412)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.rfile.read(100)
            self.close_connection = True

        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in (
                ("ETag", '"etag"'),
                ("Last-Modified", "Sat, 21 Nov 2026 12:00:00 GMT"),
                ("Content-Length", str(len(stored))),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(stored)

    with _serving(Handler) as location:
        yield location


class _Silent(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[S3Location]:
    server = ThreadingHTTPServer((LOOPBACK, 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        endpoint = f"http://{LOOPBACK}:{server.server_address[1]}"
        yield S3Location(bucket="bucket", prefix="p", endpoint=endpoint, region="us-east-1")
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
