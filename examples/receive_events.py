"""Receives webhooks: verifies each, prints what is new, skips repeats. Register its address first.

GREENROOM_WEBHOOK_SECRET=whsec_… python -m examples.receive_events [--port 9000]
"""

from __future__ import annotations

import argparse
import os
from collections import OrderedDict

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

KEPT = 10_000  # ids of deliveries, to know a repeat; a real receiver keeps them where it keeps the events


def receiver(secret: str) -> web.Application:
    """Make the application that receives at /hook."""
    webhook = Webhook(secret)
    seen: OrderedDict[str, None] = OrderedDict()

    async def receive(request: web.Request) -> web.Response:
        try:
            event = webhook.verify(await request.read(), dict(request.headers))
        except (WebhookVerificationError, ValueError):
            return web.Response(status=401)
        message_id = request.headers["webhook-id"]
        if message_id not in seen:
            print(event["position"], event["type"], event["session_id"] or "-", flush=True)
            seen[message_id] = None
            if len(seen) > KEPT:
                seen.popitem(last=False)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", receive)
    return app


def main() -> None:
    """Read the command line and receive until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    secret = os.environ.get("GREENROOM_WEBHOOK_SECRET")
    if not secret:
        parser.error("GREENROOM_WEBHOOK_SECRET is not set; give it the secret of the registration's answer")
    web.run_app(receiver(secret), host="127.0.0.1", port=options.port)


if __name__ == "__main__":
    main()
