"""The player: one page and its scripts, served from memory; everything else it asks the API for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from aiohttp import web

from orchestrator.web.playback_errors import recording_id_of

# Scripts and styles are files of their own, so nothing written into a page (a participant's name) ever runs.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = "page.html"
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


async def play(request: web.Request) -> web.Response:
    """Give the player's page for a recording; `#t=SECONDS` begins there."""
    recording_id_of(request)
    return _answer(_PAGE)


async def player_file(request: web.Request) -> web.Response:
    """Give a script or the style sheet of the player's page."""
    name = request.match_info["name"]
    if name not in _load() or name == _PAGE:
        raise web.HTTPNotFound
    return _answer(name)


def _answer(name: str) -> web.Response:
    suffix = name[name.rindex(".") :]
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(body=_load()[name], content_type=_TYPES[suffix], charset="utf-8", headers=headers)


@cache
def _load() -> Mapping[str, bytes]:
    """Read all of them, once: they are part of the program."""
    folder = files("orchestrator.web").joinpath("player")
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}
