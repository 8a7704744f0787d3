"""The `Idempotency-Key` of a request: checked, and tied to what the request asks for."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec
from aiohttp import web

from orchestrator.core.ids import CallerId
from orchestrator.core.request_keys import KeyScope, RequestKey
from orchestrator.web.bodies import read_body
from orchestrator.web.errors import FieldProblem, FieldsError

HEADER: Final = "Idempotency-Key"
MAX_KEY: Final = 255  # characters
_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")
_ANYBODY: Final = CallerId("")  # under `auth.mode = none` all callers are one

_encode = msgspec.json.Encoder(order="sorted").encode


async def request_key(request: web.Request, route: str, *, but: str = "") -> RequestKey | None:
    """Give the key that came with a request, tied to its path and body; None when there is none.

    Args:
        request: its body is read whole.
        route: our name of the route, the same under each of its paths.
        but: field of the body that the key is not tied to.

    Raises:
        FieldsError: the header is no key, or came twice.
        BodyTooLargeError, BadJsonError, SlowBodyError: the body cannot be taken.
    """
    given = request.headers.getall(HEADER, [])
    if not given:
        return None
    if problem := key_problem(given):
        raise FieldsError([FieldProblem(HEADER, problem)])
    fingerprint = fingerprint_of(dict(request.match_info), await read_body(request), but=but)
    return RequestKey(scope=KeyScope(caller=_ANYBODY, route=route, key=given[0]), fingerprint=fingerprint)


def key_problem(given: list[str]) -> str | None:
    """Say in one sentence why these header values are no key; None when they are one."""
    fix = f"send one of 1 to {MAX_KEY} visible ASCII characters, for instance a UUID"
    if len(given) > 1:
        return f"came {len(given)} times; {fix}"
    if len(given[0]) > MAX_KEY:
        return f"has {len(given[0])} characters; {fix}"
    if not _KEY.fullmatch(given[0]):
        return f"{given[0][:40]!a} is no key; {fix}"
    return None


def fingerprint_of(path: dict[str, str], body: bytes, *, but: str = "") -> str:
    """Give the SHA-256 of what is asked for, in hex.

    Two bodies that are the same JSON are the same, whatever the order of their fields and their spacing.
    """
    try:
        value = msgspec.json.decode(body) if body.strip() else None
        if isinstance(value, dict):
            value.pop(but, None)
        canonical = _encode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        canonical = body  # of a route that does not read it
    return hashlib.sha256(_encode(path) + b"\n" + canonical).hexdigest()
