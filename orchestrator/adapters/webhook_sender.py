"""Sends deliveries to receivers of outgoing webhooks: signed, with a deadline, one POST and no second.

Nothing of a receiver's answer is passed on: its status is all we read (and `Retry-After`). No redirects: the
address that was registered is the one that is called. Source: Standard Webhooks 1.0.0.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from standardwebhooks.webhooks import Webhook

from orchestrator.adapters.guarded_http import guarded_session, refusal
from orchestrator.core.addresses import check_url
from orchestrator.core.webhook_targets import SECRET_PREFIX, SendOutcome, WebhookTarget

_KEY_BYTES: Final = 32


class HttpWebhookSender:
    """The HTTP client for receivers; one connection pool.

    Args:
        allow_private: whether receivers may be on loopback and private networks.
        timeout_s: a receiver must have answered within.
        now: wall time, aware UTC: the time of a signature.
        resolver: None looks names up as the system does.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        timeout_s: float,
        now: Callable[[], datetime],
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._resolver = resolver
        self._timeout_s = timeout_s
        self._now = now
        self._http: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool."""
        self._http = guarded_session(
            allow_private=self._allow_private, total_s=self._timeout_s, resolver=self._resolver
        )

    async def close(self) -> None:
        """Close it."""
        if self._http is not None:
            await self._http.close()

    def new_secret(self) -> str:
        """Make a signing secret."""
        return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()

    async def send(self, target: WebhookTarget, *, message_id: str, body: bytes) -> SendOutcome:
        """POST one delivery."""
        assert self._http is not None
        try:
            # It was registered under other settings or another version; the connector sees to names.
            check_url(target.url, allow_private=self._allow_private)
        except ValueError:
            return SendOutcome(status=None, reason="the address may not be called; register another one")
        headers = self._headers(target.secret, message_id, body)
        try:
            async with self._http.post(
                target.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                # The body is left unread: closing the connection bounds what a receiver can send us.
                return self._outcome(response)
        except aiohttp.ConnectionTimeoutError:
            return SendOutcome(status=None, reason="nobody answered at the address in time")
        except TimeoutError:
            return SendOutcome(status=None, reason=f"no answer within {self._timeout_s:g} s")
        except ValueError:  # aiohttp's InvalidURL too, which is also a ClientError
            return SendOutcome(status=None, reason="the address is not a usable URL")
        except aiohttp.ClientConnectorError as error:
            problem = refusal(error)
            reason = f"the address {problem}" if problem else "no connection could be made to the address"
            return SendOutcome(status=None, reason=reason)
        except (aiohttp.ClientError, OSError):
            return SendOutcome(status=None, reason="the connection broke before an answer came")

    def _outcome(self, response: aiohttp.ClientResponse) -> SendOutcome:
        if 200 <= response.status < 300:
            return SendOutcome(status=response.status)
        reason = f"the receiver answered with status {response.status}"
        if 300 <= response.status < 400:
            reason += "; redirects are not followed"
        retry_after_s = read_retry_after(response.headers.get("Retry-After"), self._now())
        return SendOutcome(status=response.status, reason=reason, retry_after_s=retry_after_s)

    def _headers(self, secret: str, message_id: str, body: bytes) -> dict[str, str]:
        at = self._now().astimezone(UTC).replace(microsecond=0)
        return {
            "Content-Type": "application/json",
            "User-Agent": "greenroom-webhooks",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(msg_id=message_id, timestamp=at, data=body.decode()),
        }


def read_retry_after(value: str | None, now: datetime) -> float | None:
    """Read seconds or a date (RFC 9110, 10.2.3); nonsense is taken as absent."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now.timestamp())
