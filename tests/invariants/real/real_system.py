"""The whole system for the fault tests: LiveKit, orchestrator and workers as processes, proxies between."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from greenroom import free_ports
from greenroom.media_server import MediaServer, MediaServerSetup, answers
from sdk.client import Client, ServerEvent
from tests.acceptance.system import System
from tests.integration.servers import WebhookRelay
from tests.invariants.real.fleet import Fleet, fleet
from tests.invariants.real.livekit_eye import LiveKitEye, livekit_eye
from tests.invariants.real.tcp_proxy import TcpProxy

IS_FULL: Final = os.environ.get("GREENROOM_FULL", "") == "1"
SETTINGS: Final = {"microservices__client_timeout": "3600"}  # sessions without a client outlive the test


class ProxiedSystem(System):
    """An orchestrator that reaches LiveKit, and tells its clients to, by way of a proxy."""

    livekit_port = 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the orchestrator is started with."""
        return {
            **super().environment,
            "LIVEKIT_SERVER_URL": f"ws://{free_ports.LOOPBACK}:{self.livekit_port}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event as a reader got it, and when (monotonic seconds)."""

    at: float
    seen: ServerEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class RealSystem:
    """Everything that runs.

    Attributes:
        door: stands before the orchestrator: workers, clients and webhooks come through it.
        media_door: stands before LiveKit: signalling and API of everybody; media goes past it.
        events: what a reader of the global feed has got so far, through ``door``.
    """

    system: System
    fleet: Fleet
    eye: LiveKitEye
    door: TcpProxy
    media_door: TcpProxy
    client: Client
    events: list[Event]

    async def until_registered(self, worker_ids: frozenset[str], *, within_s: float = 60.0) -> None:
        """Wait until all these workers can be asked."""

        async def are_there() -> bool:
            answer = await self.system.get("/api/v1/microservices")
            up = {w["worker_id"] for w in answer["microservices"] if w["status"] != "Disconnected"}
            return worker_ids <= up

        await self.system.until(are_there, within_s=within_s, what=f"{sorted(worker_ids)} to register")


async def _read(client: Client, events: list[Event]) -> None:
    async for event in client.events(from_start=True):
        events.append(Event(at=time.monotonic(), seen=event))


@asynccontextmanager
async def real_system(
    folder: Path,
    make_media: Callable[..., MediaServer],
    *,
    pull: int = 4,
    push: int = 2,
    zombies_say: Mapping[str, str] | None = None,
    webhooks: WebhookRelay | None = None,
    **settings: str,
) -> AsyncIterator[RealSystem]:
    """Start everything and wait until the workers are registered.

    Args:
        folder: for the data, journals and logs.
        make_media: starts a LiveKit server of the test's own.
        pull, push: how many workers of each kind.
        zombies_say: by worker id, what its jobs say when their process was frozen: `done` or `failed`.
        webhooks: stands between LiveKit and ``door``; none: LiveKit calls there itself.
        **settings: of the orchestrator, as `section__key="toml value"`.
    """
    port = free_ports.free_port()
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(TcpProxy(port))
        webhook_url = f"{door.url}/api/v1/livekit/webhook"
        if webhooks is not None:
            webhooks.target, webhook_url = webhook_url, webhooks.url
        media = make_media(webhook_urls=[webhook_url])
        media_door = await stack.enter_async_context(TcpProxy(media.setup.http_port))
        system = ProxiedSystem(folder, media, port, **{**SETTINGS, **settings})
        system.livekit_port = media_door.port
        stack.push_async_callback(system.close)
        workers = stack.enter_context(fleet(folder, pull=pull, push=push))
        await system.start()  # alone: seven interpreters that start at once take long on two cores
        for worker in workers.workers:
            worker.start(door.url, zombie_says=(zombies_say or {}).get(worker.worker_id, ""))
        eye = await stack.enter_async_context(livekit_eye(media))
        client = await stack.enter_async_context(Client(door.url))
        events: list[Event] = []
        reading = asyncio.create_task(_read(client, events))
        stack.push_async_callback(_end, reading)
        running = RealSystem(
            system=system,
            fleet=workers,
            eye=eye,
            door=door,
            media_door=media_door,
            client=client,
            events=events,
        )
        await running.until_registered(frozenset(worker.worker_id for worker in workers.workers))
        yield running


async def start_livekit(media: MediaServer) -> float:
    """Start LiveKit again on its ports; gives the moment at which it first answered (monotonic)."""
    _, answered_at = await asyncio.gather(
        media.__aenter__(),  # `start` would hold up the proxies in this loop
        asyncio.to_thread(_answers_at, media.setup),
    )
    return answered_at


def _answers_at(setup: MediaServerSetup) -> float:
    until = time.monotonic() + 15
    while not answers(setup):
        assert time.monotonic() < until, "livekit-server did not come back"
        time.sleep(0.02)
    return time.monotonic()


async def _end(reading: asyncio.Task[None]) -> None:
    reading.cancel()
    await asyncio.wait({reading}, timeout=5)
