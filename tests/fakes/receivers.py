"""Receivers of outgoing webhooks that live in the test: they answer as told and keep what they got."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from orchestrator.core.webhook_targets import SendOutcome, WebhookTarget

OK = SendOutcome(status=204)
REFUSED = SendOutcome(status=500, reason="the receiver answered with status 500")
GONE = SendOutcome(status=410, reason="the receiver answered with status 410")
SILENT = SendOutcome(status=None, reason="no answer within 15 s")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True, slots=True)
class Got:
    """One delivery as it arrived."""

    target_id: str
    message_id: str
    body: dict[str, Any]

    @property
    def session_id(self) -> str | None:
        """Whose it is."""
        value: str | None = self.body["session_id"]
        return value

    @property
    def number(self) -> int:
        """Its number in its session."""
        return int(self.body["number"])


class FakeSender:
    """Implements `WebhookSender`.

    Attributes:
        answer: decides by delivery; always yes unless replaced.
        got: deliveries that were answered with yes, in order.
        tries: all that were tried, in order.
        hanging: while it is set to an event, every delivery waits for it first.
    """

    def __init__(self) -> None:
        self.answer: Callable[[Got], SendOutcome] = lambda got: OK
        self.got: list[Got] = []
        self.tries: list[Got] = []
        self.hanging: asyncio.Event | None = None

    async def send(self, target: WebhookTarget, *, message_id: str, body: bytes) -> SendOutcome:
        """Answer as told."""
        got = Got(target.id, message_id, msgspec.json.decode(body))
        self.tries.append(got)
        if self.hanging is not None:
            await self.hanging.wait()
        await asyncio.sleep(0)
        outcome = self.answer(got)
        if outcome.is_delivered:
            self.got.append(got)
        return outcome

    def new_secret(self) -> str:
        """Give always the same."""
        return SECRET
