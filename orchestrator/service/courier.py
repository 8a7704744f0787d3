"""Delivers the feed to one target: in order per session, at least once, whatever the receiver does.

The feed is the queue, so nothing waits in memory but one page. A delivery that fails holds back its own
session, which is read again from the feed when it is due; everybody else's events go on, until `MAX_HELD`
sessions are held. Source: docs/decisions/0009.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from orchestrator.core.errors import StoreError
from orchestrator.core.events import FeedEvent
from orchestrator.core.ids import SessionId
from orchestrator.core.webhook_targets import (
    MAX_HELD,
    MAX_RETRY_AFTER_S,
    DeadLetter,
    Held,
    Lane,
    Progress,
    SendOutcome,
    WebhookTarget,
    failed,
    is_given_up,
)
from orchestrator.ports import FeedPage, position_of
from orchestrator.service.webhook_line import CourierParts, Line, Message, lane_of

PAGE: Final = 128  # events in memory at once
SENDING: Final = 8  # deliveries at once in the order of the feed
RETRYING: Final = 4  # held sessions tried again at once
POLL_S: Final = 1.0  # the safety net under every wake-up
LANE_S: Final = 2.0  # a session that needs longer for its part of a page goes on beside the next pages
REST_S: Final = 0.05  # between two reads of the feed, so that many commits are one read
SAVE_S: Final = 0.5  # between two saves of the progress; what was sent since is sent again after a kill
STORE_DEADLINE_S: Final = 10.0

log = structlog.get_logger(__name__)


class Courier:
    """Delivers to one target while `run` runs.

    Args:
        target: who.
        progress: how far it is, as last saved.
        parts: what it stands on.
        disable: called when the receiver answered 410.
    """

    def __init__(
        self,
        target: WebhookTarget,
        progress: Progress,
        *,
        parts: CourierParts,
        disable: Callable[[], None],
    ) -> None:
        self.line = Line(target, parts, disable)
        self._parts = parts
        self._generation = progress.generation
        self._page_end = progress.cursor  # lanes that are not held get what comes after this
        self._unsettled: set[int] = set()  # of the page: neither delivered nor left to a held lane
        self._held: dict[Lane, Held] = {SessionId(key) or None: held for key, held in progress.held.items()}
        self._retrying: set[Lane] = set()
        self._news = asyncio.Event()  # events were committed
        self._changed = asyncio.Event()  # lanes were held, freed or made due
        self._room = asyncio.Event()  # another lane may be held
        self._unsaved = asyncio.Event()
        self._is_blind = False  # the store gives no events
        self._lanes_changed()

    def wake(self) -> None:
        """Say that events were committed."""
        self._news.set()

    def retry_now(self) -> None:
        """Try everything that is held back at once, as if it had not failed before."""
        now = self._parts.store.now()
        self.line.call_now()
        for lane, held in self._held.items():
            if lane not in self._retrying:
                self._held[lane] = replace(held, due_at=now, since=None, tries=0)
        self._lanes_changed()

    @property
    def progress(self) -> Progress:
        """How far the target is, as it may be saved: what is under way counts as not delivered."""
        cursor = min(self._unsettled) - 1 if self._unsettled else self._page_end
        held = {lane or "": held for lane, held in self._held.items()}
        return Progress(generation=self._generation, cursor=cursor, held=held)

    @property
    def held(self) -> int:
        """How many sessions are held back."""
        return len(self._held)

    @property
    def first_missing(self) -> int:
        """The number from which on the target may lack something."""
        return min([self.progress.cursor + 1, *(held.seq for held in self._held.values())])

    async def run(self) -> None:
        """Deliver until cancelled; then save how far it is."""
        try:
            await self._begin()
            async with asyncio.TaskGroup() as tasks:
                for work in (self._follow, self._retry_held, self.line.send_queued, self._keep_progress):
                    tasks.create_task(work(), name=work.__qualname__)
        finally:
            await self._try_to_save()

    # --- in the order of the feed ---

    async def _begin(self) -> None:
        """See whether the store is still the one whose numbers we have; it stays so while it is open."""
        page = await self._read(self._page_end, None)
        while page is None:
            await _wait(self._news, POLL_S)
            page = await self._read(self._page_end, None)
        if page.generation != self._generation or page.head_seq < self._page_end:
            # A restored backup: what was delivered may never have happened. Say so and begin at its head.
            gap = position_of(self._generation, self._page_end)
            self._held.clear()
            self._generation, self._page_end = page.generation, page.head_seq
            self._hold(None, self._gap_after(gap))
        latest = self._parts.store.now() + timedelta(seconds=MAX_RETRY_AFTER_S)
        for lane, held in self._held.items():  # the machine's clock may have been set back meanwhile
            self._held[lane] = replace(held, due_at=min(held.due_at, latest))

    async def _follow(self) -> None:
        while True:
            await self.line.active.wait()
            self._news.clear()
            page = await self._read(self._page_end, None)
            if page is not None:
                if page.oldest_seq > self._page_end + 1:
                    await self._skip_forgotten(page.oldest_seq)
                await self._deliver_page(page)
                if len(page.events) == PAGE:
                    continue
            await asyncio.sleep(REST_S)  # first: what comes after a quiet while is read at once
            await _wait(self._news, POLL_S)

    async def _skip_forgotten(self, oldest_seq: int) -> None:
        """Tell of events that were trimmed away, before those that follow."""
        gap = position_of(self._generation, self._page_end)
        log.warning("webhook_gap", webhook_id=self.line.target.id, after=gap)
        self._page_end = oldest_seq - 1
        if None not in self._held:  # else that lane is further behind and tells of a longer gap
            self._hold(None, self._gap_after(gap))
            self._retrying.add(None)
            await self._retry_lane(None)

    def _gap_after(self, gap: str) -> Held:
        """Hold a gap back like an event of no session: told now, and again when that fails."""
        return Held(seq=self._page_end + 1, gap=gap, due_at=self._parts.store.now())

    async def _deliver_page(self, page: FeedPage) -> None:
        if not page.events:
            return
        lanes: dict[Lane, list[FeedEvent]] = {}
        for event in page.events:
            lane = lane_of(event)
            if lane not in self._held and self.line.target.wants(event.name):
                lanes.setdefault(lane, []).append(event)
                self._unsettled.add(event.seq)
        self._page_end = page.events[-1].seq
        self._unsaved.set()
        slots = asyncio.Semaphore(SENDING)
        async with asyncio.TaskGroup() as tasks:
            for lane, own in lanes.items():
                await slots.acquire()
                while not (self._room.is_set() and self.line.active.is_set()):
                    await self._room.wait()
                    await self.line.active.wait()
                tasks.create_task(self._deliver_lane(lane, own, slots))

    async def _deliver_lane(self, lane: Lane, events: list[FeedEvent], slots: asyncio.Semaphore) -> None:
        clock = self._parts.clock
        began_s = clock.monotonic()
        try:
            for event in events:
                if event is not events[0] and clock.monotonic() - began_s > LANE_S:
                    self._hold(lane, Held(seq=event.seq, due_at=self._parts.store.now()))
                    break
                outcome = await self.line.send(self.line.message(self._generation, event))
                if not outcome.is_delivered:
                    held = Held(seq=event.seq, due_at=self._parts.store.now())
                    self._hold(lane, self._failed(held, outcome))
                    break
                self._unsettled.discard(event.seq)
                self._unsaved.set()
            self._unsettled.difference_update(event.seq for event in events)
        finally:
            slots.release()

    # --- held lanes ---

    async def _retry_held(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self.line.active.wait()
                self._changed.clear()
                now, wait_s = self._parts.store.now(), POLL_S
                for lane, held in sorted(self._held.items(), key=lambda item: item[1].due_at):
                    if lane in self._retrying or len(self._retrying) >= RETRYING:
                        continue
                    if held.due_at <= now:
                        self._retrying.add(lane)
                        tasks.create_task(self._retry_lane(lane))
                    else:
                        wait_s = min(wait_s, (held.due_at - now).total_seconds())
                await _wait(self._changed, wait_s)

    async def _retry_lane(self, lane: Lane) -> None:
        try:
            while await self._retry_page(lane):
                pass
        finally:
            self._retrying.discard(lane)
            self._changed.set()

    async def _retry_page(self, lane: Lane) -> bool:
        """Deliver a page of what a held lane lacks; whether to go on with the next.

        The lane is free when it has everything that was passed over: that and the look at ``_page_end`` are
        one step of the loop, so no event falls between the two who deliver.
        """
        held = self._held[lane]
        if held.gap:
            message = self.line.gap_message(self._generation, lane, held)
            if not await self._send_held(lane, message, next_seq=held.seq):
                return False
        page = await self._read(held.seq - 1, lane)
        if page is None:
            rest = timedelta(seconds=POLL_S)
            self._hold(lane, replace(self._held[lane], due_at=self._parts.store.now() + rest))
            return False
        if page.oldest_seq > held.seq:
            gap = position_of(self._generation, held.seq - 1)
            self._hold(lane, replace(self._held[lane], seq=page.oldest_seq, gap=gap))
            return True
        for event in page.events:
            if event.seq > self._page_end:
                self._free(lane)
                return False
            if lane_of(event) == lane and self.line.target.wants(event.name):
                self._hold(lane, replace(self._held[lane], seq=event.seq))
                message = self.line.message(self._generation, event)
                if not await self._send_held(lane, message, next_seq=event.seq + 1):
                    return False
        if len(page.events) == PAGE:
            self._hold(lane, replace(self._held[lane], seq=page.events[-1].seq + 1))
            return True
        if page.head_seq < self._page_end:
            self._hold(lane, replace(self._held[lane], seq=page.head_seq + 1))
            return True
        self._free(lane)
        return False

    async def _send_held(self, lane: Lane, message: Message, *, next_seq: int) -> bool:
        """Try once more; whether the lane goes on with ``next_seq``: it was taken, or is given up."""
        outcome = await self.line.send(message)
        now = self._parts.store.now()
        if outcome.is_delivered:
            self._hold(lane, Held(seq=next_seq, due_at=now))
            return True
        held = self._failed(self._held[lane], outcome)
        if is_given_up(held, now, self._parts.policy):
            letter = DeadLetter(
                message_id=message.id,
                name=message.name,
                session_id=lane,
                body=message.body,
                tries=held.tries,
                reason=outcome.reason,
                given_up_at=now,
            )
            if await self._give_up(letter, rest=Held(seq=next_seq, since=held.since, due_at=now)):
                return True
        self._hold(lane, held)
        return False

    async def _give_up(self, letter: DeadLetter, *, rest: Held) -> bool:
        """Keep a delivery as a dead letter and let its lane go on, in one step; whether that was done."""
        target_id, lane = self.line.target.id, letter.session_id
        before = self.progress
        after = replace(before, held={**before.held, lane or "": rest})
        try:
            await self._save(after, (letter,))
        except StoreError as error:
            log.warning("webhook_not_given_up", webhook_id=target_id, error=str(error))
            return False
        self._hold(lane, rest)
        self._parts.count("given_up")
        log.warning(
            "webhook_given_up", webhook_id=target_id, message_id=letter.message_id, reason=letter.reason
        )
        return True

    def _failed(self, held: Held, outcome: SendOutcome) -> Held:
        log.info(
            "webhook_failed", webhook_id=self.line.target.id, tries=held.tries + 1, reason=outcome.reason
        )
        now, luck = self._parts.store.now(), self._parts.clock.random()
        return failed(held, outcome, now=now, luck=luck, policy=self._parts.policy)

    def _hold(self, lane: Lane, held: Held) -> None:
        self._held[lane] = held
        self._lanes_changed()

    def _free(self, lane: Lane) -> None:
        del self._held[lane]
        self._lanes_changed()

    def _lanes_changed(self) -> None:
        self._changed.set()
        self._unsaved.set()
        if len(self._held) < MAX_HELD:
            self._room.set()
        else:
            self._room.clear()

    # --- the store ---

    async def _read(self, after: int, lane: Lane) -> FeedPage | None:
        """Read a page; None when the store did not give it."""
        try:
            async with asyncio.timeout(STORE_DEADLINE_S):
                page = await self._parts.store.feed_after(after, session_id=lane, limit=PAGE)
        except (StoreError, TimeoutError) as error:
            if not self._is_blind:
                log.warning("webhook_cannot_read", webhook_id=self.line.target.id, error=str(error))
            self._is_blind = True
            return None
        self._is_blind = False
        return page

    async def _keep_progress(self) -> None:
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            if not await self._try_to_save():
                self._unsaved.set()
            await asyncio.sleep(SAVE_S)

    async def _try_to_save(self) -> bool:
        try:
            await self._save(self.progress)
        except StoreError as error:
            log.warning("webhook_not_saved", webhook_id=self.line.target.id, error=str(error))
            return False
        return True

    async def _save(self, progress: Progress, given_up: tuple[DeadLetter, ...] = ()) -> None:
        try:
            async with asyncio.timeout(STORE_DEADLINE_S):
                await self._parts.webhooks.save_progress(self.line.target.id, progress, given_up)
        except TimeoutError:
            raise StoreError(f"the store did not save within {STORE_DEADLINE_S:g} s") from None


async def _wait(event: asyncio.Event, at_most_s: float) -> None:
    try:
        async with asyncio.timeout(at_most_s):
            await event.wait()
    except TimeoutError:
        pass
