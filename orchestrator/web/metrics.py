"""What `/metrics` tells: true numbers, counted where things happen or read from the live state when asked."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from orchestrator.catalog_ports import Usage
from orchestrator.core.breaker import BreakerState
from orchestrator.core.jobs import JobState
from orchestrator.core.recording import RecordingStatus
from orchestrator.core.session import Session
from orchestrator.core.states import RoomStatus
from orchestrator.service.counted_rooms import CountedRooms
from orchestrator.service.outgoing import OutgoingWebhooks
from orchestrator.service.webhook_line import Outcome

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveNumbers:
    """Where the numbers of the moment come from; each is asked at every scrape.

    Attributes:
        sessions: all open sessions.
        workers: registered workers by the reference's status word.
        breakers: registered workers by the state of their breaker.
        commands_running: commands being carried out.
        jobs_queued: jobs that wait for somebody.
        events: events of sessions committed since the start.
        reconcile_s: how long the last pass over all rooms took.
        outgoing: receivers of events; there are at most `[webhooks] max_targets`.
        recordings: what all recordings took at the last look.
        quota_bytes: what they may take; None without a quota.
    """

    sessions: Callable[[], list[Session]]
    workers: Callable[[], dict[str, int]]
    breakers: Callable[[], dict[str, int]]
    commands_running: Callable[[], int]
    jobs_queued: Callable[[], int]
    events: Callable[[], int]
    reconcile_s: Callable[[], float]
    rooms: CountedRooms
    outgoing: OutgoingWebhooks
    recordings: Callable[[], Usage]
    quota_bytes: int | None


class Metrics:
    """The numbers of one orchestrator process, in a registry of its own."""

    def __init__(self, live: LiveNumbers) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_LiveCollector(live))
        self._http = Histogram(
            "greenroom_http_request_seconds",
            "Requests by route, method and status, without event streams and sockets",
            ["route", "method", "status"],
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._postponed = Counter(
            "greenroom_commands_postponed",
            "Commands that failed and will be tried again",
            ["command"],
            registry=self._registry,
        )
        self._webhooks = Counter(
            "greenroom_webhooks",
            "LiveKit's webhooks: accepted (persisted), refused (not signed), failed (not persisted)",
            ["outcome"],
            registry=self._registry,
        )
        self._readers = Gauge(
            "greenroom_event_readers", "Readers of event streams now", registry=self._registry
        )
        self._cut = Counter(
            "greenroom_event_readers_cut",
            "Readers of event streams that were cut because they did not read",
            registry=self._registry,
        )
        self._kek_age = Gauge(
            "greenroom_kek_age_days",
            "Days for which the key-encryption key has been in use; none while there are no keys",
            registry=self._registry,
        )
        self._kek_age.set(float("nan"))
        for outcome in ("accepted", "refused", "failed"):
            self._webhooks.labels(outcome)

    def request_done(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._http.labels(route, method, str(status)).observe(seconds)

    def command_postponed(self, kind: str) -> None:
        """Count a command that failed."""
        self._postponed.labels(kind).inc()

    def webhook(self, outcome: str) -> None:
        """Count a webhook."""
        self._webhooks.labels(outcome).inc()

    def readers(self, count: int) -> None:
        """Say how many event streams there are now."""
        self._readers.set(count)

    def reader_cut(self) -> None:
        """Count a reader that did not read."""
        self._cut.inc()

    def kek_age(self, days: float) -> None:
        """Say for how long the key that wraps new recordings has been in use."""
        self._kek_age.set(days)

    def exposition(self) -> bytes:
        """Give all numbers in Prometheus' text format."""
        return generate_latest(self._registry)


class _LiveCollector:
    """Reads the state of the moment at each scrape."""

    def __init__(self, live: LiveNumbers) -> None:
        self._live = live

    def collect(self) -> Iterator[Metric]:
        """Give the families that are read, not counted."""
        live = self._live
        sessions = live.sessions()
        yield _by_label(
            "greenroom_sessions",
            "Open sessions by room status",
            "room_status",
            [status.value for status in RoomStatus],
            Tally(session.room_status.value for session in sessions),
        )
        yield _by_label(
            "greenroom_jobs",
            "Jobs of open sessions by state",
            "state",
            [state.value for state in JobState],
            Tally(job.state.value for session in sessions for job in session.jobs),
        )
        yield _by_label(
            "greenroom_workers",
            "Registered workers by status",
            "status",
            ["Registered", "Joining", "Ready", "Disconnected"],
            live.workers(),
        )
        yield _by_label(
            "greenroom_worker_breakers",
            "Registered workers by the state of their breaker",
            "state",
            list(get_args(BreakerState)),
            live.breakers(),
        )
        yield _gauge("greenroom_sessions_degraded", "Open sessions that lack a required service",
                     sum(session.degraded for session in sessions))  # fmt: skip
        yield _gauge("greenroom_commands_running", "Commands being carried out", live.commands_running())
        yield _gauge("greenroom_jobs_queued", "Jobs that wait for somebody", live.jobs_queued())
        yield _gauge(
            "greenroom_reconcile_seconds", "Duration of the last pass over all rooms", live.reconcile_s()
        )
        yield CounterMetricFamily("greenroom_events", "Events of sessions committed", value=live.events())
        yield from self._livekit()
        yield from self._outgoing()
        yield from self._recordings()

    def _livekit(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "greenroom_livekit_calls", "Calls of LiveKit by outcome", labels=["call", "outcome"]
        )
        seconds = CounterMetricFamily(
            "greenroom_livekit_call_seconds", "Time spent in calls of LiveKit", labels=["call"]
        )
        for (call, outcome), count in sorted(self._live.rooms.calls.items()):
            calls.add_metric([call, outcome], count)
        for call, spent_s in sorted(self._live.rooms.seconds.items()):
            seconds.add_metric([call], spent_s)
        yield calls
        yield seconds

    def _recordings(self) -> Iterator[Metric]:
        usage = self._live.recordings()
        words = [status.value for status in RecordingStatus if status is not RecordingStatus.IDLE]
        yield _by_label(
            "greenroom_recordings", "Recordings in the catalog by state", "state", words, usage.counts
        )
        yield _gauge("greenroom_recordings_bytes", "What all recordings take in the store", usage.used_bytes)
        if self._live.quota_bytes is not None:
            text = "What all recordings may take: [recording] disk_quota"
            yield _gauge("greenroom_recordings_quota_bytes", text, self._live.quota_bytes)

    def _outgoing(self) -> Iterator[Metric]:
        outgoing = self._live.outgoing
        sent = CounterMetricFamily(
            "greenroom_webhook_deliveries", "Outgoing deliveries by outcome of the try", labels=["outcome"]
        )
        for outcome in get_args(Outcome):
            sent.add_metric([outcome], outgoing.outcomes[outcome])
        lag = GaugeMetricFamily(
            "greenroom_webhook_lag_events",
            "Events of the feed since the oldest that a receiver may lack",
            labels=["webhook_id"],
        )
        held = GaugeMetricFamily(
            "greenroom_webhook_held_sessions",
            "Sessions held back from a receiver because a delivery failed",
            labels=["webhook_id"],
        )
        for view in outgoing.all():
            lag.add_metric([view.target.id], view.lag_events)
            held.add_metric([view.target.id], view.held_sessions)
        yield sent
        yield lag
        yield held


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _by_label(
    name: str, text: str, label: str, values: list[str], counts: dict[str, int] | Tally[str]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value in values:
        family.add_metric([value], counts.get(value, 0))
    return family
