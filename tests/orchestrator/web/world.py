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
from orchestrator.core.errors import RoomServerError, WebhookRefusedError
from orchestrator.core.events import SessionEvent
from orchestrator.core.grants import Grant
from orchestrator.core.ids import Identity, InstanceId, RoomName, RoomSid, SessionId
from orchestrator.core.session import Limits, Session
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant
from orchestrator.ports import Change, Notice, Room, Token
from orchestrator.service.commands import CommandRunner
from orchestrator.service.counted_rooms import CountedRooms
from orchestrator.service.dispatch import Dispatch
from orchestrator.service.feed import Feed
from orchestrator.service.live import LiveSessions
from orchestrator.service.pull import PullWorkers
from orchestrator.service.push import PushWorkers
from orchestrator.service.reconcile import Reconciler
from orchestrator.service.registry import Registry
from orchestrator.service.sessions import SessionPolicy, Sessions
from orchestrator.service.webhooks import Webhooks
from orchestrator.settings import Settings
from orchestrator.web.app import build_app
from orchestrator.web.metrics import LiveNumbers, Metrics
from orchestrator.web.server import listening
from orchestrator.web.services import Services
from sdk.wire import RecordingTask
from tests.fakes.clock import FakeClock
from tests.fakes.workers import FakeCaller

PAGE_ORIGIN = "https://app.example.org"


class StubRooms:
    """Implements `RoomServer` as far as the edge reaches."""

    def __init__(self) -> None:
        self.rooms: dict[RoomName, Room] = {}
        self.present: list[Participant] = []
        self.error: RoomServerError | None = None
        self.deployment_id = ""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def create_room(self, name: RoomName, session_id: SessionId) -> Room:
        self._fail()
        room = Room(
            name=name,
            sid=RoomSid(f"RM_{len(self.rooms)}"),
            deployment_id=self.deployment_id,
            session_id=session_id,
        )
        return self.rooms.setdefault(name, room)

    async def list_rooms(self, names: tuple[RoomName, ...] = ()) -> list[Room]:
        self._fail()
        return [room for name, room in self.rooms.items() if not names or name in names]

    async def delete_room(self, name: RoomName) -> None:
        self._fail()
        self.rooms.pop(name, None)

    async def list_participants(self, name: RoomName) -> list[Participant]:
        self._fail()
        return self.present

    async def remove_participant(self, name: RoomName, identity: Identity) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class FakeMint:
    """Implements `TokenMint`: the token says what it was minted for."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.grants: list[Grant] = []

    def mint(self, grant: Grant) -> Token:
        self.grants.append(grant)
        return Token(
            jwt=f"jwt-{grant.role}-{grant.identity}", expires_at=self._clock.now() + timedelta(seconds=300)
        )


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
    """One orchestrator's services and its HTTP edge; ``url`` is set while it listens."""

    settings: Settings
    clock: FakeClock = field(default_factory=FakeClock)
    keep_alive_s: float = 60.0

    def __post_init__(self) -> None:
        self.url = ""
        self.store = MemorySessionStore(
            clock=self.clock, instance_id=InstanceId("i1"), on_commit=lambda head: self.feed.notify(head)
        )
        self.feed = Feed(self.store, keep_alive_s=self.keep_alive_s, retention_s=7 * 86400)
        self.fake_rooms = StubRooms()
        self.rooms = CountedRooms(self.fake_rooms, self.clock)
        self.mint = FakeMint(self.clock)
        self.caller = FakeCaller()
        self.verifier = FakeVerifier()
        self.registry = Registry(store=self.store, clock=self.clock)
        self.sessions = Sessions(
            store=self.store,
            rooms=self.rooms,
            tokens=self.mint,
            clock=self.clock,
            policy=SessionPolicy(livekit_url="ws://127.0.0.1:7880", limits=Limits()),
            live=LiveSessions(),
            directory=self.registry,
        )
        self.reconciler = Reconciler(
            sessions=self.sessions,
            rooms=self.rooms,
            clock=self.clock,
            rooms_interval_s=1,
            participants_interval_s=5,
        )
        self.dispatch = Dispatch(
            sessions=self.sessions,
            registry=self.registry,
            tokens=self.mint,
            caller=self.caller,
            looker=self.reconciler,
            recording=RecordingTask(recording_id=""),
        )
        self.commands = CommandRunner(
            sessions=self.sessions,
            store=self.store,
            rooms=self.rooms,
            clock=self.clock,
            workers=self.dispatch,
        )
        self.sessions.run_commands = self.commands.submit
        self.pull = PullWorkers(
            sessions=self.sessions,
            registry=self.registry,
            dispatch=self.dispatch,
            looker=self.reconciler,
            feed=self.feed,
            clock=self.clock,
            instance="i1",
            heartbeat_interval_s=2,
        )
        self.metrics = Metrics(
            LiveNumbers(
                sessions=self.sessions.live.all,
                workers=lambda: {"Registered": len(self.registry.all())},
                commands_running=lambda: self.commands.running,
                jobs_queued=lambda: self.dispatch.queued,
                events=lambda: self.feed.delivered,
                reconcile_s=lambda: self.reconciler.last_pass_s,
                rooms=self.rooms,
            )
        )
        self.services = Services(
            settings=self.settings,
            store=self.store,
            rooms=self.rooms,
            sessions=self.sessions,
            registry=self.registry,
            dispatch=self.dispatch,
            push=PushWorkers(sessions=self.sessions, registry=self.registry, dispatch=self.dispatch),
            pull=self.pull,
            webhooks=Webhooks(self.sessions),
            verifier=self.verifier,
            feed=self.feed,
            metrics=self.metrics,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ClientSession]:
        """Listen, with the feed running; gives a client."""
        await self.feed.open()
        await self.sessions.open()
        self.fake_rooms.deployment_id = self.sessions.deployment_id
        following = asyncio.ensure_future(self.feed.run())
        try:
            async with listening(build_app(self.services), "127.0.0.1", 0, shutdown_timeout_s=5) as port:
                self.url = f"http://127.0.0.1:{port}"
                connector = TCPConnector(force_close=False, limit=0)
                async with ClientSession(self.url, connector=connector) as client:
                    yield client
        finally:
            following.cancel()
            await asyncio.wait({following})
            await self.dispatch.close()
            await self.sessions.close()
            await self.commands.close()

    async def create(self, client: ClientSession, **fields: Any) -> dict[str, Any]:
        """Create a session by the API; the answer, which must be a 200."""
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
