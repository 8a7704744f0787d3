"""The route list: every route answers, under both names where there are two, and is said in the docs."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from orchestrator.web.app import ROUTES, Route

READ = {(route.method, route.path) for route in ROUTES}  # a path that is also read, by another handler


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_says_what_it_does(route: Route) -> None:
    assert (route.handler.__doc__ or "").strip()


def test_no_route_is_listed_twice() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize(
    "route",
    [r for r in ROUTES if r.method != "GET" and ("GET", r.path) not in READ],
    ids=lambda r: f"{r.method} {r.path}",
)
async def test_what_changes_something_is_no_get(client: ClientSession, route: Route) -> None:
    path = route.path.replace("{session_id}", "s").replace("{service_id}", "a")
    assert (await client.get(path)).status in (404, 405)


async def test_sessions_answer_under_the_short_name_too(client: ClientSession) -> None:
    for path in ("/sessions/x", "/sessions/x/terminate", "/sessions/x/token"):
        method = "GET" if path == "/sessions/x" else "POST"
        answer = await client.request(method, path, json={"user_identity": "a"})
        assert (await answer.json())["error"] == "SessionNotFound"
