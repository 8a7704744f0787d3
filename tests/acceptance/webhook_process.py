"""A process that commits events and delivers them, to be killed: `webhook_process.py WAY FOLDER URL SECRET`.

WAY is `durable` (what we ship) or `naive` (a queue in memory, filled after each commit): the control. It
prints the number of each event once it is committed, in three sessions by turns, from where the last ended.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.adapters.system import SystemClock
from orchestrator.adapters.webhook_sender import HttpWebhookSender
from orchestrator.core.errors import SessionNotFoundError
from orchestrator.core.events import ClientJoined, FeedEvent
from orchestrator.core.ids import Identity, InstanceId, RoomName, SessionId
from orchestrator.core.session import Session
from orchestrator.core.step import Opening, open_session
from orchestrator.core.webhook_targets import RetryPolicy, TargetId, WebhookTarget, event_body
from orchestrator.ports import Change, position_of
from orchestrator.service.outgoing import OutgoingWebhooks

SESSIONS: Final = ("a", "b", "c")
PAUSE_S: Final = 0.01


class NaiveWebhooks:
    """Sends what it is told after a commit, with retries, from memory: it dies with the process."""

    def __init__(self, sender: HttpWebhookSender, target: WebhookTarget) -> None:
        self._sender = sender
        self._target = target
        self._queue: asyncio.Queue[FeedEvent] = asyncio.Queue()

    def tell(self, event: FeedEvent) -> None:
        """Take an event that was committed."""
        self._queue.put_nowait(event)

    async def run(self) -> None:
        """Send in order, each until it is taken."""
        while True:
            event = await self._queue.get()
            body = event_body(event, position_of(1, event.seq))
            while True:
                message_id = f"naive_{event.session_id}_{event.number}"
                outcome = await self._sender.send(self._target, message_id=message_id, body=body)
                if outcome.is_delivered:
                    break
                await asyncio.sleep(0.1)


async def session_of(store: SqliteSessionStore, name: str) -> Session:
    """Give a session, made when it is not there."""
    try:
        return await store.load(SessionId(name))
    except SessionNotFoundError:
        opening = Opening(
            session_id=SessionId(name), room_name=RoomName(f"room-{name}"), user_identity=Identity("u")
        )
        decision = open_session(opening, store.now())
        await store.commit(Change(session=decision.session, events=decision.events))
        return decision.session


async def main(way: str, folder: Path, url: str, secret: str) -> None:
    """Commit and deliver until killed."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    clock = SystemClock()
    listeners: list[OutgoingWebhooks] = []

    def on_commit(head: int) -> None:
        for one in listeners:
            one.notify(head)

    store = SqliteSessionStore(
        folder / "store.db",
        clock=clock,
        instance_id=InstanceId(clock.new_id()),
        on_commit=on_commit,
    )
    await store.open()
    sender = HttpWebhookSender(allow_private=True, timeout_s=2, now=lambda: datetime.now(UTC))
    await sender.open()
    target = WebhookTarget(id=TargetId("wh_1"), url=url, secret=secret, created_at=store.now())
    naive = NaiveWebhooks(sender, target)
    outgoing = OutgoingWebhooks(
        store=store,
        webhooks=store.webhooks,
        sender=sender,
        clock=clock,
        policy=RetryPolicy(first_s=0.1),
        max_targets=1,
    )
    sessions = {name: await session_of(store, name) for name in SESSIONS}
    await outgoing.open()
    if way == "durable":
        listeners.append(outgoing)
        if not outgoing.all():
            await outgoing.register(url, secret=secret)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outgoing.run() if way == "durable" else naive.run())
        while True:
            for name in SESSIONS:
                before = sessions[name]
                number = before.events + 1
                event = ClientJoined(session_id=name, user_identity=str(number))
                after = replace(before, version=before.version + 1, events=number)
                await store.commit(Change(session=after, events=(event,)))
                sessions[name] = after
                if way == "naive":
                    naive.tell(
                        FeedEvent(seq=number, session_id=name, number=number, name=event.name, data=b"{}",
                                  at=store.now())
                    )  # fmt: skip
                print(name, number, flush=True)
                await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
