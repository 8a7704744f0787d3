"""How bad the world is at this moment: what the ports and lines of the simulation do wrong, and how often."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Weather:
    """Probabilities of one call or message, unless said otherwise; all nothing is fine weather.

    Attributes:
        store_fails: refused, nothing written.
        store_forgets: written, and the caller is told that it failed.
        store_slow_s: the most that a store call takes.
        rooms_down: LiveKit answers nobody.
        rooms_lost: the call never arrives.
        rooms_done: it is done, and the caller sees a timeout.
        rooms_late: it is done long after the caller saw a timeout.
        rooms_slow_s: the most that a call takes.
        hook_lost, hook_twice: a webhook is dropped, or delivered twice.
        hook_late_s: the most that a webhook is late; late ones also overtake each other.
        call_unknown: a call to a push worker takes effect (or not) and nobody hears.
        http_lost: a caller's request or its answer is lost.
    """

    store_fails: float = 0.0
    store_forgets: float = 0.0
    store_slow_s: float = 0.004
    rooms_down: bool = False
    rooms_lost: float = 0.0
    rooms_done: float = 0.0
    rooms_late: float = 0.0
    rooms_slow_s: float = 0.02
    hook_lost: float = 0.0
    hook_twice: float = 0.0
    hook_late_s: float = 0.05
    call_unknown: float = 0.0
    http_lost: float = 0.0
