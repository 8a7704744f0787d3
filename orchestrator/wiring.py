"""The only place that chooses adapters: makes an orchestrator of its parts, and runs it.

`Orchestrator` is everything between the ports; tests make it over fakes, `run` over the real ones.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from orchestrator.adapters.livekit_probe import warn_of_auto_create
from orchestrator.adapters.livekit_rooms import LivekitRooms, connect_url
from orchestrator.adapters.livekit_tokens import LivekitTokens
from orchestrator.adapters.livekit_webhooks import LivekitWebhookVerifier
from orchestrator.adapters.memory_store import MemorySessionStore
from orchestrator.adapters.memory_webhooks import MemoryWebhooks
from orchestrator.adapters.sqlite_store import SqliteSessionStore
from orchestrator.adapters.system import SystemClock
from orchestrator.adapters.webhook_sender import HttpWebhookSender
from orchestrator.adapters.worker_callbacks import WorkerCallbacks
from orchestrator.catalog_ports import CatalogStore
from orchestrator.core.ids import InstanceId, RoomName
from orchestrator.core.webhook_targets import RetryPolicy
from orchestrator.ports import Clock, RoomServer, SessionStore, TokenMint, WorkerCaller
from orchestrator.service.commands import CommandRunner
from orchestrator.service.counted_rooms import CountedRooms
from orchestrator.service.deadlines import DeadlineSweeper
from orchestrator.service.dispatch import Dispatch
from orchestrator.service.draining import Drains
from orchestrator.service.exports import exports_for
from orchestrator.service.feed import Feed
from orchestrator.service.keeping import Keeping
from orchestrator.service.key_watch import KeyWatch
from orchestrator.service.limits import limits_of
from orchestrator.service.live import LiveSessions
from orchestrator.service.liveness import Liveness
from orchestrator.service.new_session import SessionPolicy
from orchestrator.service.outgoing import OutgoingWebhooks
from orchestrator.service.playback import Playback
from orchestrator.service.pull import PullWorkers
from orchestrator.service.push import PushWorkers
from orchestrator.service.reconcile import Reconciler
from orchestrator.service.recordings import RecordingControl
from orchestrator.service.registry import Registry
from orchestrator.service.repeats import Repeats
from orchestrator.service.sessions import Sessions
from orchestrator.service.stored_recordings import open_chunk_place
from orchestrator.service.webhooks import Webhooks
from orchestrator.settings import Settings
from orchestrator.web.app import build_app
from orchestrator.web.metrics import LiveNumbers, Metrics
from orchestrator.web.server import listening
from orchestrator.web.services import Services, WebhookVerifier
from orchestrator.webhook_ports import WebhookSender, WebhookStore
from sdk.wire import RecordingTask
from vault.core.ids import RecordingId as StoredId
from vault.opening_keys import SharedKeys

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What lies outside: one adapter or fake per port. ``connect_url`` is what clients are told."""

    store: SessionStore
    catalog: CatalogStore
    rooms: RoomServer
    tokens: TokenMint
    caller: WorkerCaller
    webhooks: WebhookStore
    sender: WebhookSender
    clock: Clock
    instance: InstanceId
    connect_url: str


class Orchestrator:
    """The services of one process, wired to each other."""

    def __init__(self, parts: Parts, settings: Settings) -> None:
        self.parts = parts
        self.settings = settings
        self.rooms = CountedRooms(parts.rooms, parts.clock)
        waits = settings.microservices
        live = LiveSessions()
        self.registry = Registry(store=parts.store, clock=parts.clock)
        self.sessions = Sessions(
            store=parts.store,
            rooms=self.rooms,
            tokens=parts.tokens,
            clock=parts.clock,
            policy=SessionPolicy(
                livekit_url=parts.connect_url,
                limits=limits_of(settings),
                record_auto=settings.recording.auto,
                record_manner=settings.recording.manner,
                max_duration_s=settings.sessions.max_duration,
            ),
            live=live,
            directory=self.registry,
        )
        self.reconciler = Reconciler(
            sessions=self.sessions,
            rooms=self.rooms,
            clock=parts.clock,
            rooms_interval_s=settings.reconcile.rooms_interval,
            participants_interval_s=settings.reconcile.participants_interval,
        )
        self.dispatch = Dispatch(
            sessions=self.sessions,
            registry=self.registry,
            tokens=parts.tokens,
            caller=parts.caller,
            looker=self.reconciler,
            recording=RecordingTask(
                recording_id="",
                mode=settings.recording.mode,
                quality=settings.recording.quality,
                format=settings.recording.format,
                layout=settings.recording.layout,
                keyframe_interval_s=settings.recording.keyframe_interval_s,
            ),
            clock=parts.clock,
            max_rest_s=waits.retry_interval,
        )
        self.commands = CommandRunner(
            sessions=self.sessions,
            store=parts.store,
            rooms=self.rooms,
            clock=parts.clock,
            workers=self.dispatch,
        )
        self.sessions.run_commands = self.commands.submit
        self.deadlines = DeadlineSweeper(
            sessions=self.sessions, store=parts.store, clock=parts.clock, looker=self.reconciler
        )
        self.liveness = Liveness(
            registry=self.registry,
            dispatch=self.dispatch,
            caller=parts.caller,
            clock=parts.clock,
            heartbeat_interval_s=waits.heartbeat_interval,
            registration_timeout_s=waits.registration_timeout,
            retry_interval_s=waits.retry_interval,
        )
        self.feed = Feed(
            parts.store,
            keep_alive_s=settings.events.keep_alive,
            retention_s=settings.events.retention,
        )
        self.drains = Drains(sessions=self.sessions, registry=self.registry, dispatch=self.dispatch)
        encryption = settings.encryption
        open_keys = SharedKeys(encryption.keys)
        place = open_chunk_place(
            settings.recording.chunk_store,
            copies=settings.recording.checkpoint_copies,
            open_keys=open_keys,
            make_keys=SharedKeys(encryption.keys, create=True),
        )
        self.keys = KeyWatch(
            open_keys, rotation_days=encryption.rotation_days, clock=parts.clock, store=place.url
        )
        self.pull = PullWorkers(
            sessions=self.sessions,
            registry=self.registry,
            dispatch=self.dispatch,
            drains=self.drains,
            looker=self.reconciler,
            feed=self.feed,
            keys=self.keys,
            clock=parts.clock,
            instance=parts.instance,
            heartbeat_interval_s=waits.heartbeat_interval,
        )
        self.push = PushWorkers(sessions=self.sessions, registry=self.registry, dispatch=self.dispatch)
        self.repeats = Repeats(store=parts.store, sessions=self.sessions, push=self.push)
        exports = exports_for(settings.recording, place.chunks, open_keys)
        self.playback = Playback(place.chunks, open_keys, exports=exports)
        self.keeping = Keeping(
            catalog=parts.catalog,
            sessions=self.sessions,
            place=place,
            clock=parts.clock,
            settings=settings.recording,
            forget=lambda recording_id: self.playback.forget(StoredId(recording_id)),
        )
        self.webhooks = Webhooks(self.sessions, self.reconciler)
        self.outgoing = OutgoingWebhooks(
            store=parts.store,
            webhooks=parts.webhooks,
            sender=parts.sender,
            clock=parts.clock,
            policy=RetryPolicy(first_s=settings.webhooks.first_retry, give_up_s=settings.webhooks.give_up),
            max_targets=settings.webhooks.max_targets,
        )
        self.metrics = Metrics(
            LiveNumbers(
                sessions=live.all,
                workers=lambda: Counter(worker.status for worker in self.registry.all()),
                breakers=lambda: Counter(map(self.registry.breaker_state, self.registry.all())),
                commands_running=lambda: self.commands.running,
                jobs_queued=lambda: self.dispatch.queued,
                events=lambda: self.sessions.events_committed,
                reconcile_s=lambda: self.reconciler.last_pass_s,
                rooms=self.rooms,
                outgoing=self.outgoing,
                recordings=lambda: self.keeping.quota.usage,
                quota_bytes=settings.recording.disk_quota,
            )
        )
        self.commands.on_failure = self.metrics.command_postponed
        self.keys.on_age = self.metrics.kek_age

    async def open(self) -> None:
        """Take over what the store holds: registrations first, so that open sessions find their workers."""
        await self.registry.open()
        await self.feed.open()
        await self.outgoing.open()
        await self.sessions.open()

    def notify(self, head_seq: int) -> None:
        """Say that the feed's head is now here: to those who stream it and to those who deliver it."""
        self.feed.notify(head_seq)
        self.outgoing.notify(head_seq)

    async def run(self) -> None:
        """Run every loop until cancelled; one that fails ends them all, and with them the process."""
        async with asyncio.TaskGroup() as tasks:
            for work in (
                self.feed.run,
                self.outgoing.run,
                self.commands.run,
                self.deadlines.run,
                self.reconciler.run_rooms,
                self.reconciler.run_participants,
                self.liveness.run,
                self.drains.run,
                self.pull.after_start,
                self.repeats.run,
                self.keeping.run,
                self.playback.exports.run,
            ):
                tasks.create_task(work(), name=work.__qualname__)

    def services(self, verifier: WebhookVerifier) -> Services:
        """Give what the HTTP edge stands on."""
        return Services(
            settings=self.settings,
            store=self.parts.store,
            catalog=self.parts.catalog,
            rooms=self.rooms,
            sessions=self.sessions,
            registry=self.registry,
            dispatch=self.dispatch,
            push=self.push,
            pull=self.pull,
            drains=self.drains,
            repeats=self.repeats,
            recording_control=RecordingControl(
                repeats=self.repeats,
                clock=self.parts.clock,
                default=self.settings.recording.manner,
                refusal=self.keeping.quota.refusal,
                seal=self.keeping.seal,
            ),
            playback=self.playback,
            keeping=self.keeping,
            uploads=self.keeping.uploads,
            webhooks=self.webhooks,
            verifier=verifier,
            outgoing=self.outgoing,
            feed=self.feed,
            metrics=self.metrics,
        )

    async def close(self) -> None:
        """Bring what runs to its end; what stays undone is in the store."""
        self.playback.close()
        self.keeping.close()
        self.keys.close()
        await self.dispatch.close()
        await self.sessions.close()
        await self.commands.close()


@asynccontextmanager
async def real_parts(settings: Settings, on_commit: Callable[[int], None]) -> AsyncIterator[Parts]:
    """Open the adapters that the settings name; close them in reverse.

    Raises:
        SettingsError: a part cannot be opened as configured.
    """
    media = settings.media_server()
    limits = limits_of(settings)
    clock = SystemClock()
    instance = InstanceId(clock.new_id())
    async with AsyncExitStack() as stack:
        path = settings.store.path
        store: SessionStore
        catalog: CatalogStore
        webhooks: WebhookStore
        if path is None:
            store = MemorySessionStore(
                clock=clock, instance_id=instance, lease_s=settings.events.lease, on_commit=on_commit
            )
            catalog, webhooks = store.catalog, MemoryWebhooks()
        else:
            store = SqliteSessionStore(
                path, clock=clock, instance_id=instance, lease_s=settings.events.lease, on_commit=on_commit
            )
            catalog, webhooks = store.catalog, store.webhooks
        await store.open()
        stack.push_async_callback(store.close)
        # LiveKit's own timeouts lie above ours, so that rooms are ended by us.
        idle_s = int(limits.client_s + limits.join_s + 60)
        rooms = LivekitRooms(
            media.server_url,
            api_key=media.api_key,
            api_secret=media.api_secret,
            deployment_id=await store.deployment_id(),
            empty_timeout_s=idle_s,
            departure_timeout_s=idle_s,
            max_participants=media.max_participants,
        )
        await rooms.open()
        stack.push_async_callback(rooms.close)
        caller = WorkerCallbacks(
            allow_private=settings.allow_private_endpoints,
            notify_timeout_s=settings.microservices.notify_timeout,
            now=clock.now,
        )
        await caller.open()
        stack.push_async_callback(caller.close)
        sender = HttpWebhookSender(
            allow_private=settings.allow_private_endpoints,
            timeout_s=settings.webhooks.timeout,
            now=clock.now,
        )
        await sender.open()
        stack.push_async_callback(sender.close)
        yield Parts(
            store=store,
            catalog=catalog,
            rooms=rooms,
            tokens=LivekitTokens(api_key=media.api_key, api_secret=media.api_secret, ttl_s=media.token_ttl_s),
            caller=caller,
            webhooks=webhooks,
            sender=sender,
            clock=clock,
            instance=instance,
            connect_url=connect_url(media.server_url),
        )


async def run(settings: Settings) -> None:
    """Run the orchestrator until SIGTERM or SIGINT.

    Raises:
        SettingsError: it cannot run as configured, for instance because the port is taken.
    """
    media = settings.media_server()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    heads: list[Callable[[int], None]] = []

    async with real_parts(settings, lambda head: heads[0](head) if heads else None) as parts:
        orchestrator = Orchestrator(parts, settings)
        heads.append(orchestrator.notify)
        await orchestrator.open()
        verifier = LivekitWebhookVerifier(media.api_key, media.api_secret)
        app = build_app(orchestrator.services(verifier))
        host, port = settings.server.host, settings.server.port
        try:
            async with (
                listening(app, host, port, shutdown_timeout_s=settings.server.shutdown_timeout) as real_port,
                asyncio.TaskGroup() as tasks,
            ):
                log.info("orchestrator_ready", url=f"http://{host}:{real_port}")
                running = tasks.create_task(orchestrator.run())
                adopting = tasks.create_task(orchestrator.keeping.adoption.run())
                probe_room = RoomName(f"probe-{parts.clock.new_id()}")
                tasks.create_task(warn_of_auto_create(media.server_url, parts.tokens, room_name=probe_room))
                watching = tasks.create_task(orchestrator.keys.run())
                await stop.wait()
                log.info("orchestrator_stopping")
                running.cancel()
                adopting.cancel()
                watching.cancel()
        finally:
            await orchestrator.close()
