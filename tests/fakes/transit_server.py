"""A transit engine as HashiCorp Vault and OpenBao serve it: the part that wraps data keys, on loopback.

Answers are those of the public API page (secret/transit): 200 with `data`, 400 for what cannot be decrypted,
403 for a token without the right, 404 for a key that is not there, 503 while sealed, `{"errors": […]}`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.only-for-tests"
KEY = "greenroom"
MADE_S = 1_700_000_000


class Transit:
    """The state of the engine; tests change it while it serves.

    Attributes:
        keys: versions of each key, the oldest first.
        failing: HTTP status that the next requests get, one each; 0 breaks the connection.
        requests: method and path of every request, in order.
    """

    def __init__(self) -> None:
        self.keys: dict[str, list[bytes]] = {KEY: [AESGCM.generate_key(256)]}
        self.min_decryption_version = 1
        self.is_sealed = False
        self.allowed_tokens = {TOKEN}
        self.failing: list[int] = []
        self.requests: list[str] = []
        self.url = ""

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [
                web.post("/v1/transit/encrypt/{name}", self._encrypt),
                web.post("/v1/transit/decrypt/{name}", self._decrypt),
                web.post("/v1/transit/rewrap/{name}", self._rewrap),
                web.post("/v1/transit/keys/{name}/rotate", self._rotate),
                web.get("/v1/transit/keys/{name}", self._read),
            ]
        )
        return application

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.failing:
            status = self.failing.pop(0)
            if status == 0:
                assert request.transport is not None
                request.transport.abort()
            return _error(status, "internal error")
        if self.is_sealed:
            return _error(503, "Vault is sealed")
        if request.headers.get("X-Vault-Token") not in self.allowed_tokens:
            return _error(403, "1 error occurred:\n\t* permission denied\n\n")
        return await handler(request)

    async def _encrypt(self, request: web.Request) -> web.Response:
        body, versions = await request.json(), self.keys.get(request.match_info["name"])
        if versions is None:  # a token that may only update does not make a key
            return _error(400, "encryption key not found")
        plaintext = base64.b64decode(body["plaintext"], validate=True)
        ciphertext = _seal(versions, plaintext, _aad(body))
        return _data({"ciphertext": ciphertext, "key_version": len(versions)})

    async def _decrypt(self, request: web.Request) -> web.Response:
        plaintext = self._open(request.match_info["name"], await request.json())
        if isinstance(plaintext, web.Response):
            return plaintext
        return _data({"plaintext": base64.b64encode(plaintext).decode()})

    async def _rewrap(self, request: web.Request) -> web.Response:
        body = await request.json()
        plaintext = self._open(request.match_info["name"], body)
        if isinstance(plaintext, web.Response):
            return plaintext
        versions = self.keys[request.match_info["name"]]
        return _data({"ciphertext": _seal(versions, plaintext, _aad(body)), "key_version": len(versions)})

    async def _rotate(self, request: web.Request) -> web.Response:
        versions = self.keys.get(request.match_info["name"])
        if versions is None:
            return _error(400, "key not found")
        versions.append(AESGCM.generate_key(256))
        return web.Response(status=204)

    async def _read(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.keys:
            return _error(404)
        versions = {str(number): MADE_S + number for number in range(1, len(self.keys[name]) + 1)}
        return _data(
            {
                "name": name,
                "type": "aes256-gcm96",
                "keys": versions,
                "latest_version": len(versions),
                "min_decryption_version": self.min_decryption_version,
                "min_encryption_version": 0,
                "supports_encryption": True,
                "supports_decryption": True,
            }
        )

    def _open(self, name: str, body: dict[str, Any]) -> bytes | web.Response:
        versions = self.keys.get(name)
        if versions is None:
            return _error(400, "encryption key not found")
        prefix, version, encoded = body["ciphertext"].split(":")
        if prefix != "vault" or not version.startswith("v"):
            return _error(400, "invalid ciphertext: no prefix")
        number = int(version[1:])
        if number > len(versions):
            return _error(400, "invalid ciphertext: version is too new")
        if number < self.min_decryption_version:
            return _error(400, "ciphertext or signature version is disallowed by policy (too old)")
        data = base64.b64decode(encoded)
        try:
            return AESGCM(versions[number - 1]).decrypt(data[:12], data[12:], _aad(body))
        except InvalidTag:
            return _error(400, "cipher: message authentication failed")


@contextmanager
def served_transit() -> Iterator[Transit]:
    """Serve a transit engine from a thread of its own, since who asks it blocks."""
    transit, loop, is_up = Transit(), asyncio.new_event_loop(), threading.Event()

    async def begin() -> web.AppRunner:
        runner = web.AppRunner(transit.application(), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        transit.url = f"http://127.0.0.1:{port}/transit/{KEY}"
        is_up.set()
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(begin())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, name="transit", daemon=True)
    thread.start()
    assert is_up.wait(10), "the fake transit engine does not start"
    try:
        yield transit
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def _seal(versions: list[bytes], plaintext: bytes, aad: bytes) -> str:
    nonce = secrets.token_bytes(12)
    data = nonce + AESGCM(versions[-1]).encrypt(nonce, plaintext, aad)
    return f"vault:v{len(versions)}:{base64.b64encode(data).decode()}"


def _aad(body: dict[str, Any]) -> bytes:
    return base64.b64decode(body.get("associated_data") or "")


def _data(data: dict[str, Any]) -> web.Response:
    return _json(200, {"request_id": "0", "lease_duration": 0, "renewable": False, "data": data})


def _error(status: int, *texts: str) -> web.Response:
    return _json(status or 500, {"errors": list(texts)})


def _json(status: int, body: dict[str, Any]) -> web.Response:
    # Without a charset, as the service sends it: hvac reads the errors of this content type only.
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")
