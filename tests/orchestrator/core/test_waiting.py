"""The sentence that says why a job waits names the first thing that stands in its way."""

from __future__ import annotations

from orchestrator.core.ids import ServiceId, WorkerId
from orchestrator.core.waiting import Standing, Waiting, WaitReason, agent_pause, no_room, why_waiting
from orchestrator.core.workers import Candidate

ASR = ServiceId("asr")


def standing(
    name: str = "w1",
    *,
    jobs: int = 0,
    joining: int = 0,
    is_away: bool = False,
    is_draining: bool = False,
    rests_s: float | None = None,
    **offers: str,
) -> Standing:
    return Standing(
        candidate=Candidate(worker_id=WorkerId(name), capacity=2, jobs=jobs, joining=joining, offers=offers),
        is_away=is_away,
        is_draining=is_draining,
        rests_s=rests_s,
    )


def why(*workers: Standing, refused_by: tuple[str, ...] = (), **asked: str) -> Waiting:
    refusing = tuple(WorkerId(name) for name in refused_by)
    return why_waiting(ASR, workers, asked=asked, refused_by=refusing)


def test_each_reason_and_its_sentence() -> None:
    found = [
        no_room(),
        why(),
        why(standing(is_away=True)),
        why(standing(is_draining=True), standing("w2", is_away=True)),
        why(standing(lang="en"), lang="de", gpu="yes"),
        why(standing(jobs=2), standing("w2", jobs=3)),
        why(standing(joining=10), standing("w2", joining=11)),
        why(standing(rests_s=4.0), standing("w2", rests_s=9.0)),
        why(standing(), refused_by=("w1",)),
        why(standing()),
    ]
    assert [(waiting.reason.value, waiting.message) for waiting in found] == [
        ("no_room", "LiveKit has no room for this session yet"),
        ("no_worker", "no worker is registered for 'asr'"),
        ("away", "the one worker of 'asr': registered, not heard now"),
        ("draining", "the one worker of 'asr': draining"),
        ("none_matches", "no worker of 'asr' has gpu=yes, lang=de"),
        ("full", "all 2 workers of 'asr': full with 5 jobs"),
        ("joining", "21 jobs of 'asr' are joining their rooms, the next follow"),
        ("resting", "all 2 workers of 'asr': failed repeatedly, asked again in 4 s"),
        ("refused", "the one worker of 'asr': refused this job lately, asked again soon"),
        ("offering", "a worker of 'asr' is being asked"),
    ]
    assert {waiting.reason for waiting in found} == set(WaitReason)


def test_who_does_not_match_does_not_hide_that_the_others_are_full() -> None:
    assert why(standing(lang="en"), standing("w2", jobs=2, lang="de"), lang="de").reason is WaitReason.FULL


def test_one_that_rests_does_not_hide_one_that_refused() -> None:
    found = why(standing(rests_s=4.0), standing("w2"), refused_by=("w2",))
    assert found.reason is WaitReason.REFUSED


def test_an_agent_that_did_not_come_is_asked_for_again() -> None:
    assert agent_pause().reason is WaitReason.REFUSED
    assert "LiveKit" in agent_pause().message
