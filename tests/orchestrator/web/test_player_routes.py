"""The player's page is served from this program, and lets nothing but its own files run."""

from __future__ import annotations

import re

from aiohttp import ClientSession

from orchestrator.web.player_routes import POLICY, _load
from tests.fakes.recordings import RECORDING


async def test_the_page_and_all_that_it_names_are_there(client: ClientSession) -> None:
    async with client.get(f"/recordings/{RECORDING}/play") as answer:
        page = await answer.text()
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    names = re.findall(r"/player/([a-z_.]+)", page)
    names += [
        name for file in _load().values() for name in re.findall(r'from "\./([a-z_.]+)"', file.decode())
    ]
    assert {"player.js", "player.css", "timeline.js", "track_player.js"} == set(names)
    for name in names:
        async with client.get(f"/player/{name}") as answer:
            assert answer.status == 200
            assert answer.content_type in ("text/javascript", "text/css")


async def test_the_policy_lets_nothing_inline_run_and_the_page_has_nothing_inline() -> None:
    assert "unsafe" not in POLICY
    page = _load()["page.html"].decode()
    assert re.findall(r"<script(?![^>]* src=)|\son[a-z]+=|style=", page) == []


async def test_other_names_are_404(client: ClientSession) -> None:
    for path in ("/player/page.html", "/player/x.js", "/player/..%2fapp.py", "/recordings/x/play"):
        async with client.get(path) as answer:
            assert answer.status == 404


def test_scripts_are_short_and_say_what_they_are_for() -> None:
    for name, data in _load().items():
        text = data.decode()
        assert text.count("\n") <= 400
        assert len(re.findall(r"//|/\*|<!--", text[:120])) > 0, name
