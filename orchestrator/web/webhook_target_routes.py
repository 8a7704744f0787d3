"""Routes of outgoing webhooks: register, look, pause, delete, and what could not be delivered."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct

from orchestrator.core.webhook_targets import DeadLetter, event_names, secret_problem
from orchestrator.service.outgoing import TargetView
from orchestrator.web.bodies import read_json, read_optional_json
from orchestrator.web.endpoint_checks import url_problem
from orchestrator.web.errors import FieldProblem, FieldsError, rfc3339
from orchestrator.web.query_numbers import MAX_CURSOR, query_number
from orchestrator.web.services import SERVICES

LETTERS: Final = 100  # dead letters in one answer, unless the caller wants fewer

_encode = msgspec.json.Encoder().encode


class NewWebhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a registration says."""

    url: str
    events: list[str] | None = None
    secret: str | None = None


class Redelivery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letter is to be sent once more; all when it names none."""

    dead_letter_id: int | None = None


async def register_webhook(request: web.Request) -> web.Response:
    """Register a receiver of events; the answer is the only one that holds its secret."""
    services = request.app[SERVICES]
    body = await read_json(request, NewWebhook)
    problems = _problems(body)
    bad_url = await url_problem(body.url, allow_private=services.settings.allow_private_endpoints)
    if bad_url:
        problems.append(FieldProblem("url", bad_url))
    if problems:
        raise FieldsError(problems)
    target = await services.outgoing.register(body.url, events=body.events, secret=body.secret)
    view = webhook_view(services.outgoing.find(target.id))
    return _json({**view, "secret": target.secret}, status=201)


async def list_webhooks(request: web.Request) -> web.Response:
    """List all receivers, how far each is, and why one gets nothing."""
    return _json({"webhooks": [webhook_view(view) for view in request.app[SERVICES].outgoing.all()]})


async def get_webhook(request: web.Request) -> web.Response:
    """Give one receiver."""
    return _json(webhook_view(request.app[SERVICES].outgoing.find(request.match_info["webhook_id"])))


async def delete_webhook(request: web.Request) -> web.Response:
    """Forget a receiver and its dead letters."""
    target = await request.app[SERVICES].outgoing.delete(request.match_info["webhook_id"])
    return _json({"success": True, "id": target.id})


async def pause_webhook(request: web.Request) -> web.Response:
    """Send a receiver nothing until it is resumed; its events wait in the feed."""
    return _json(webhook_view(await request.app[SERVICES].outgoing.pause(request.match_info["webhook_id"])))


async def resume_webhook(request: web.Request) -> web.Response:
    """Go on with a receiver that was paused or disabled, and try at once whatever failed."""
    return _json(webhook_view(await request.app[SERVICES].outgoing.resume(request.match_info["webhook_id"])))


async def list_dead_letters(request: web.Request) -> web.Response:
    """List deliveries that were given up, oldest first: `?limit=`, `?cursor=` as `next_cursor` says."""
    limit = query_number(request, "limit", LETTERS, most=LETTERS)
    after = query_number(request, "cursor", 0, least=0, most=MAX_CURSOR)
    page = await request.app[SERVICES].outgoing.dead_letters(
        request.match_info["webhook_id"], after=after, limit=limit
    )
    next_cursor = str(page.letters[-1].id) if len(page.letters) == limit else None
    letters = [letter_view(letter) for letter in page.letters]
    return _json({"dead_letters": letters, "total": page.total, "limit": limit, "next_cursor": next_cursor})


async def redeliver(request: web.Request) -> web.Response:
    """Send dead letters once more: the one of `dead_letter_id`, or all."""
    body = await read_optional_json(request, Redelivery)
    count = await request.app[SERVICES].outgoing.redeliver(
        request.match_info["webhook_id"], body.dead_letter_id
    )
    return _json({"queued": count}, status=202)


def webhook_view(view: TargetView) -> dict[str, Any]:
    """Give a receiver as clients see it; never its secret."""
    target = view.target
    return {
        "id": target.id,
        "url": target.url,
        "events": target.events,
        "status": target.status,
        "reason": target.reason,
        "created_at": rfc3339(target.created_at),
        "held_sessions": view.held_sessions,
        "lag_events": view.lag_events,
    }


def letter_view(letter: DeadLetter) -> dict[str, Any]:
    """Give a dead letter as clients see it."""
    return {
        "id": letter.id,
        "webhook_message_id": letter.message_id,
        "event": letter.name,
        "session_id": letter.session_id,
        "tries": letter.tries,
        "reason": letter.reason,
        "given_up_at": rfc3339(letter.given_up_at),
        "queued": letter.queued,
        "payload": msgspec.Raw(letter.body),
    }


def _problems(body: NewWebhook) -> list[FieldProblem]:
    problems = []
    if body.events is not None:
        unknown = [name for name in body.events if name not in event_names()]
        if unknown:
            known = ", ".join(sorted(event_names()))
            problems.append(FieldProblem("events", f"{unknown[0][:40]!r} is no event; choose of: {known}"))
        elif not body.events:
            problems.append(FieldProblem("events", "is empty; name events, or leave it out for all"))
    if body.secret is not None and (problem := secret_problem(body.secret)):
        problems.append(FieldProblem("secret", problem))
    return problems


def _json(answer: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_encode(answer), content_type="application/json")
