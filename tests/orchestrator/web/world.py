"""The HTTP edge over the real service layer, the memory store and fakes: what the route tests stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from aiohttp import ClientResponse, ClientSession, TCPConnector

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.adapters.memory_webhooks import MemoryWebhooks
from orchestrator.core.errors import WebhookRefusedError
from orchestrator.core.events import SessionEvent
from orchestrator.core.grants import Grant
from orchestrator.core.ids import InstanceId, SessionId
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.ports import Change, Notice, Token, WorkerCaller
from orchestrator.settings import Settings
from orchestrator.web.app import build_app
from orchestrator.web.server import listening
from orchestrator.wiring import Orchestrator, Parts
from tests.fakes.clock import FakeClock
from tests.fakes.receivers import FakeSender
from tests.fakes.rooms import FakeRooms
from tests.fakes.workers import FakeCaller

PAGE_ORIGIN = "https://app.example.org"


class FakeMint:
    """Implements `TokenMint`: the token says what it was minted for."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.grants: list[Grant] = []
        self.jwt_of: Callable[[Grant], str] = lambda grant: f"jwt-{grant.role}-{grant.identity}"

    def mint(self, grant: Grant) -> Token:
        self.grants.append(grant)
        return Token(jwt=self.jwt_of(grant), expires_at=self._clock.now() + timedelta(seconds=300))


class FakeVerifier:
    """Implements `WebhookVerifier`: `signed` is the only right signature."""

    def __init__(self) -> None:
        self.notice: Notice | None = None

    def verify(self, body: bytes, authorization: str) -> Notice:
        if authorization != "signed" or self.notice is None:
            raise WebhookRefusedError("the webhook is not signed with our key")
        return self.notice


@dataclass(kw_only=True)
class World:
    """One orchestrator and its HTTP edge; only its feed runs. ``url`` is set while it listens.

    ``real_caller`` given, push workers are called by it instead of the fake.
    """

    settings: Settings
    url: str = ""
    clock: FakeClock = field(default_factory=FakeClock)
    verifier: FakeVerifier = field(default_factory=FakeVerifier)
    real_caller: WorkerCaller | None = None

    def __post_init__(self) -> None:
        self.store = MemorySessionStore(
            clock=self.clock,
            instance_id=InstanceId("i1"),
            on_commit=lambda head: self.orchestrator.notify(head),
        )
        self.rooms = FakeRooms(deployment_id=self.store._deployment_id)
        self.mint = FakeMint(self.clock)
        self.caller = FakeCaller()
        self.webhooks, self.sender = MemoryWebhooks(), FakeSender()
        self.orchestrator = Orchestrator(
            Parts(
                store=self.store,
                catalog=self.store.catalog,
                rooms=self.rooms,
                tokens=self.mint,
                caller=self.real_caller or self.caller,
                webhooks=self.webhooks,
                sender=self.sender,
                clock=self.clock,
                instance=InstanceId("i1"),
                connect_url="ws://127.0.0.1:7880",
            ),
            self.settings,
        )
        self.feed = self.orchestrator.feed
        self.sessions = self.orchestrator.sessions
        self.registry = self.orchestrator.registry
        self.metrics = self.orchestrator.metrics

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ClientSession]:
        """Listen, with the feed running; gives a client."""
        await self.orchestrator.open()
        following = asyncio.ensure_future(self.feed.run())
        app = build_app(self.orchestrator.services(self.verifier))
        try:
            async with listening(app, "127.0.0.1", 0, shutdown_timeout_s=5) as port:
                self.url = f"http://127.0.0.1:{port}"
                async with ClientSession(self.url, connector=TCPConnector(limit=0)) as client:
                    yield client
        finally:
            following.cancel()
            await asyncio.wait({following})
            await self.orchestrator.close()

    async def create(self, client: ClientSession, **fields: Any) -> dict[str, Any]:
        """Create a session by the API; the answer, which must be a 200. All it brings about is told."""
        body = {"user_identity": "alice", "required_services": [], **fields}
        answer = await client.post("/api/v1/create-session", json=body)
        value: dict[str, Any] = await answer.json()
        assert answer.status == 200, value
        await self.settle(value["session_id"])
        return value

    async def settle(self, session_id: str) -> None:
        """Wait until the result of a creation is committed and the feed has handed out everything."""
        await until(
            lambda: (
                (session := self.sessions.live.get(SessionId(session_id))) is None
                or session.room_status is not RoomStatus.CREATING
            )
        )
        head = (await self.store.feed_after(2**60, session_id=None, limit=1)).head_seq
        await until(lambda: self.feed.tail >= head)

    async def append(self, session_id: str, *events: SessionEvent) -> None:
        """Commit events of a session, past its step function, as any commit would."""
        session = await self.store.load(SessionId(session_id))
        change = Change(session=next_version(session, events), events=events)
        await self.store.commit(change)
        self.sessions.live.put(change.session)


def next_version(session: Session, events: tuple[SessionEvent, ...]) -> Session:
    """Give the record that a commit with these events writes."""
    return replace(session, version=session.version + 1, events=session.events + len(events))


async def error_of(answer: ClientResponse) -> dict[str, Any]:
    """Give the error body, after checking that it is the one error body."""
    body: dict[str, Any] = await answer.json()
    assert answer.content_type == "application/json"
    assert set(body) >= {"error", "message", "timestamp", "code", "request_id"}
    assert body["timestamp"].endswith("Z")
    assert body["code"] == answer.status
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return body


async def until(holds: Callable[[], bool], deadline_s: float = 5.0) -> None:
    """Wait for something that another task brings about."""
    async with asyncio.timeout(deadline_s):
        while not holds():
            await asyncio.sleep(0.005)
