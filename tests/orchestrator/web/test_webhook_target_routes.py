"""Outgoing webhooks over HTTP: the secret once, lists without it, limits, dead letters, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.core.ids import SessionId
from orchestrator.core.webhook_targets import DeadLetter, Progress, TargetId
from orchestrator.settings import NetworkSettings, Settings, WebhooksSettings
from tests.fakes.clock import START
from tests.fakes.receivers import SECRET
from tests.orchestrator.web.test_metrics import numbers
from tests.orchestrator.web.world import World, error_of

PATH = "/api/v1/webhooks"
URL = "https://hooks.example.org/greenroom?key=1"


async def register(client: ClientSession, **fields: Any) -> dict[str, Any]:
    answer = await client.post(PATH, json={"url": URL, **fields})
    value: dict[str, Any] = await answer.json()
    assert answer.status == 201, value
    return value


async def test_the_secret_is_told_once(world: World, client: ClientSession) -> None:
    made = await register(client)
    assert made.pop("secret") == SECRET
    assert made == {
        "id": made["id"],
        "url": URL,
        "events": None,
        "status": "active",
        "reason": "",
        "created_at": "2026-11-21T12:00:00.000Z",
        "held_sessions": 0,
        "lag_events": 0,
    }
    for path in (
        PATH,
        f"{PATH}/{made['id']}",
        f"{PATH}/{made['id']}/dead-letters",
        "/metrics",
    ):
        answer = await client.get(path)
        assert answer.status == 200
        assert SECRET not in await answer.text()
    assert await (await client.get(PATH)).json() == {"webhooks": [made]}


async def test_a_secret_and_events_of_the_callers_own(client: ClientSession) -> None:
    secret = "whsec_" + "c" * 32
    made = await register(client, secret=secret, events=["session_ready", "job_failed"])
    assert made["secret"] == secret
    assert made["events"] == ["job_failed", "session_ready"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "ftp://x"}, "url"),
        ({"url": "https://user:pw@x.example"}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["nonsense"]}, "events"),
        ({"url": URL, "events": "error"}, "events"),
        ({"url": URL, "secret": "short-and-secret"}, "secret"),
        ({"url": URL, "speed": "high"}, ""),
    ],
)
async def test_what_is_wrong_is_named(client: ClientSession, body: dict[str, Any], field: str) -> None:
    answer = await client.post(PATH, json=body)
    assert answer.status == 422
    error = await error_of(answer)
    assert [problem["field"] for problem in error["details"]["fields"]] == [field]
    assert "short-and-secret" not in error["message"]
    assert "pw" not in error["message"]
    if "speed" in body:
        assert "speed" in error["message"]
    if body.get("events") == ["nonsense"]:
        assert "session_ready" in error["message"]


class TestWithoutPrivateAddresses:
    """The setting of an installation that others can reach."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(network=NetworkSettings(allow_private_endpoints=False))

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:9/x", "http://localhost/", "http://[::ffff:10.0.0.1]/"]
    )
    async def test_a_private_address_is_refused(self, client: ClientSession, url: str) -> None:
        answer = await client.post(PATH, json={"url": url})
        assert answer.status == 422
        assert "[network] allow_private_endpoints" in (await error_of(answer))["message"]


class TestWithALimit:
    """The setting of an installation with few registrations."""

    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(webhooks=WebhooksSettings(max_targets=1))

    async def test_one_too_many_is_a_409(self, client: ClientSession) -> None:
        await register(client)
        answer = await client.post(PATH, json={"url": URL})
        assert answer.status == 409
        assert (await error_of(answer))["error"] == "WebhookLimit"


async def test_pause_resume_delete(client: ClientSession) -> None:
    path = f"{PATH}/{(await register(client))['id']}"
    for verb, status in (("pause", "paused"), ("pause", "paused"), ("resume", "active")):
        answer = await client.post(f"{path}/{verb}")
        assert (answer.status, (await answer.json())["status"]) == (200, status)
    answer = await client.delete(path)
    assert answer.status == 200
    assert (await answer.json())["success"] is True
    assert (await client.delete(path)).status == 404
    assert await (await client.get(PATH)).json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("GET", "/dead-letters"),
     ("POST", "/redeliver")],
)  # fmt: skip
async def test_what_is_not_there_is_a_404(client: ClientSession, method: str, path: str) -> None:
    answer = await client.request(method, f"{PATH}/wh_none{path}")
    assert answer.status == 404
    assert (await error_of(answer))["error"] == "WebhookNotFound"


async def test_dead_letters_by_page_and_again(world: World, client: ClientSession) -> None:
    target_id = (await register(client))["id"]
    letters = [
        DeadLetter(
            message_id=f"m{number}",
            name="error",
            session_id=SessionId("s1"),
            body=b'{"type":"error","number":%d}' % number,
            tries=3,
            reason="no answer within 15 s",
            given_up_at=START,
        )
        for number in range(3)
    ]
    progress = Progress(generation=1, cursor=0)
    await world.webhooks.save_progress(TargetId(target_id), progress, letters)
    path = f"{PATH}/{target_id}"
    first = await (await client.get(f"{path}/dead-letters?limit=2")).json()
    assert (first["total"], len(first["dead_letters"]), first["limit"]) == (3, 2, 2)
    assert first["dead_letters"][0] == {
        "id": 1,
        "webhook_message_id": "m0",
        "event": "error",
        "session_id": "s1",
        "tries": 3,
        "reason": "no answer within 15 s",
        "given_up_at": "2026-11-21T12:00:00.000Z",
        "queued": False,
        "payload": {"type": "error", "number": 0},
    }
    rest = await (await client.get(f"{path}/dead-letters?limit=2&cursor={first['next_cursor']}")).json()
    assert [one["webhook_message_id"] for one in rest["dead_letters"]] == ["m2"]
    assert rest["next_cursor"] is None

    answer = await client.post(f"{path}/redeliver", json={"dead_letter_id": 2})
    assert (answer.status, await answer.json()) == (202, {"queued": 1})
    assert (await client.post(f"{path}/redeliver", json={"dead_letter_id": 99})).status == 404
    assert (await client.post(f"{path}/redeliver", json={"letter": 2})).status == 422
    answer = await client.post(f"{path}/redeliver")
    assert (answer.status, await answer.json()) == (202, {"queued": 3})


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=-1", "cursor=-1", "cursor=1e9"])
async def test_a_page_that_cannot_be_is_a_422(client: ClientSession, query: str) -> None:
    target_id = (await register(client))["id"]
    answer = await client.get(f"{PATH}/{target_id}/dead-letters?{query}")
    assert answer.status == 422
    assert query.split("=")[0] in (await error_of(answer))["message"]


async def test_deliveries_and_lag_are_numbers(world: World, client: ClientSession) -> None:
    target_id = (await register(client))["id"]
    await world.create(client)
    world.orchestrator.outgoing.outcomes["delivered"] += 2
    found = await numbers(client)
    head = (await world.store.feed_after(0, session_id=None, limit=1)).head_seq
    assert found[f'greenroom_webhook_lag_events{{webhook_id="{target_id}"}}'] == head > 0
    assert found[f'greenroom_webhook_held_sessions{{webhook_id="{target_id}"}}'] == 0
    assert found['greenroom_webhook_deliveries_total{outcome="delivered"}'] == 2
    assert found['greenroom_webhook_deliveries_total{outcome="given_up"}'] == 0


async def test_the_streaming_creates_token_is_in_no_event(world: World, client: ClientSession) -> None:
    """The one answer that streams a token writes it past the feed, so no receiver can get it."""
    async with client.post(
        "/api/v1/sessions",
        json={"user_identity": "alice", "required_services": []},
        headers={"Accept": "text/event-stream"},
    ) as answer:
        streamed = await answer.text()
    assert "jwt-client-alice" in streamed
    page = await world.store.feed_after(0, session_id=None, limit=99)
    assert page.events[0].name == "session_created"
    assert not [event for event in page.events if b"jwt-" in event.data or b"token" in event.data]
