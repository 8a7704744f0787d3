"""What outgoing webhooks need from outside: where they are kept, and how a delivery leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.core.webhook_targets import DeadLetter, Progress, SendOutcome, TargetId, WebhookTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterPage:
    """Deliveries that were given up, oldest first, and how many there are in all."""

    letters: tuple[DeadLetter, ...]
    total: int


class WebhookStore(Protocol):
    """Keeps who gets events, how far each of them is, and what was given up.

    What a call returned from survives as in `SessionStore`. Every method may raise `StoreError` (worth trying
    again) and may be repeated. Adapters: memory_webhooks, sqlite_webhooks.
    Suite: tests/contracts/test_webhook_store.py.
    """

    async def add_target(self, target: WebhookTarget, start: Progress) -> None:
        """Insert a registration; ``start`` says from where on it gets events."""

    async def save_target(self, target: WebhookTarget) -> None:
        """Replace a registration; nothing happens when it is gone."""

    async def delete_target(self, target_id: TargetId) -> None:
        """Forget a registration and its dead letters; a missing one is forgotten."""

    async def targets(self) -> list[tuple[WebhookTarget, Progress]]:
        """Give all registrations and how far they are, the first registered first."""

    async def save_progress(
        self, target_id: TargetId, progress: Progress, given_up: Sequence[DeadLetter] = ()
    ) -> None:
        """Replace how far a target is and add dead letters, in one operation; nothing when it is gone.

        A target keeps its newest `MAX_DEAD_LETTERS`.
        """

    async def dead_letters(
        self, target_id: TargetId, *, after: int = 0, limit: int, queued_only: bool = False
    ) -> DeadLetterPage:
        """Give dead letters whose id is above ``after``; with ``queued_only`` those to be sent once more."""

    async def queue_dead_letters(self, target_id: TargetId, letter_id: int | None) -> int:
        """Mark one dead letter, or (None) all of a target, to be sent once more; give how many it found."""

    async def finish_dead_letter(self, letter: DeadLetter, *, reason: str | None) -> None:
        """Forget a letter that was delivered (``reason`` is None), or note why it was not, once more."""


class WebhookSender(Protocol):
    """Signs and sends deliveries. Every call has a deadline; nothing is retried here.

    Adapter: webhook_sender; fake: tests/fakes/receivers.py.
    """

    async def send(self, target: WebhookTarget, *, message_id: str, body: bytes) -> SendOutcome:
        """POST one delivery, signed with the target's secret at this moment."""

    def new_secret(self) -> str:
        """Make a signing secret from the system's random source."""
