"""The orchestrator as a process of its own, to be killed and started again, and what a test asks it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from livekit import rtc

from greenroom import free_ports
from greenroom.media_server import MediaServer

START_S = 20.0


class System:
    """One orchestrator on one data folder; `kill` is -9, `start` starts it again on the same port."""

    def __init__(self, folder: Path, media: MediaServer, port: int, **settings: str) -> None:
        self.folder = folder
        self.media = media
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.chunk_store = str(folder / "recordings")
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    @property
    def environment(self) -> dict[str, str]:
        """The variables the orchestrator is started with."""
        return {
            **os.environ,
            "SERVER_PORT": str(self.port),
            "STORE_URL": f"sqlite:///{self.folder / 'greenroom.db'}",
            "LIVEKIT_SERVER_URL": self.media.url,
            "LIVEKIT_API_KEY": self.media.api_key,
            "LIVEKIT_API_SECRET": self.media.api_secret,
            "CHUNK_STORAGE_PATH": self.chunk_store,
            "SPOOL_PATH": str(self.folder / "spool"),
            "GREENROOM_KEY_DIR": str(self.folder / "keys"),
            "CONFIG_PATH": str(self.folder / "config.toml"),
            "LOG_LEVEL": "info",
        }

    async def start(self) -> None:
        """Start the orchestrator and wait until it answers."""
        sections: dict[str, list[str]] = {}
        for name, value in self._settings.items():
            section, _, key = name.partition("__")
            sections.setdefault(section, []).append(f"{key} = {value}")
        text = "\n".join(f"[{name}]\n" + "\n".join(lines) for name, lines in sections.items())
        (self.folder / "config.toml").write_text(text + "\n")
        log = (self.folder / "orchestrator.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator"], env=self.environment, stdout=log, stderr=log
        )
        await self.until(self._answers, within_s=START_S, what="the orchestrator to answer")

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            async with self.http.get(f"{self.url}/health") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)

    def stop(self) -> int:
        """End it with SIGTERM; gives its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(timeout=5)
                raise AssertionError("the orchestrator did not end on SIGTERM\n" + self.log()) from None
        return self._process.returncode

    def log(self) -> str:
        """Give the end of its log."""
        return (self.folder / "orchestrator.log").read_text()[-4000:]

    async def post(self, path: str, body: dict[str, Any], *, expect: int = 200) -> dict[str, Any]:
        """POST JSON and give the answer."""
        async with self.http.post(self.url + path, json=body) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == expect, (response.status, answer)
            return answer

    async def get(self, path: str, *, expect: int = 200) -> dict[str, Any]:
        """GET JSON."""
        async with self.http.get(self.url + path) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status == expect, (response.status, answer)
            return answer

    async def create(self, **fields: Any) -> dict[str, Any]:
        """Create a session for `anna` without services, unless told otherwise."""
        body = {"user_identity": "anna", "required_services": [], **fields}
        return await self.post("/api/v1/create-session", body)

    async def session(self, session_id: str) -> dict[str, Any]:
        """Give a session."""
        return await self.get(f"/api/v1/sessions/{session_id}")

    async def until_status(self, session_id: str, *wanted: str, within_s: float = 15.0) -> dict[str, Any]:
        """Wait until the room life of a session is in one of these states."""
        found: dict[str, Any] = {}

        async def is_there() -> bool:
            found.update(await self.session(session_id))
            return found["room_status"] in wanted

        await self.until(is_there, within_s=within_s, what=f"{session_id} to be {wanted}", seen=found)
        return found

    async def until(self, condition: Any, *, within_s: float, what: str, seen: object = "") -> None:
        """Poll a condition with a deadline."""
        deadline = time.monotonic() + within_s
        while not await condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {within_s} s for {what}; seen: {seen}\n{self.log()}")
            await asyncio.sleep(0.05)

    async def events(self, session_id: str) -> list[tuple[str, str]]:
        """Give (id, name) of a session's retained events."""
        events: list[tuple[str, str]] = []
        timeout = aiohttp.ClientTimeout(total=2.0)
        try:
            async with self.http.get(
                f"{self.url}/api/v1/sessions/{session_id}/events", timeout=timeout
            ) as response:
                position = ""
                async for raw in response.content:
                    line = raw.decode().rstrip("\n")
                    if line.startswith("id: "):
                        position = line[4:]
                    elif line.startswith("event: "):
                        events.append((position, line[7:]))
        except TimeoutError:
            pass
        return events

    async def close(self) -> None:
        """End everything that was started."""
        await self.http.close()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=5)


@asynccontextmanager
async def system(
    folder: Path,
    make_media: Callable[..., MediaServer],
    *,
    with_webhooks: bool = True,
    chunk_store: str = "",
    **settings: str,
) -> AsyncIterator[System]:
    """Start media server and orchestrator; settings are given as `section__key="toml value"`."""
    port = free_ports.free_port()
    webhook = f"http://127.0.0.1:{port}/api/v1/livekit/webhook"
    media = make_media(webhook_urls=[webhook] if with_webhooks else [])
    running = System(folder, media, port, **settings)
    running.chunk_store = chunk_store or running.chunk_store
    try:
        await running.start()
        yield running
    finally:
        await running.close()


@asynccontextmanager
async def joined(created: dict[str, Any]) -> AsyncIterator[rtc.Room]:
    """Be in the room as the client of a created session."""
    room = rtc.Room()
    await asyncio.wait_for(room.connect(created["livekit_url"], created["access_token"]), 15)
    try:
        yield room
    finally:
        await room.disconnect()
