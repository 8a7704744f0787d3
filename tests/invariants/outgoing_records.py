"""What a history holds of outgoing webhooks: who asked for them, and what arrived, as receivers saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Temper = Literal["steady", "moody", "hanging"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """A receiver was told that it gets everything from here on.

    ``temper``: steady always answers at once, moody does so from the healing on, hanging never does again.
    """

    at: float
    target: str
    temper: Temper


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """A delivery arrived, whether its sender ever heard of it or not."""

    at: float
    target: str
    message_id: str
    position: str
    session_id: str | None
    number: int
