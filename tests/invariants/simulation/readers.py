"""Readers of event streams: the real streams and feed, at the other end somebody who loses the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.ids import SessionId
from orchestrator.web.errors import DrainingError
from tests.invariants.history import Reading, Seen
from tests.invariants.simulation.process import Process
from tests.invariants.simulation.stage import Stage


class _Connection:
    """Both what `EventStreams` writes to and the outlet of the feed: bytes arrive in order, or no more."""

    def __init__(self, stage: Stage, take: Callable[[bytes], None]) -> None:
        self._stage = stage
        self._take = take
        self._free_at = 0.0
        self.is_cut = False

    async def _put(self, frames: bytes) -> None:
        if not self.write_now(frames):
            raise ConnectionResetError

    def write_now(self, frames: bytes) -> bool:
        if self.is_cut:
            return False
        at = max(self._free_at + 1e-6, self._stage.time() + self._stage.between(0.0001, 0.01))
        self._free_at = at
        self._stage.later(at - self._stage.time(), lambda: None if self.is_cut else self._take(frames))
        return True


class _Outlet:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def write(self, frames: bytes) -> bool:
        return self._connection.write_now(frames)


class _Response:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def write(self, frames: bytes) -> None:
        await self._connection._put(frames)


class EventReader:
    """Somebody who reads one session's events, or all."""

    def __init__(
        self, stage: Stage, name: str, session_id: SessionId | None, process: Callable[[], Process | None]
    ) -> None:
        self._stage = stage
        self.name = name
        self._session_id = session_id
        self._process = process
        self._last = ""
        self._connection: _Connection | None = None
        self._is_over = False

    async def read(self) -> None:
        """Read, and come back with the last position whenever the stream ends."""
        while not self._is_over:
            process = self._process()
            if process is not None and process.is_up:
                await self._stream(process)
            await asyncio.sleep(self._stage.between(0.1, 1.2))

    def cut(self) -> None:
        """Lose the connection; what is under way is lost with it."""
        if self._connection is not None:
            self._connection.is_cut = True

    async def _stream(self, process: Process) -> None:
        stage = self._stage
        connection = self._connection = _Connection(stage, self._arrived)
        ended: asyncio.Future[None] = stage.loop.create_future()

        def end() -> None:
            if not ended.done():
                ended.set_result(None)

        process.on_death.append(end)
        process.spawn(self._served(process, connection, end))
        while not ended.done() and not connection.is_cut:
            await asyncio.wait({ended}, timeout=0.5)
        connection.is_cut = True

    async def _served(self, process: Process, connection: _Connection, end: Callable[[], None]) -> None:
        """Do what `EventStreams.serve` does around its two halves, without a socket."""
        streams = process.streams
        try:
            is_over = self._session_id is not None
            if self._session_id is not None:
                is_over = not (await process.store.load(self._session_id)).is_open
            start = await streams._start(self._last or None, None, self._session_id)
            self._begun(f"{process.orchestrator.feed.generation}:{start.after}")
            if start.gap:
                connection.write_now(start.gap)
            await streams._follow(
                cast(web.StreamResponse, _Response(connection)),
                cast(Any, _Outlet(connection)),
                self._session_id,
                start.after,
                is_over=is_over,
            )
        except (OrchestratorError, DrainingError, ConnectionResetError, TimeoutError):
            pass
        except Exception as error:  # noqa: BLE001 - a bug of the product that the run must show
            self._stage.unhandled(process.instance, error)
        finally:
            # The last bytes are on their way when the stream ends.
            self._stage.later(0.05, end)

    def _begun(self, begins: str) -> None:
        self._stage.history.add(
            Reading(
                at=self._stage.time(),
                reader=self.name,
                session_id=self._session_id,
                after=self._last,
                begins=begins,
            )
        )
        if not self._last:
            self._last = begins

    def _arrived(self, frames: bytes) -> None:
        for frame in frames.split(b"\n\n"):
            lines = dict(line.partition(b": ")[::2] for line in frame.split(b"\n") if line[:1] != b":")
            if b"id" not in lines:
                continue
            self._last = lines[b"id"].decode()
            self._stage.history.add(
                Seen(
                    at=self._stage.time(),
                    reader=self.name,
                    position=self._last,
                    name=lines[b"event"].decode(),
                    data=lines[b"data"],
                )
            )
