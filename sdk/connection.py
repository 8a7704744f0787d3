"""The pull protocol's WebSocket: it says hello, beats, keeps reports until they arrived, and comes back.

Everything here runs in the edge thread's loop; what other threads may call says so.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp
import msgspec

from sdk.backoff import Backoff
from sdk.errors import WorkerRefusedError
from sdk.lifecycle import ConnectionState, ConnectionStep, next_connection_state
from sdk.outbox import Outbox
from sdk.settings import WorkerSettings
from sdk.wire import (
    MAX_FRAME_BYTES,
    HeldJob,
    Hello,
    OrchestratorFrame,
    Ping,
    Pong,
    Reconnect,
    Report,
    Stale,
    Welcome,
    WorkerFrame,
    decode_orchestrator_frame,
    encode_frame,
)

OPEN_S: Final = 5.0  # opening the WebSocket
WELCOME_S: Final = 10.0  # the orchestrator's limit for hello is the same
CLOSE_S: Final = 2.0
STEADY_S: Final = 2.0  # a connection that lasted longer was a good one: the next try comes fast again
MISSED_PONGS: Final = 3  # as many as the orchestrator allows us; 6 s with its default interval
MAX_LINES: Final = 2000  # frames waiting to be written; an orchestrator that reads nothing is a lost one
_REFUSED_STATUS: Final = frozenset({401, 403})
_REFUSED_CODE: Final = aiohttp.WSCloseCode.POLICY_VIOLATION

_log = logging.getLogger("greenroom.sdk")


class ConnectionLostError(Exception):
    """The WebSocket is gone or not worth keeping; the message says why."""


class Connection:
    """The one connection of a pull worker; made again for as long as `run` runs."""

    def __init__(
        self,
        settings: WorkerSettings,
        *,
        on_frame: Callable[[OrchestratorFrame, float], None],
        jobs_loop_lag_s: Callable[[], float],
    ) -> None:
        """Make a connection; `run` opens it.

        Args:
            settings: whom to connect to, and as what.
            on_frame: gets each frame but `pong` and `reconnect`, with the monotonic time at which it came,
                in the edge's loop.
            jobs_loop_lag_s: seconds for which the jobs' loop has been blocked.
        """
        self._settings = settings
        self._on_frame = on_frame
        self._lag_s = jobs_loop_lag_s
        self._state = ConnectionState.OFFLINE
        self._outbox = Outbox()
        self._lines: deque[WorkerFrame] = deque()
        self._has_lines = asyncio.Event()
        self._closing = asyncio.Event()
        self._lock = threading.Lock()
        self._held: dict[HeldJob, None] = {}
        self._is_draining = False
        self._pings: deque[tuple[float, int | None]] = deque()  # sent at, what its pong proves
        self._heard_at: float | None = None
        self._interval_s = 2.0
        self._limit_s = MISSED_PONGS * self._interval_s
        self._is_prompt = True

    # --- from any thread ---

    @property
    def is_in_touch(self) -> bool:
        """Whether the orchestrator has heard us within three heartbeats, on the connection there is now."""
        return self._state is ConnectionState.ONLINE and self.last_pong_age_s <= self._limit_s

    @property
    def last_pong_age_s(self) -> float:
        """Seconds since we sent the last ping that was answered.

        Counted from the sending, not from the answer: a process that was frozen finds old answers in its
        buffers when it wakes, and they prove nothing about now.
        """
        return float("inf") if self._heard_at is None else time.monotonic() - self._heard_at

    def hold(self, job: HeldJob) -> None:
        """List this job in `resuming` from now on."""
        with self._lock:
            self._held[job] = None

    def release(self, job: HeldJob) -> None:
        """List this job no more, except while a report of it is on its way."""
        with self._lock:
            self._held.pop(job, None)

    def mark_draining(self) -> None:
        """Say in every heartbeat that nothing new is taken."""
        self._is_draining = True

    # --- in the edge's loop ---

    async def run(self) -> None:
        """Connect, and connect again, until `close`.

        Raises:
            WorkerRefusedError: the orchestrator will not have this worker.
        """
        backoff = Backoff()
        timeout = aiohttp.ClientTimeout(total=None, connect=OPEN_S, sock_connect=OPEN_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while not self._closing.is_set():
                began = time.monotonic()
                try:
                    await self._live(http)
                except (ConnectionLostError, aiohttp.ClientError, OSError, TimeoutError) as error:
                    _log.warning("no connection to %s: %s", self._settings.orchestrator_url, _words(error))
                if time.monotonic() - began > STEADY_S:
                    backoff.reset()
                if not self._closing.is_set():
                    await self._rest(backoff.next_s())
        self._state = next_connection_state(self._state, ConnectionStep.CLOSE)

    def send(self, frame: WorkerFrame) -> None:
        """Send a frame. Reports are kept until they arrived; anything else is dropped while offline."""
        if isinstance(frame, Report):
            self._outbox.add(frame)
        if self._state is ConnectionState.ONLINE:
            self._lines.append(frame)
            self._has_lines.set()

    def drop(self, job: HeldJob) -> None:
        """Forget what was to be reported about a job."""
        self._outbox.drop(job)

    def close(self) -> None:
        """Deliver what is waiting, as far as possible within 2 s, and end `run`."""
        self._closing.set()

    async def _live(self, http: aiohttp.ClientSession) -> None:
        """Be connected once, from dialling to the loss."""
        self._step(ConnectionStep.DIAL)
        try:
            async with asyncio.timeout(OPEN_S):
                socket = await self._open(http)
            self._step(ConnectionStep.OPENED)
            try:
                await self._greet(socket)
                self._step(ConnectionStep.WELCOMED)
                await self._converse(socket)
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await socket.close()
        finally:
            self._step(ConnectionStep.LOST)

    async def _open(self, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        url = f"{self._settings.orchestrator_url}/api/v1/workers/connect"
        try:
            return await http.ws_connect(url, max_msg_size=MAX_FRAME_BYTES, autoclose=True)
        except aiohttp.WSServerHandshakeError as error:
            if error.status in _REFUSED_STATUS:
                raise WorkerRefusedError(
                    f"{self._settings.orchestrator_url} refuses this worker (HTTP {error.status})"
                ) from None
            raise

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        opened_at = time.monotonic()
        await self._write(socket, self._hello())
        sent_at = time.monotonic()
        # Who says hello late is turned away too; only a prompt hello is turned away for what it says.
        self._is_prompt = sent_at - opened_at < WELCOME_S / 2
        while True:
            frame = await self._read(socket, timeout_s=WELCOME_S)
            if isinstance(frame, Welcome):
                break
        self._limit_s = MISSED_PONGS * frame.heartbeat_interval
        self._heard_at = sent_at
        self._pings.clear()
        self._outbox.settle(frame.resumed)
        self._lines = deque(self._outbox.unproven())
        self._has_lines.set()
        self._interval_s = frame.heartbeat_interval
        self._on_frame(frame, time.monotonic())

    def _hello(self) -> Hello:
        with self._lock:
            held = list(self._held)
        settings = self._settings
        return Hello(
            service_id=settings.service_id,
            worker_id=settings.worker_id,
            metadata=dict(settings.metadata),
            capabilities=dict(settings.capabilities),
            capacity=settings.capacity,
            in_default=settings.in_default,
            sdk_version=_version(),
            again=self._heard_at is not None,
            draining=self._is_draining,
            resuming=list(dict.fromkeys([*held, *self._outbox.jobs()])),
        )

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Read, write and beat until one of them ends the connection."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._read_all(socket), self._write_all(socket), self._beat(socket), self._watch())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        assert done  # the reader ended by `reconnect`, or the writer by `close`

    async def _read_all(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            match await self._read(socket, timeout_s=None):
                case None:
                    pass
                case Pong():
                    self._take_pong()
                case Reconnect(deadline=deadline):
                    # Half of the deadline by chance: not every worker at the same instant. The old connection
                    # serves until then, because a closed one has only a second.
                    await asyncio.sleep(Backoff(first_s=min(2.0, deadline / 2)).next_s())
                    return
                case Stale() as frame:
                    self._outbox.drop(HeldJob(job_id=frame.job_id, attempt=frame.attempt))
                    self._on_frame(frame, time.monotonic())
                case frame:
                    self._on_frame(frame, time.monotonic())

    async def _write_all(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        closing = asyncio.create_task(self._closing.wait())
        try:
            while True:
                self._has_lines.clear()
                while self._lines:
                    if len(self._lines) > MAX_LINES:
                        raise ConnectionLostError(f"{MAX_LINES} frames wait to be read by the orchestrator")
                    await self._write(socket, self._lines[0])
                    self._lines.popleft()
                if self._closing.is_set():
                    return
                lines = asyncio.create_task(self._has_lines.wait())
                await asyncio.wait({lines, closing}, return_when=asyncio.FIRST_COMPLETED)
                lines.cancel()
        finally:
            closing.cancel()

    async def _beat(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            with self._lock:
                jobs = len(self._held)
            ping = Ping(load=min(1.0, jobs / self._settings.max_jobs), jobs=jobs, draining=self._is_draining)
            # Only what has been written is proven by the pong; the rest waits for the next one.
            self._pings.append((time.monotonic(), None if self._lines else self._outbox.mark()))
            await self._write(socket, ping)
            await asyncio.sleep(self._interval_s)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s / 4)
            if self.last_pong_age_s > self._limit_s:
                raise ConnectionLostError(f"no pong for {self._limit_s:g} s")
            if self._is_stuck():
                raise ConnectionLostError(
                    f"the event loop of the jobs has been blocked for {self._settings.busy_limit_s:g} s"
                )

    def _take_pong(self) -> None:
        if not self._pings:
            return
        self._heard_at, mark = self._pings.popleft()
        if mark is not None:
            self._outbox.prove(mark)

    async def _read(
        self, socket: aiohttp.ClientWebSocketResponse, *, timeout_s: float | None
    ) -> OrchestratorFrame | None:
        message = await socket.receive(timeout=timeout_s)
        if message.type is aiohttp.WSMsgType.TEXT:
            try:
                return decode_orchestrator_frame(message.data)
            except msgspec.DecodeError as error:
                raise ConnectionLostError(
                    f"a frame that is not of this protocol: {type(error).__name__}"
                ) from None
        is_refusal = self._state is ConnectionState.GREETING and self._is_prompt
        if is_refusal and message.type is aiohttp.WSMsgType.CLOSE and message.data == _REFUSED_CODE:
            raise WorkerRefusedError(
                f"{self._settings.orchestrator_url} refuses this worker: {message.extra or 'no reason given'}"
            )
        raise ConnectionLostError(f"the orchestrator closed the connection (code {socket.close_code})")

    async def _write(self, socket: aiohttp.ClientWebSocketResponse, frame: WorkerFrame) -> None:
        async with asyncio.timeout(self._limit_s):
            await socket.send_str(encode_frame(frame))

    async def _rest(self, delay_s: float) -> None:
        """Wait before the next try, and longer while the jobs' loop is stuck: it could serve nobody."""
        while not self._closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._closing.wait()
            if not self._is_stuck():
                return

    def _is_stuck(self) -> bool:
        return self._lag_s() > self._settings.busy_limit_s

    def _step(self, step: ConnectionStep) -> None:
        self._state = next_connection_state(self._state, step)


def _words(error: Exception) -> str:
    """Say what happened without repeating what a server wrote."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"it answered HTTP {error.status} instead of opening a WebSocket"
    if isinstance(error, ConnectionLostError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return "connection refused" if isinstance(error, ConnectionRefusedError) else type(error).__name__


def _version() -> str:
    try:
        return importlib.metadata.version("greenroom")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
