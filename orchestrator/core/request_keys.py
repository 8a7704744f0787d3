"""What an `Idempotency-Key` stands for: which request it came with, what that one made, and for how long.

Source: architecture §8, invariants I12.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from orchestrator.core.errors import KeyReusedError
from orchestrator.core.ids import CallerId

KEPT: Final = timedelta(hours=24)  # after that a key is free again


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyScope:
    """A key as it is looked up: two callers, or two routes, never share one.

    Attributes:
        caller: who asks.
        route: our name of the route, the same under each of its paths.
        key: as it was sent.
    """

    caller: CallerId
    route: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """The key of one request; ``fingerprint`` is the SHA-256 of what was asked, in hex."""

    scope: KeyScope
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundKey:
    """What a key was bound to; ``target`` is the session or the worker that its request made or changed."""

    fingerprint: str
    target: str


def check_repeat(key: RequestKey, bound: BoundKey) -> None:
    """See that a request repeats the one that its key was bound by.

    Raises:
        KeyReusedError: it asks for something else.
    """
    if key.fingerprint != bound.fingerprint:
        raise KeyReusedError(key.scope.key)
