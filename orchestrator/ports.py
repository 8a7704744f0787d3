"""What the orchestrator needs from outside, as Protocols that say what survives and what may be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from orchestrator.core.catalog import CatalogRecord
from orchestrator.core.commands import Command
from orchestrator.core.events import FeedEvent, Position, RegistryEvent, SessionEvent
from orchestrator.core.grants import Grant
from orchestrator.core.ids import Identity, JobId, RoomName, RoomSid, SessionId, WorkerId
from orchestrator.core.request_keys import BoundKey, KeyScope, RequestKey
from orchestrator.core.session import Session
from orchestrator.core.triggers import Participant
from orchestrator.core.workers import Registration
from sdk.wire import JoinRoom, LeaveRoom


@dataclass(frozen=True, slots=True)
class Uptime:
    """Time that nobody can set: seconds since the machine's start, and a name for that start."""

    boot: str
    seconds: float


class Clock(Protocol):
    """Time and randomness. Adapter: system; fake: tests/fakes/clock.py."""

    def now(self) -> datetime:
        """Give the wall time, aware UTC. Never goes back while the process lives."""

    def monotonic(self) -> float:
        """Give seconds that only grow, for measuring durations."""

    def uptime(self) -> Uptime | None:
        """Give how long the machine runs, asleep or not; None where nothing can tell."""

    def new_id(self) -> str:
        """Give a new uuid4 from the system's random source."""

    def random(self) -> float:
        """Give a number in [0, 1), for jitter."""


# --- the store ---


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """A durable command and its claim.

    Attributes:
        id: number of the row.
        fence: grows at every claim; what an older fence finishes is refused.
        tries: how often it was postponed after a failure.
    """

    id: int
    session_id: SessionId
    command: Command
    fence: int
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one commit writes, all or nothing.

    Attributes:
        session: the new record; its ``version`` is the expected version plus one (1 creates it). Its
            deadlines are stored with it, its name is held or released by ``is_name_held``.
        events: appended to the feed; per-session numbers are those before ``session.events``.
        commands: born claimed by this instance.
        finished: rows that this change is the result of, removed with it (id and fence must match).
        key: bound to this session by it.
        freed_key: bound to this session until now, free after it.
        recordings: what the catalog keeps of its recordings, where that is another than before.
    """

    session: Session
    events: tuple[SessionEvent, ...] = ()
    commands: tuple[Command, ...] = ()
    finished: tuple[CommandRow, ...] = ()
    key: RequestKey | None = None
    freed_key: KeyScope | None = None
    recordings: tuple[CatalogRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """Events after a position, oldest first.

    ``oldest_seq`` is the first that is still kept (1 when none was trimmed), ``head_seq`` the last written.
    """

    events: tuple[FeedEvent, ...]
    generation: int
    oldest_seq: int
    head_seq: int


class SessionStore(Protocol):
    """Keeps sessions, their feed, their commands, and who registered.

    What a call returned from survives a crash of the process and a power cut (memory: nothing survives).
    Every method may raise `StoreError` (worth trying again). Adapters: memory_store, sqlite_store.
    Suite: tests/contracts/test_session_store.py.
    """

    async def open(self) -> None:
        """Open the store and take it: one process per file.

        Raises:
            SettingsError: it cannot be opened, is held by another process, or is of a newer schema.
        """

    async def close(self) -> None:
        """Finish what was submitted and let go."""

    def now(self) -> datetime:
        """Give the store's time, by which leases and deadlines are judged."""

    async def commit(self, change: Change, *, is_patient: bool = False) -> tuple[CommandRow, ...]:
        """Write a change in one atomic operation.

        Args:
            change: what to write.
            is_patient: nobody waits for it: it may rest a few milliseconds to share another's fsync.

        Returns:
            The rows of ``change.commands``, in their order, claimed by this instance.

        Raises:
            VersionConflictError: the stored version is not ``session.version - 1``. Nothing was written.
            RoomNameTakenError: another session holds the room name. Nothing was written.
            FencedError: a finished row is gone or claimed again. Nothing was written.
            KeyTakenError: the key is bound already. Nothing was written.
        """

    async def load(self, session_id: SessionId) -> Session:
        """Give the session as last committed.

        Raises:
            SessionNotFoundError: there is none.
        """

    async def open_sessions(self) -> list[Session]:
        """Give all sessions whose `is_open` holds, oldest first."""

    async def due_sessions(self, limit: int) -> list[SessionId]:
        """Give sessions with a deadline that is due by the store's time, the earliest first."""

    async def claim_commands(self, limit: int, *, all_orphaned: bool = False) -> list[CommandRow]:
        """Claim commands whose lease lapsed or whose pause after a failure is over.

        Args:
            limit: rows at most.
            all_orphaned: at start, in a store that one process holds alone: every row of an earlier
                instance, its lease aside.
        """

    async def postpone_command(self, row: CommandRow, delay_s: float) -> None:
        """Give the claim back and let the row rest for ``delay_s``; nothing happens when it was fenced."""

    async def finish_command(self, row: CommandRow) -> None:
        """Remove a row that needs no change of its session; nothing happens when it was fenced."""

    async def feed_after(self, seq: int, *, session_id: SessionId | None, limit: int) -> FeedPage:
        """Give events with a number above ``seq``, of one session or (None) of all."""

    async def trim_feed(self, before: datetime) -> int:
        """Forget events older than ``before``; give how many."""

    async def save_worker(
        self, worker: Registration, events: Sequence[RegistryEvent] = (), *, key: RequestKey | None = None
    ) -> None:
        """Insert or replace a registration, append its events and bind the key to it, in one operation.

        Raises:
            KeyTakenError: the key is bound already. Nothing was written.
        """

    async def delete_worker(self, worker_id: WorkerId, events: Sequence[RegistryEvent] = ()) -> None:
        """Forget a registration (a missing one is forgotten) and append its events, in one operation."""

    async def workers(self) -> list[Registration]:
        """Give all registrations."""

    async def bound_key(self, scope: KeyScope) -> BoundKey | None:
        """Give what a key was bound to; None when it is free: never bound, freed, or bound `KEPT` ago."""

    async def forget_keys(self) -> int:
        """Drop keys that are free by their age; give how many."""

    async def deployment_id(self) -> str:
        """Give the id made when the store was made: by it we know our own rooms."""


def position_of(generation: int, seq: int) -> Position:
    """Write a feed position as clients see it."""
    return Position(f"{generation}:{seq}")


# --- LiveKit ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A room as LiveKit lists it. ``deployment_id`` and ``session_id`` are "" for rooms of others."""

    name: RoomName
    sid: RoomSid
    deployment_id: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A signed room token; the repr leaves it out."""

    jwt: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at.isoformat()})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """A dispatch of an agent as LiveKit lists it.

    Attributes:
        job_id, attempt: whose it is; "" and 0 for dispatches of others.
        identities: of the agents that took it, which LiveKit knows up to five seconds late.
    """

    id: str
    agent_name: str
    job_id: str = ""
    attempt: int = 0
    identities: tuple[Identity, ...] = ()


class RoomServer(Protocol):
    """LiveKit's room service, and its dispatch of agents. Every call has a deadline and may be repeated.

    Adapter: livekit_rooms; fake: tests/fakes/rooms.py. Suite: tests/contracts/test_room_server.py.
    Every method may raise `RoomServerUnavailableError` (no answer; it may have been done) or
    `RoomServerError` (refused, for instance wrong keys).
    """

    async def open(self) -> None:
        """Make the persistent connection pool; does not wait for the server."""

    async def close(self) -> None:
        """Close it."""

    async def create_room(self, name: RoomName, session_id: SessionId) -> Room:
        """Create the room, or give the one of that name that exists (whose settings then stay as they are).

        The room carries our deployment id and the session id as metadata; the caller checks whose it is.
        """

    async def list_rooms(self, names: tuple[RoomName, ...] = ()) -> list[Room]:
        """Give the rooms of these names that exist, or (no names) all of the server, those of others too."""

    async def delete_room(self, name: RoomName) -> None:
        """Delete the room; a missing one is deleted."""

    async def list_participants(self, name: RoomName) -> list[Participant]:
        """Give who is in the room; none when there is no such room."""

    async def remove_participant(self, name: RoomName, identity: Identity) -> None:
        """Put somebody out; a missing one is out. Revokes no token."""

    async def create_dispatch(
        self, name: RoomName, agent_name: str, *, job_id: JobId, attempt: int, metadata: str
    ) -> None:
        """Have an agent sent into the room; when none of this name is registered now, nobody ever comes.

        Not to be repeated without a look: each call is a dispatch of its own, and each brings an agent.

        Args:
            name: the room; a missing one is `RoomServerUnavailableError`.
            agent_name: the name under which the agent registers.
            job_id, attempt: listed with the dispatch.
            metadata: what the agent gets with its job.
        """

    async def list_dispatches(self, name: RoomName) -> list[Dispatch]:
        """Give the dispatches in the room, those of others too; none when there is no such room."""

    async def delete_dispatch(self, name: RoomName, dispatch_id: str) -> None:
        """Delete a dispatch; its agents are told to leave, then put out. A missing one is deleted."""


class TokenMint(Protocol):
    """Signs room tokens. Local, fast, no I/O. Adapter: livekit_tokens."""

    def mint(self, grant: Grant) -> Token:
        """Sign a token for this grant, valid from now for the configured life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A verified webhook. ``deployment_id`` and ``session_id`` are "" when the room is not ours.

    ``age_s``: how long ago LiveKit says that it happened, to the second; 0 when it does not say.
    """

    event: str
    id: str
    room_name: RoomName
    room_sid: RoomSid
    deployment_id: str = ""
    session_id: str = ""
    participant: Participant | None = None
    age_s: float = 0.0


# --- workers ---


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutcome:
    """How a push worker answered a call.

    Attributes:
        answer: ``yes`` (any 2xx), ``no`` (an error status, nobody listens), ``unknown`` (no answer in time:
            it may have been done).
        detail: one sentence, ours; nothing of the worker's answer.
        retry_after_s: what its `Retry-After` header said, if it said anything.
    """

    answer: Literal["yes", "no", "unknown"]
    detail: str = ""
    retry_after_s: float | None = None


class WorkerCaller(Protocol):
    """Calls push workers over HTTP. Every call has a deadline; nothing is retried here.

    Adapter: worker_callbacks; fake: tests/fakes/workers.py.
    """

    async def join_room(self, endpoint: str, request: JoinRoom) -> CallOutcome:
        """POST /join-room."""

    async def leave_room(self, endpoint: str, request: LeaveRoom) -> CallOutcome:
        """POST /leave-room; 404 and 405 count as left (the reference has no such route)."""

    async def is_healthy(self, endpoint: str) -> bool:
        """GET /health: whether it answered, and not with a 5xx."""
