"""Calls push workers over HTTP: join-room, leave-room, health.

Nothing of a worker's answer is passed on: a status is all we read (and `Retry-After`). No redirects: the
address that was registered is the one that is called.
"""

from __future__ import annotations

from typing import Final

import aiohttp
import msgspec

from orchestrator.ports import CallOutcome
from sdk.wire import JoinRoom, LeaveRoom

_PROBE_S: Final = 2.0
_LEFT: Final = (404, 405)  # the reference's SDK has the hook, but no route
_JSON: Final = {"Content-Type": "application/json"}


class WorkerCallbacks:
    """The HTTP client for push workers; one connection pool."""

    def __init__(self, *, notify_timeout_s: float, probe_timeout_s: float = _PROBE_S) -> None:
        self._notify_timeout_s = notify_timeout_s
        self._probe_timeout_s = probe_timeout_s
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool."""
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._notify_timeout_s),
            connector=aiohttp.TCPConnector(limit=256, limit_per_host=32),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
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
        try:
            async with self._http.get(
                _url(endpoint, "/health"), timeout=timeout, allow_redirects=False
            ) as response:
                return response.status < 500
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return False

    async def _post(self, endpoint: str, path: str, body: bytes, *, also_yes: tuple[int, ...]) -> CallOutcome:
        assert self._http is not None
        try:
            async with self._http.post(
                _url(endpoint, path), data=body, headers=_JSON, allow_redirects=False
            ) as response:
                if 200 <= response.status < 300 or response.status in also_yes:
                    return CallOutcome(answer="yes")
                return CallOutcome(
                    answer="no",
                    detail=f"the worker answered {path} with status {response.status}",
                    retry_after_s=_retry_after(response.headers.get("Retry-After")),
                )
        except TimeoutError:
            return CallOutcome(answer="unknown", detail=f"the worker did not answer {path} in time")
        except ValueError:  # aiohttp's InvalidURL too, which is also a ClientError
            return CallOutcome(answer="no", detail="the worker's endpoint is not a usable URL")
        except aiohttp.ClientConnectorError:
            return CallOutcome(answer="no", detail="nobody listens at the worker's endpoint")
        except (aiohttp.ClientError, OSError):
            # The connection broke after the request may have been read: it may have taken effect.
            return CallOutcome(answer="unknown", detail=f"the connection broke during {path}")


def _url(endpoint: str, path: str) -> str:
    return endpoint.rstrip("/") + path


def _retry_after(value: str | None) -> float | None:
    """Read the seconds form of the header; the date form and nonsense are taken as absent."""
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    return min(float(value), 3600.0)
