"""What the life of a job needs from outside: a room connection and a line to the orchestrator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sdk.lifecycle import LeftBecause
from sdk.wire import RecordingReport, ReportState

if TYPE_CHECKING:
    from livekit.rtc import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What joins a room.

    Attributes:
        expires_at: Unix time in seconds, None when nobody said it.
        second_token: of a recorder: joins as another participant beside the first; else empty.
    """

    livekit_url: str
    access_token: str = field(repr=False)
    expires_at: float | None = None
    second_token: str = field(default="", repr=False)


class RoomLink(Protocol):
    """One participant's connection to one room. `connect` may be called again after it was lost.

    Adapters: sdk/room.py (LiveKit), sdk/fake_room.py. Suite: tests/contracts/test_worker_room.py.
    """

    on_left: Callable[[LeftBecause], None] | None
    """Called once for each connection that ends without `disconnect`, in the loop that connected."""

    @property
    def room(self) -> Room:
        """The room object for the author; it stays the same over reconnections, with its callbacks."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether the room is joined; also true while the media SDK repairs the connection by itself."""
        ...

    @property
    def left_because(self) -> LeftBecause | None:
        """Why the last connection ended by itself; None when it did not."""
        ...

    @property
    def refreshed_token(self) -> str | None:
        """The newest token that the server gave this connection, or the one it was made with."""
        ...

    async def connect(self, grant: Grant, *, timeout_s: float) -> None:
        """Join. A join that is given up (time or cancellation) leaves no participant behind.

        Raises:
            RoomJoinError: not joined; worth trying again, with a fresh token when it says `refused`.
        """
        ...

    async def disconnect(self, *, timeout_s: float) -> None:
        """Leave. No error when the room is not joined, and never longer than ``timeout_s``."""
        ...


RoomFactory = Callable[[], RoomLink]


class JobLine(Protocol):
    """How one attempt of one job speaks to the orchestrator. Adapters: sdk/pull.py, sdk/push.py."""

    @property
    def last_pong_age_s(self) -> float:
        """Seconds since the orchestrator is known to have heard us; `inf` before the first time."""
        ...

    @property
    def is_in_touch(self) -> bool:
        """Whether the orchestrator has heard us recently enough to count us as alive."""
        ...

    def report(self, state: ReportState, detail: str = "") -> None:
        """Say how the job stands. Kept over a lost connection until it has arrived; may arrive twice."""
        ...

    async def say_ready(self) -> None:
        """Say that the job is ready.

        Raises:
            UnavailableError: it was not delivered; worth trying again.
        """
        ...

    async def fresh_grant(self) -> Grant:
        """Get a token that lives long enough to join with.

        Raises:
            UnavailableError: no answer in time; worth trying again.
        """
        ...

    async def record(self, report: RecordingReport, *, timeout_s: float) -> None:
        """Deliver where the recording stands; returns when it is committed. ``report.n`` is set here.

        Raises:
            UnavailableError: not committed in time; it is still delivered when the orchestrator is back.
            JobStaleError: another attempt holds the job.
        """
        ...
