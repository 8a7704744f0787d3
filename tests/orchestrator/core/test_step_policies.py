"""Required or optional, `degrade` or `strict`, there or not: every combination for two services."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import pytest

from orchestrator.core.events import SessionReady
from orchestrator.core.ids import ServiceId
from orchestrator.core.states import RoomStatus
from orchestrator.core.step import Wanted, open_session
from tests.orchestrator.core.playing import CREATED, NOW, Due, Played, gone, opening, play, serve, worker

S = RoomStatus


@dataclass(frozen=True)
class Service:
    """One service of the session, and whether a worker comes."""

    name: str
    required: bool
    strict: bool
    comes: bool

    @property
    def is_missing(self) -> bool:
        return self.required and not self.comes

    def __str__(self) -> str:
        words = ("required" if self.required else "optional", "strict" if self.strict else "degrade")
        return f"{'-'.join(words)}-{'there' if self.comes else 'absent'}"


BOTH = (True, False)
KINDS = list(product(BOTH, BOTH, BOTH))
PAIRS = [(Service("asr", *first), Service("tts", *second)) for first, second in product(KINDS, KINDS)]
every_pair = pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]}+{pair[1]}")


def with_workers(pair: tuple[Service, Service]) -> Played:
    """A session whose workers, as far as they come, are in the room."""
    services = tuple(Wanted(service_id=ServiceId(s.name), required=s.required, strict=s.strict) for s in pair)
    played = play(open_session(replace(opening(), services=services), NOW).session, CREATED)
    for number, service in enumerate(pair, start=1):
        if service.comes:
            played = play(played, *serve(service.name, number, worker_id=f"w{number}"))
    return played


def missing(pair: tuple[Service, Service]) -> tuple[str, ...]:
    return tuple(service.name for service in pair if service.is_missing)


@every_pair
def test_ready_waits_for_what_is_required_and_for_nothing_else(pair: tuple[Service, Service]) -> None:
    session = with_workers(pair).session
    assert session.missing_services == missing(pair)
    assert session.room_status is (S.WAITING if missing(pair) else S.READY)
    assert not session.degraded
    assert ("join" in session.deadlines) == bool(missing(pair))


@every_pair
def test_at_the_join_deadline_a_missing_strict_one_ends_it_and_others_degrade_it(
    pair: tuple[Service, Service],
) -> None:
    waiting = with_workers(pair)
    if not missing(pair):
        return
    played = play(waiting, Due("join"))
    if any(service.is_missing and service.strict for service in pair):
        assert (played.session.room_status, played.session.end_reason) == (S.TERMINATING, "services_timeout")
        assert "session_ready" not in played.names
        return
    assert (played.session.room_status, played.session.degraded) == (S.READY, True)
    (ready,) = [event for event in played.events if isinstance(event, SessionReady)]
    assert (ready.all_participants_joined, ready.missing_services) == (False, missing(pair))


@every_pair
def test_one_that_leaves_a_ready_session_matters_as_it_was_asked_for(pair: tuple[Service, Service]) -> None:
    ready = with_workers(pair)
    if missing(pair):
        return
    for number, service in enumerate(pair, start=1):
        if not service.comes:
            continue
        left = play(ready, gone(worker(service.name)))
        assert left.session.room_status is S.READY
        assert left.session.degraded == service.required
        assert left.session.missing_services == ((service.name,) if service.required else ())
        timeout = f"service:{number}"
        assert (timeout in left.session.deadlines) == (service.required and service.strict)
        if timeout in left.session.deadlines:
            assert play(left, Due(timeout)).session.end_reason == "services_timeout"
        other = f"service:{3 - number}"
        assert other not in left.session.deadlines


def test_a_job_goes_on_being_offered_after_a_degrade_and_an_optional_one_always() -> None:
    pair = (Service("asr", True, False, False), Service("tts", False, True, False))
    degraded = play(with_workers(pair), Due("join"))
    healed = play(degraded, *serve("asr"), *serve("tts", 2, worker_id="w2"))
    assert not healed.session.degraded
    assert [job.is_ready for job in healed.session.jobs] == [True, True]
