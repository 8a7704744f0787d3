"""Outgoing webhooks of tests and of trying things out: in this process's memory, nothing survives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from orchestrator.adapters.webhook_json import decode_progress, encode
from orchestrator.core.webhook_targets import (
    MAX_DEAD_LETTERS,
    DeadLetter,
    Progress,
    TargetId,
    WebhookTarget,
)
from orchestrator.webhook_ports import DeadLetterPage


@dataclass(slots=True, kw_only=True)
class _Kept:
    target: WebhookTarget
    progress: bytes
    letters: dict[int, DeadLetter] = field(default_factory=dict)


class MemoryWebhooks:
    """Implements `WebhookStore` without a single await, which makes every method atomic."""

    def __init__(self) -> None:
        self._kept: dict[TargetId, _Kept] = {}
        self._last_letter = 0

    async def add_target(self, target: WebhookTarget, start: Progress) -> None:
        """Insert a registration."""
        self._kept.setdefault(target.id, _Kept(target=target, progress=encode(start)))

    async def save_target(self, target: WebhookTarget) -> None:
        """Replace a registration."""
        if target.id in self._kept:
            self._kept[target.id].target = target

    async def delete_target(self, target_id: TargetId) -> None:
        """Forget a registration and its dead letters."""
        self._kept.pop(target_id, None)

    async def targets(self) -> list[tuple[WebhookTarget, Progress]]:
        """Give all registrations and how far they are."""
        return [(kept.target, decode_progress(kept.progress)) for kept in self._kept.values()]

    async def save_progress(
        self, target_id: TargetId, progress: Progress, given_up: Sequence[DeadLetter] = ()
    ) -> None:
        """Replace how far a target is and add dead letters."""
        kept = self._kept.get(target_id)
        if kept is None:
            return
        kept.progress = encode(progress)
        for letter in given_up:
            self._last_letter += 1
            kept.letters[self._last_letter] = replace(letter, id=self._last_letter)
        for number in sorted(kept.letters)[:-MAX_DEAD_LETTERS]:
            del kept.letters[number]

    async def dead_letters(
        self, target_id: TargetId, *, after: int = 0, limit: int, queued_only: bool = False
    ) -> DeadLetterPage:
        """Give dead letters whose id is above ``after``."""
        letters = [letter for letter in self._letters(target_id).values() if letter.queued >= queued_only]
        page = [letter for letter in letters if letter.id > after][:limit]
        return DeadLetterPage(letters=tuple(page), total=len(letters))

    async def queue_dead_letters(self, target_id: TargetId, letter_id: int | None) -> int:
        """Mark dead letters to be sent once more."""
        letters = self._letters(target_id)
        chosen = [number for number in letters if letter_id in (None, number)]
        for number in chosen:
            letters[number] = replace(letters[number], queued=True)
        return len(chosen)

    async def finish_dead_letter(self, letter: DeadLetter, *, reason: str | None) -> None:
        """Forget a letter that was delivered, or note why it was not."""
        for kept in self._kept.values():
            if letter.id not in kept.letters:
                continue
            if reason is None:
                del kept.letters[letter.id]
            else:
                kept.letters[letter.id] = replace(letter, tries=letter.tries + 1, reason=reason, queued=False)

    def _letters(self, target_id: TargetId) -> dict[int, DeadLetter]:
        kept = self._kept.get(target_id)
        return {} if kept is None else kept.letters
