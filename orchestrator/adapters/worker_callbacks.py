"""Calls push workers over HTTP: join-room, leave-room, health.

Nothing of a worker's answer is passed on: a status is all we read (and `Retry-After`), never its body. No
redirects: the address that was registered is the one that is called, and it is looked at when it is.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import msgspec
import structlog
from aiohttp.abc import AbstractResolver

from orchestrator.adapters.guarded_http import guarded_session, refusal
from orchestrator.core.addresses import check_url, shown
from orchestrator.ports import CallOutcome
from sdk.wire import JoinRoom, LeaveRoom

log = structlog.get_logger(__name__)

_PROBE_S: Final = 2.0
_MOST_RETRY_AFTER_S: Final = 3600.0
_LEFT: Final = (404, 405)  # the reference's SDK has the hook, but no route
_JSON: Final = {"Content-Type": "application/json"}
_MOST_LOGGED: Final = 1000  # refused endpoints that are remembered, so that each is logged once


class WorkerCallbacks:
    """The HTTP client for push workers; one connection pool."""

    def __init__(
        self,
        *,
        allow_private: bool,
        notify_timeout_s: float,
        now: Callable[[], datetime],
        probe_timeout_s: float = _PROBE_S,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._notify_timeout_s = notify_timeout_s
        self._now = now
        self._probe_timeout_s = probe_timeout_s
        self._resolver = resolver
        self._http: aiohttp.ClientSession | None = None
        self._refused: set[str] = set()

    async def open(self) -> None:
        """Make the connection pool."""
        self._http = guarded_session(
            allow_private=self._allow_private, total_s=self._notify_timeout_s, resolver=self._resolver
        )

    async def close(self) -> None:
        """Close it."""
        if self._http is not None:
            await self._http.close()

    async def join_room(self, endpoint: str, request: JoinRoom) -> CallOutcome:
        """POST /join-room."""
        return await self._post(endpoint, "/join-room", msgspec.json.encode(request), also_yes=())

    async def leave_room(self, endpoint: str, request: LeaveRoom) -> CallOutcome:
        """POST /leave-room; 404 and 405 count as left."""
        return await self._post(endpoint, "/leave-room", msgspec.json.encode(request), also_yes=_LEFT)

    async def is_healthy(self, endpoint: str) -> bool:
        """GET /health: whether it answered, and not with a 5xx."""
        assert self._http is not None
        timeout = aiohttp.ClientTimeout(total=self._probe_timeout_s)
        if self._literal_refusal(endpoint):
            return False
        try:
            async with self._http.get(
                _url(endpoint, "/health"), timeout=timeout, allow_redirects=False
            ) as response:
                return response.status < 500
        except aiohttp.ClientConnectorError as error:
            self._connect_refusal(endpoint, error)
            return False
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return False

    async def _post(self, endpoint: str, path: str, body: bytes, *, also_yes: tuple[int, ...]) -> CallOutcome:
        assert self._http is not None
        if sentence := self._literal_refusal(endpoint):
            return CallOutcome(answer="no", detail=sentence)
        try:
            async with self._http.post(
                _url(endpoint, path), data=body, headers=_JSON, allow_redirects=False
            ) as response:
                if 200 <= response.status < 300 or response.status in also_yes:
                    return CallOutcome(answer="yes")
                return CallOutcome(
                    answer="no",
                    detail=f"the worker answered {path} with status {response.status}",
                    retry_after_s=_retry_after(response.headers.get("Retry-After"), self._now()),
                )
        except aiohttp.ConnectionTimeoutError:
            return CallOutcome(answer="no", detail="nobody answered at the worker's endpoint in time")
        except TimeoutError:
            return CallOutcome(answer="unknown", detail=f"the worker did not answer {path} in time")
        except ValueError:  # aiohttp's InvalidURL too, which is also a ClientError
            return CallOutcome(answer="no", detail="the worker's endpoint is not a usable URL")
        except aiohttp.ClientConnectorError as error:
            detail = self._connect_refusal(endpoint, error) or "nobody listens at the worker's endpoint"
            return CallOutcome(answer="no", detail=detail)
        except (aiohttp.ClientError, OSError):
            # The connection broke after the request may have been read: it may have taken effect.
            return CallOutcome(answer="unknown", detail=f"the connection broke during {path}")

    def _literal_refusal(self, endpoint: str) -> str | None:
        """Refuse what its text shows: it was registered under other settings or another version."""
        try:
            check_url(endpoint, allow_private=self._allow_private)
        except ValueError as error:
            return self._say(endpoint, str(error))
        return None

    def _connect_refusal(self, endpoint: str, error: aiohttp.ClientConnectorError) -> str | None:
        """Say why we did not connect; None when it was not us who refused."""
        problem = refusal(error)
        return None if problem is None else self._say(endpoint, f"{shown(endpoint)} {problem}")

    def _say(self, endpoint: str, problem: str) -> str:
        """Make the sentence about a refused endpoint; it is probed for ever, but logged once."""
        sentence = f"the worker's endpoint {problem}"
        if endpoint not in self._refused:
            if len(self._refused) >= _MOST_LOGGED:
                self._refused.clear()
            self._refused.add(endpoint)
            log.warning("worker_endpoint_refused", reason=sentence)
        return sentence


def _url(endpoint: str, path: str) -> str:
    return endpoint.rstrip("/") + path


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Read the header, as seconds or as a date; nonsense is taken as absent, an hour is the most."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value), _MOST_RETRY_AFTER_S)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(0.0, seconds), _MOST_RETRY_AFTER_S)
