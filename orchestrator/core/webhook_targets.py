"""Outgoing webhooks: who gets events, how far each of them is, when a delivery is tried again or given up.

A target's queue is the feed: what it has is one number, the cursor, and the few sessions that are held back
because a delivery of theirs failed. Source: docs/decisions/0009.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Final, Literal, NewType, get_args

import msgspec

from orchestrator.core.events import Event, FeedEvent, JobChanged, Position
from orchestrator.core.ids import SessionId
from orchestrator.core.jobs import JobState

TargetId = NewType("TargetId", str)  # "wh_" and 32 hexadecimal digits
TargetStatus = Literal["active", "paused", "disabled"]
Lane = SessionId | None  # what is delivered in order: one session, or all that belongs to none

GAP: Final = "gap"  # events were forgotten before they were delivered; sent whatever a target chose
MAX_HELD: Final = 64  # sessions held back before a target's cursor stops
MAX_DEAD_LETTERS: Final = 1000  # kept of one target; the oldest are forgotten
LONGEST_RETRY_S: Final = 600.0
SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # the specification's
SECRET_BYTES: Final = (24, 64)  # of a key: least and most; the specification's recommendation
MAX_RETRY_AFTER_S: Final = 3600.0  # a receiver that asks for more is called then


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """Who gets events, as registered.

    Attributes:
        events: names of the feed; None for all.
        secret: signs the deliveries; told once, at the registration. Never in a repr.
        status: `disabled` by an answer 410, `paused` by its owner.
        reason: one sentence about a status that is not `active`.
    """

    id: TargetId
    url: str = field(repr=False)  # a path may hold a key of its receiver
    events: tuple[str, ...] | None = None
    secret: str = field(repr=False)
    created_at: datetime
    status: TargetStatus = "active"
    reason: str = ""

    def wants(self, name: str) -> bool:
        """Whether events of this name are delivered to it."""
        return self.events is None or name in self.events


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lane that is held back: what it has next, and since when it fails.

    Attributes:
        seq: the first event that was not delivered.
        gap: the position after which events were forgotten, when that is to be told first.
        tries: failed deliveries of this event.
        since: when the lane began to fail; over several events, until one is delivered.
        due_at: when it is tried again.
    """

    seq: int
    due_at: datetime
    gap: str = ""
    tries: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a target is: it has everything up to ``cursor``, except what the held lanes lack."""

    generation: int
    cursor: int
    held: Mapping[str, Held] = field(default_factory=dict)  # by session id; "" for what belongs to none


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A delivery that was given up; its body is kept as it was sent.

    Attributes:
        message_id: the `webhook-id` it was and will be sent under.
        queued: it is to be sent once more.
    """

    id: int = 0
    message_id: str
    name: str
    session_id: SessionId | None
    body: bytes = field(repr=False)
    tries: int
    reason: str
    given_up_at: datetime
    queued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed delivery is tried again: after ``first_s``, doubling; given up after ``give_up_s``."""

    first_s: float = 5.0
    give_up_s: float = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOutcome:
    """How a receiver answered.

    Attributes:
        status: of HTTP; None when no answer came.
        reason: one sentence, ours; nothing of the receiver's answer.
        retry_after_s: what its `Retry-After` header said.
    """

    status: int | None
    reason: str = ""
    retry_after_s: float | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants nothing more, ever."""
        return self.status == 410

    @property
    def pause_s(self) -> float:
        """How long the whole target is left alone: it said that it has too much to do, and for how long."""
        if self.status in (429, 503) and self.retry_after_s is not None:
            return min(self.retry_after_s, MAX_RETRY_AFTER_S)
        return 0.0


def failed(held: Held, outcome: SendOutcome, *, now: datetime, luck: float, policy: RetryPolicy) -> Held:
    """Note a failed delivery and when to try again.

    Args:
        held: the lane; its ``seq`` is the event that failed.
        outcome: how.
        now: the store's time.
        luck: 0 <= luck < 1; half of each delay is by chance, so that lanes do not come back together.
        policy: first delay.
    """
    longest = min(LONGEST_RETRY_S, policy.first_s * 2.0 ** min(held.tries, 30))
    delay_s = longest * (0.5 + 0.5 * luck)
    if outcome.retry_after_s is not None:
        delay_s = max(delay_s, min(outcome.retry_after_s, MAX_RETRY_AFTER_S))
    return replace(
        held, tries=held.tries + 1, since=held.since or now, due_at=now + timedelta(seconds=delay_s)
    )


def is_given_up(held: Held, now: datetime, policy: RetryPolicy) -> bool:
    """Whether an event that has just failed is not tried again."""
    return held.since is not None and now - held.since >= timedelta(seconds=policy.give_up_s)


def message_id(target: TargetId, generation: int, seq: int) -> str:
    """Give the `webhook-id` of an event: the same at every delivery to this target, another for others."""
    return f"{target}_{generation}_{seq}"


def gap_message_id(target: TargetId, lane: Lane, after: str) -> str:
    """Give the `webhook-id` of a gap that begins after a position."""
    of = f"{lane}_" if lane else ""
    return f"{target}_gap_{of}{after.replace(':', '_')}"


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    timestamp: datetime
    position: str
    session_id: str | None
    number: int
    data: msgspec.Raw


_encode: Final = msgspec.json.Encoder().encode


def event_body(event: FeedEvent, position: Position) -> bytes:
    """Give what is sent of an event: the feed's data, and where it stands.

    Source: Standard Webhooks, payload structure (`type`, `timestamp`, `data`); the rest is ours.
    """
    return _encode(
        _Body(
            type=event.name,
            timestamp=event.at,
            position=position,
            session_id=event.session_id,
            number=event.number,
            data=msgspec.Raw(event.data),
        )
    )


def gap_body(lane: Lane, after: str, to: Position, now: datetime) -> bytes:
    """Give what is sent in place of events that were forgotten, those after ``after`` up to ``to``."""
    data = {"from": after, "to": to, "snapshot": None}
    return _encode(
        _Body(
            type=GAP, timestamp=now, position=to, session_id=lane, number=0, data=msgspec.Raw(_encode(data))
        )
    )


@cache
def event_names() -> frozenset[str]:
    """Give the names that a target can choose."""
    plain = {kind.name for kind in get_args(Event)} - {JobChanged.name}
    return frozenset(plain | {f"job_{state.value}" for state in JobState} | {"recording_started"})


def secret_problem(secret: str) -> str | None:
    """Say in one sentence why this is no signing secret; None when it is. Never repeats it."""
    fix = "leave it out to be given one"
    if not secret.startswith(SECRET_PREFIX):
        return f"does not begin with {SECRET_PREFIX}; {fix}"
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return f"is not base64 behind {SECRET_PREFIX}; {fix}"
    least, most = SECRET_BYTES
    if not least <= len(key) <= most:
        return f"is a key of {len(key)} bytes; it must have {least} to {most}; {fix}"
    return None
