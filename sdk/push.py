"""Push mode: the orchestrator calls this worker at its endpoint."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sdk.edge_thread import EdgeThread
from sdk.errors import UnavailableError
from sdk.held_jobs import HeldJobs
from sdk.hooks import WorkerHandler
from sdk.job import JobFacts
from sdk.job_run import LEAVE_S, Assignment, JobRun
from sdk.lifecycle import ENDING
from sdk.ports import Grant, RoomFactory, RoomLink
from sdk.push_edge import PushEdge
from sdk.settings import WorkerSettings
from sdk.wire import JoinRoom, LeaveRoom, RecordingReport, ReportState

CLOSE_S: Final = 5.0

_log = logging.getLogger("greenroom.sdk")


class PushSide:
    """The worker's side of push mode. An async context manager, to be used in the jobs' loop."""

    def __init__(self, settings: WorkerSettings, *, handler: WorkerHandler, rooms: RoomFactory) -> None:
        """Make the side; entering it listens and then registers."""
        self._settings = settings
        self._handler = handler
        self._rooms = rooms
        self._is_draining = False
        self.jobs = HeldJobs(max_jobs=settings.max_jobs)
        self._by_session: dict[str, JobRun] = {}
        self._edge = EdgeThread(name=f"greenroom {settings.worker_id}")
        self._registered = asyncio.Event()
        self._routes = PushEdge(settings, edge=self._edge, jobs=self, on_registered=self._registered.set)

    async def __aenter__(self) -> PushSide:
        self._edge.start(self._routes.run)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.jobs.hand_over()
        await self._edge.end(self._routes.close, timeout_s=CLOSE_S)

    @property
    def is_connected(self) -> bool:
        """Whether the orchestrator hears us."""
        return self._routes.is_in_touch

    @property
    def endpoint(self) -> str:
        """The address that is registered, with its real port; "" before it is listened on."""
        return self._routes.endpoint

    async def wait_connected(self) -> None:
        """Wait for the first registration."""
        await self._registered.wait()

    async def wait_failed(self) -> None:
        """Wait for the end of the edge; raises what ended it for good."""
        await self._edge.wait()

    def stop_taking(self) -> None:
        """Take no more jobs and say so."""
        self._is_draining = True
        self._routes.is_draining = True

    # --- asked by the routes, in the jobs' loop ---

    async def join(self, body: JoinRoom) -> str:
        """Join a room; "" when it is joined, also by an earlier request for the same, else why not.

        Raises:
            LookupError: a newer attempt is here already.
        """
        facts = JobFacts(
            job_id=body.job_id or body.session_id,
            attempt=body.attempt or 0,
            session_id=body.session_id,
            service_id=body.service_identity,
            room_name=body.room_name,
        )
        run = self._by_session.get(body.session_id)
        if run is None or run.facts != facts or run.state in ENDING:
            if run is not None and facts.attempt < run.facts.attempt:
                raise LookupError(body.session_id)
            why_not = "" if await self.is_healthy() else "the worker is not healthy"
            why_not = why_not or self._why_not(replacing=run)
            if why_not:
                return why_not
            run = self._begin(facts, body)
        return "" if await run.entered() else run.detail or "the job ended before the room was joined"

    async def leave(self, body: LeaveRoom) -> bool:
        """Leave a room and wait, up to the deadline, until it is left."""
        run = self._by_session.get(body.session_id)
        if run is None:
            return False
        run.leave(deadline_s=LEAVE_S)
        try:
            async with asyncio.timeout(LEAVE_S + 1.0):
                await run.left()
        except TimeoutError:
            _log.warning("session %s is still being left", body.session_id)
        return True

    async def is_healthy(self) -> bool:
        """Ask the author's code whether it can serve."""
        try:
            return await self._handler.health()
        except Exception:  # noqa: BLE001 - the edge of the author's code
            _log.exception("health raised")
            return False

    def load(self) -> float:
        """Give the load, 0 to 1."""
        return min(1.0, len(self.jobs) / self._settings.max_jobs)

    def _why_not(self, *, replacing: JobRun | None) -> str:
        if self._is_draining:
            return "the worker is draining"
        if replacing is not None and replacing.state not in ENDING:
            replacing.withdraw()
        return "" if self.jobs.has_room else "the worker has no capacity left"

    def _begin(self, facts: JobFacts, body: JoinRoom) -> JobRun:
        room = self._rooms()
        line = PushLine(
            body,
            routes=self._routes,
            edge=self._edge,
            room=room,
            ready_s=self._settings.request_timeout,
        )
        run = JobRun(facts, settings=self._settings, handler=self._handler, line=line, on_end=self._ended)
        self._by_session[facts.session_id] = run
        self.jobs.add(run)
        grant = Grant(livekit_url=body.livekit_url, access_token=body.access_token)
        self.jobs.start(run, Assignment(grant=grant), room)
        return run

    def _ended(self, run: JobRun) -> None:
        self.jobs.remove(run)
        if self._by_session.get(run.facts.session_id) is run:
            del self._by_session[run.facts.session_id]


class PushLine:
    """A `JobLine` of push mode, in which presence in the room says nearly everything."""

    def __init__(
        self, body: JoinRoom, *, routes: PushEdge, edge: EdgeThread, room: RoomLink, ready_s: float
    ) -> None:
        self._session_id = body.session_id
        self._ready_s = ready_s
        self._livekit_url = body.livekit_url
        self._routes = routes
        self._edge = edge
        self._room = room

    @property
    def last_pong_age_s(self) -> float:
        """Seconds since the sending of the last answered heartbeat."""
        return self._routes.last_pong_age_s

    @property
    def is_in_touch(self) -> bool:
        """Whether the orchestrator hears this worker."""
        return self._routes.is_in_touch

    def report(self, state: ReportState, detail: str = "") -> None:
        """Push mode has no report: who joined is in the room, who is done or failed has left it."""
        _log.debug("session %s is %s here", self._session_id, state)

    async def say_ready(self) -> None:
        """Tell the orchestrator by its `ready` route.

        Raises:
            UnavailableError: it did not take it.
        """
        try:
            async with asyncio.timeout(self._ready_s):
                await self._edge.ask_edge(self._routes.say_ready(self._session_id))
        except (TimeoutError, RuntimeError):
            raise UnavailableError("the orchestrator did not take `ready` in time") from None

    async def fresh_grant(self) -> Grant:
        """Give the token that the media server refreshed last: push mode has no renewal by the orchestrator.

        Raises:
            UnavailableError: there is none.
        """
        token = self._room.refreshed_token
        if not token:
            raise UnavailableError("push mode gets no fresh token; the orchestrator asks to join again")
        return Grant(livekit_url=self._livekit_url, access_token=token)

    async def record(self, report: RecordingReport, *, timeout_s: float) -> None:
        """Not reached: recorders are pull workers, so no job of push mode has a recording."""
        raise UnavailableError("recording reports need pull mode")
