"""A memory store that fails when the test says so: down, at one commit, slow, or written but not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.core.errors import StoreError
from orchestrator.core.events import RegistryEvent
from orchestrator.core.ids import InstanceId, SessionId, WorkerId
from orchestrator.core.request_keys import BoundKey, KeyScope, RequestKey
from orchestrator.core.workers import Registration
from orchestrator.ports import Change, CommandRow


class FaultyStore(MemorySessionStore):
    """Implements `SessionStore`.

    Attributes:
        down: nothing is written, nothing is answered.
        fail_commits: numbers of commits (from 1, counted by ``commits``) that are refused.
        done_but_failed: the next commit is written, and its caller is told that it failed.
        slow: while it is set to an event, registrations wait for it before they are written.
    """

    down = False
    done_but_failed = False
    commits = 0
    slow: asyncio.Event | None = None

    fail_commits: frozenset[int] = frozenset()

    async def commit(self, change: Change, **how: Any) -> tuple[CommandRow, ...]:
        """Commit, unless told otherwise."""
        self.commits += 1
        if self.commits in self.fail_commits:
            raise StoreError(f"commit {self.commits} was refused")
        self._check()
        rows = await super().commit(change, **how)
        if self.done_but_failed:
            self.done_but_failed = False
            raise StoreError("the answer to a commit was lost")
        return rows

    async def due_sessions(self, limit: int) -> list[SessionId]:
        """List, unless down."""
        self._check()
        return await super().due_sessions(limit)

    async def claim_commands(self, limit: int, *, all_orphaned: bool = False) -> list[CommandRow]:
        """Claim, unless down."""
        self._check()
        return await super().claim_commands(limit, all_orphaned=all_orphaned)

    async def postpone_command(self, row: CommandRow, delay_s: float) -> None:
        """Postpone, unless down."""
        self._check()
        await super().postpone_command(row, delay_s)

    async def finish_command(self, row: CommandRow) -> None:
        """Finish, unless down."""
        self._check()
        await super().finish_command(row)

    async def save_worker(
        self, worker: Registration, events: Sequence[RegistryEvent] = (), *, key: RequestKey | None = None
    ) -> None:
        """Save, unless down."""
        await self._wait()
        await super().save_worker(worker, events, key=key)

    async def bound_key(self, scope: KeyScope) -> BoundKey | None:
        """Look up, unless down."""
        self._check()
        return await super().bound_key(scope)

    async def forget_keys(self) -> int:
        """Forget, unless down."""
        self._check()
        return await super().forget_keys()

    @property
    def keys(self) -> list[KeyScope]:
        """All keys that are kept, free by their age or not."""
        return list(self._keys)

    async def delete_worker(self, worker_id: WorkerId, events: Sequence[RegistryEvent] = ()) -> None:
        """Delete, unless down."""
        await self._wait()
        await super().delete_worker(worker_id, events)

    def taken_over_by(self, instance_id: InstanceId) -> None:
        """Be the same file in the hands of another process."""
        self._instance_id = instance_id

    def _check(self) -> None:
        if self.down:
            raise StoreError("the store is down")

    async def _wait(self) -> None:
        self._check()
        if self.slow is not None:
            await self.slow.wait()
