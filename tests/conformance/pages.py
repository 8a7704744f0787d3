"""A page in Chromium with LiveKit's own client for browsers, served from this machine's loopback."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import numpy as np
import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from greenroom.synthetic_picture import read_counter
from scripts.browser_client import MISSING, SOURCE, installed
from tests.conformance.stage import eventually
from tests.integration.browser import running_browser

ARGUMENTS: Final = ("--autoplay-policy=no-user-gesture-required", "--allow-loopback-in-peer-connection")
HTML: Final = (
    "<!doctype html><title>conformance</title><body>"
    '<script src="/client.js"></script><script src="/page.js"></script></body>'
)


class Guest:
    """One page; each method of page.js is called by its name.

    Attributes:
        said: what the page wrote to its console.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self.said: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))

    async def do(self, name: str, *arguments: Any) -> Any:
        """Call a function of page.js and give what it gives."""
        return await self._page.evaluate(f"(given) => {name}(...given)", list(arguments))

    async def seen(self, what: str) -> list[Any]:
        """What the page noted of its room: data, left, texts, muted."""
        noted: list[Any] = await self._page.evaluate(f"seen.{what}")
        return noted

    async def sees(self, sid: str, *, count: int = 5) -> list[int]:
        """Wait until so many different pictures were read from a video; gives their numbers."""
        read: list[int] = []

        async def look() -> list[int] | None:
            picture = await self.do("look", sid)
            if picture:
                luma = np.frombuffer(base64.b64decode(picture), np.uint8).reshape(180, 320)
                counter = read_counter(luma)
                if counter is not None and counter not in read:
                    read.append(counter)
            return read if len(read) >= count else None

        return await eventually(look)

    async def hears(self, sid: str, hz: int) -> None:
        """Wait until a track's loudest tone is this one."""

        async def listen() -> bool | None:
            return True if abs(await self.do("listen", sid) - hz) < 20 else None

        await eventually(listen)

    async def reload(self) -> None:
        """Go away without a word, as a closed tab does."""
        await self._page.goto("about:blank")


@asynccontextmanager
async def browser_here() -> AsyncIterator[Browser]:
    """Start Chromium, ready for media without a click."""
    async with running_browser(pytest.skip, arguments=ARGUMENTS) as browser:
        yield browser


@asynccontextmanager
async def open_page(browser: Browser) -> AsyncIterator[Guest]:
    """Open a page with the client in it; without the client the test is skipped."""
    client = installed()
    if client is None:
        pytest.skip(MISSING)

    async def html(_: web.Request) -> web.Response:
        return web.Response(text=HTML, content_type="text/html")

    async def file(request: web.Request) -> web.FileResponse:
        return web.FileResponse(client if request.path == "/client.js" else SOURCE / "page.js")

    app = web.Application()
    app.router.add_get("/", html)
    app.router.add_get("/client.js", file)
    app.router.add_get("/page.js", file)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        page = await browser.new_page()
        guest = Guest(page)
        await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        yield guest
        await page.close()
    finally:
        await runner.cleanup()
