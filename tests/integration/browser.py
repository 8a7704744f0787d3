"""A real browser for tests: the system's Chromium by playwright, without its network services."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

from playwright.async_api import Browser, async_playwright

from scripts.system_package import why_skipped

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Where the system's browser is."""
    return next((path for name in NAMES if (path := shutil.which(name)) is not None), None)


@asynccontextmanager
async def running_browser(
    skip: Callable[[str], NoReturn], *, arguments: tuple[str, ...] = ()
) -> AsyncIterator[Browser]:
    """Start the browser, with more arguments than ours; without one the test is skipped."""
    path = find_chromium()
    if path is None:
        skip(why_skipped("chromium", "chromium.py"))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=[*ARGUMENTS, *arguments], timeout=60_000
        )
        try:
            yield browser
        finally:
            await browser.close()
