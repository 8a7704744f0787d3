"""A relay for LiveKit's webhooks that loses some, repeats some, and brings some late and out of order."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final

from tests.integration.servers import ReceivedWebhook, WebhookRelay

_KINDS: Final = ("pass", "lose", "repeat", "delay")
_WEIGHTS: Final = (4, 2, 1, 2)
_LATE_S: Final = (0.2, 4.0)


class WebhookWeather(WebhookRelay):
    """Draws for each webhook what becomes of it; LiveKit is told 200 also for what is lost.

    Attributes:
        is_calm: pass everything on.
        done: how many had which fate.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.is_calm = False
        self.done: Counter[str] = Counter()
        self._chance = random.Random(seed)

    def deliver(self, webhook: ReceivedWebhook, headers: Mapping[str, str]) -> int:
        """Let the drawn fate befall a webhook; gives the status to answer LiveKit with."""
        kind = "pass" if self.is_calm else self._chance.choices(_KINDS, _WEIGHTS)[0]
        self.done[kind] += 1
        match kind:
            case "lose":
                return 200
            case "repeat":
                super().deliver(webhook, headers)
            case "delay":
                late = threading.Timer(
                    self._chance.uniform(*_LATE_S), super().deliver, args=(webhook, headers)
                )
                late.daemon = True
                late.start()
                return 200
            case _:
                pass
        return super().deliver(webhook, headers)
