"""Signed webhooks in LiveKit's form: one queue per receiver and room, so that nobody waits for another."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import jwt
from google.protobuf import json_format
from livekit.protocol.webhook import WebhookEvent

from engine.tokens import Key

PAUSES_S: Final = (0.0, 1.0, 3.0, 7.0, 15.0)  # before each attempt, as LiveKit's
OLDEST_S: Final = 30.0  # what waited longer is dropped
MOST_WAITING: Final = 200  # per receiver and room; what comes then is dropped
GOOD_FOR_S: Final = 300  # the signature
ANSWER_S: Final = 10.0

_log = logging.getLogger("greenroom.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    body: bytes
    token: str
    event: str
    since: float  # monotonic


class Webhooks:
    """Sends events, each until it is answered, given up or too old. What is queued at the end is lost.

    Args:
        key: signs them.
        urls: the receivers.
        events: names of those to send; all when empty.
        pauses_s: before each attempt.
    """

    def __init__(
        self,
        key: Key,
        urls: Sequence[str],
        *,
        events: Iterable[str] = (),
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._key = key
        self._urls = urls
        self._events = frozenset(events)
        self._pauses_s = pauses_s
        self._queues: dict[tuple[str, str], deque[_Waiting]] = {}
        self._senders: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        self._http = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await self._http.close()

    def report(self, event: WebhookEvent) -> None:
        """Queue an event for every receiver; never waits."""
        if not self._urls or (self._events and event.event not in self._events):
            return
        body = json_format.MessageToJson(event, indent=None, ensure_ascii=False).encode()
        waiting = _Waiting(body=body, token=self._signed(body), event=event.event, since=time.monotonic())
        for url in self._urls:
            place = (url, event.room.name)
            queue = self._queues.get(place)
            if queue is None:
                queue = self._queues[place] = deque()
                sender = asyncio.get_running_loop().create_task(self._send_all(place, queue))
                self._senders.add(sender)
                sender.add_done_callback(self._senders.discard)
            if len(queue) < MOST_WAITING:
                queue.append(waiting)
            else:
                _log.warning("webhook %s dropped: %d wait for %s", event.event, MOST_WAITING, url)

    async def _send_all(self, place: tuple[str, str], queue: deque[_Waiting]) -> None:
        try:
            while queue:
                waiting = queue[0]
                if time.monotonic() - waiting.since <= OLDEST_S:
                    await self._send(place[0], waiting)
                queue.popleft()
        finally:
            del self._queues[place]

    async def _send(self, url: str, waiting: _Waiting) -> None:
        headers = {"Authorization": waiting.token, "Content-Type": "application/webhook+json"}
        for pause_s in self._pauses_s:
            await asyncio.sleep(pause_s)
            try:
                async with self._http.post(
                    url, data=waiting.body, headers=headers, allow_redirects=False
                ) as answer:
                    if answer.status < 500 and answer.status != 429:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
        _log.warning("webhook %s given up after %d attempts", waiting.event, len(self._pauses_s))

    def _signed(self, body: bytes) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self._key.api_key,
            "nbf": now,
            "exp": now + GOOD_FOR_S,
            "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        }
        return jwt.encode(claims, self._key.api_secret, algorithm="HS256")
