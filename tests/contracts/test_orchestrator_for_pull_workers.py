"""What every orchestrator promises to pull workers; the fake of the SDK is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from sdk.wire import (
    MAX_FRAME_BYTES,
    Accept,
    Ack,
    Assign,
    Drain,
    HeldJob,
    Hello,
    Leave,
    Offer,
    Ping,
    Pong,
    RecordingReport,
    Refuse,
    Report,
    ReportState,
    Stale,
    TokenRenewed,
    TokenWanted,
    Welcome,
    WorkerFrame,
    encode_frame,
)
from tests.contracts.orchestrators import (
    Stand,
    assigned,
    connected,
    fake_stand,
    held,
    offered,
    real_stand,
    welcomed,
)

UNKNOWN = HeldJob(job_id="nobody-1", attempt=1)


@pytest.fixture(params=["real", "fake"])
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with real_stand() if request.param == "real" else fake_stand() as made:
        yield made


# --- hello and welcome ---


async def test_a_worker_is_welcomed(stand: Stand) -> None:
    async with connected(stand) as worker:
        await worker.say(Hello(service_id="asr", worker_id="w1", resuming=[UNKNOWN]))
        welcome = await worker.hear(Welcome)
        assert welcome.worker_id == "w1"
        assert welcome.heartbeat_interval > 0
        assert welcome.instance
        assert welcome.resumed == []
        stale = await worker.hear(Stale)
        assert (stale.job_id, stale.attempt) == ("nobody-1", 1)


@pytest.mark.parametrize(
    "first",
    [
        '{"t":"ping"}',
        '{"t":"of a later version"}',
        "no json",
        '{"t":"hello","service_id":"asr"}',
        '{"t":"hello","service_id":"","worker_id":"w1"}',
        '{"t":"hello","service_id":"a#2","worker_id":"w1"}',
        '{"t":"hello","service_id":"asr","worker_id":""}',
        '{"t":"hello","service_id":"asr","worker_id":"w1","capacity":0}',
        '{"t":"hello","service_id":"asr","worker_id":7}',
    ],
)
async def test_a_first_frame_that_is_no_good_hello_is_refused(stand: Stand, first: str) -> None:
    async with connected(stand) as worker:
        await worker.socket.send_str(first)
        code, reason = await worker.closed()
        assert code == 1008
        assert reason


async def test_who_says_nothing_is_turned_away(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.worker_sockets.HELLO_S", 0.05)
    monkeypatch.setattr("sdk.fake_server.HELLO_S", 0.05)
    async with connected(stand) as worker:
        assert (await worker.closed())[0] == 1008


async def test_a_second_hello_is_ignored(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        await worker.say(Hello(service_id="asr", worker_id="w1"))
        await worker.hears_nothing()


async def test_who_connects_again_replaces_its_older_connection(stand: Stand) -> None:
    async with welcomed(stand) as old, welcomed(stand) as new:
        code, _ = await old.closed()
        assert code == 1001
        await offered(stand, new)


async def test_a_worker_id_belongs_to_one_service(stand: Stand) -> None:
    async with welcomed(stand, "asr", worker_id="w1") as holder, connected(stand) as other:
        await other.say(Hello(service_id="tts", worker_id="w1"))
        code, reason = await other.closed()
        assert code == 1008
        assert "'w1'" in reason
        await offered(stand, holder)


async def test_two_workers_are_two(stand: Stand) -> None:
    async with welcomed(stand, worker_id="w1") as one, welcomed(stand, worker_id="w2") as two:
        await one.hears_nothing()
        await two.hears_nothing()


# --- frames ---


async def test_a_ping_is_answered_with_a_position(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        await worker.say(Ping(load=0.5, jobs=1, draining=True))
        pong = await worker.hear(Pong)
        generation, _, number = pong.position.partition(":")
        assert generation.isdigit()
        assert number.isdigit()


async def test_what_is_not_known_is_ignored(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        await worker.socket.send_str('{"t":"of a later version","x":[1]}')
        await worker.socket.send_bytes(b"\x00")
        await worker.socket.send_str('{"t":"ping","load":0.1,"of_a_later_version":true}')
        await worker.hear(Pong)


@pytest.mark.parametrize("text", ["{", '{"t":"accept"}', '{"t":"report","job_id":"j","attempt":"one"}'])
async def test_a_frame_that_cannot_be_read_ends_the_connection(stand: Stand, text: str) -> None:
    async with welcomed(stand) as worker:
        await worker.socket.send_str(text)
        code, reason = await worker.closed()
        assert code == 1001
        assert reason.startswith("a frame was not understood")


async def test_the_largest_frame_passes_and_a_larger_one_ends_the_connection(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        text = encode_frame(Ping())
        await worker.socket.send_str(text + " " * (MAX_FRAME_BYTES - len(text)))
        await worker.hear(Pong)
        await worker.socket.send_str(text + " " * (MAX_FRAME_BYTES + 1 - len(text)))
        code, _ = await worker.closed()
        assert code == 1009


# --- offers ---


async def test_an_offer_says_what_it_is_about(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        await stand.want("asr", metadata={"language": "sv"})
        offer = await worker.hear(Offer)
        assert (offer.service_id, offer.attempt) == ("asr", 1)
        assert offer.metadata == {"language": "sv"}
        assert offer.room_name == f"room-{offer.session_id}"
        assert offer.deadline > 0


async def test_an_accepted_offer_is_assigned(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer, assign = await assigned(stand, worker)
        assert (assign.job_id, assign.attempt) == (offer.job_id, offer.attempt)
        assert assign.access_token
        assert assign.livekit_url.startswith("ws")
        assert datetime.fromisoformat(assign.expires_at).tzinfo is not None
        assert not assign.recording


async def test_a_refused_offer_is_gone(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer = await offered(stand, worker)
        await worker.say(Refuse(job_id=offer.job_id, attempt=offer.attempt, reason="busy"))
        await worker.say(Accept(job_id=offer.job_id, attempt=offer.attempt))
        stale = await worker.hear(Stale)
        assert (stale.job_id, stale.attempt) == (offer.job_id, offer.attempt)


def words_about(job: HeldJob) -> list[WorkerFrame]:
    """Give every frame by which a worker speaks for a job that it holds."""
    name, attempt = job.job_id, job.attempt
    return [
        Accept(job_id=name, attempt=attempt),
        Refuse(job_id=name, attempt=attempt),
        Report(job_id=name, attempt=attempt, state="joined"),
        Report(job_id=name, attempt=attempt, state="ready"),
        TokenWanted(job_id=name, attempt=attempt),
        RecordingReport(job_id=name, attempt=attempt, n=1, recording_id="r1", state="recording"),
    ]


@pytest.mark.parametrize("which", range(len(words_about(UNKNOWN))))
async def test_words_about_a_job_that_is_not_held_are_stale(stand: Stand, which: int) -> None:
    async with welcomed(stand) as worker:
        offer, _ = await assigned(stand, worker)
        for job in (UNKNOWN, HeldJob(job_id=offer.job_id, attempt=7)):
            await worker.say(words_about(job)[which])
            stale = await worker.hear(Stale)
            assert (stale.job_id, stale.attempt) == (job.job_id, job.attempt)


async def test_an_end_that_is_told_again_needs_no_answer(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        await worker.say(Report(job_id=UNKNOWN.job_id, attempt=1, state="done"))
        await worker.say(Report(job_id=UNKNOWN.job_id, attempt=1, state="failed"))
        await worker.hears_nothing()


async def test_nobody_speaks_for_the_job_of_another_worker(stand: Stand) -> None:
    async with welcomed(stand, worker_id="w1") as holder:
        offer, _ = await assigned(stand, holder)
        async with welcomed(stand, worker_id="w2") as other:
            await other.say(TokenWanted(job_id=offer.job_id, attempt=offer.attempt))
            await other.hear(Stale)
            await holder.say(TokenWanted(job_id=offer.job_id, attempt=offer.attempt))
            await holder.hear(TokenRenewed)


# --- jobs ---


async def test_a_token_is_renewed_for_who_holds_the_job(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer, assign = await assigned(stand, worker)
        await worker.say(TokenWanted(job_id=offer.job_id, attempt=offer.attempt))
        renewed = await worker.hear(TokenRenewed)
        assert (renewed.job_id, renewed.attempt) == (offer.job_id, offer.attempt)
        assert renewed.access_token
        assert not renewed.second_token  # a recorder's only
        assert datetime.fromisoformat(renewed.expires_at) >= datetime.fromisoformat(assign.expires_at)


@pytest.mark.parametrize("state", ["joined", "ready"])
async def test_progress_needs_no_answer(stand: Stand, state: ReportState) -> None:
    async with welcomed(stand) as worker:
        offer, _ = await assigned(stand, worker)
        await worker.say(Report(job_id=offer.job_id, attempt=offer.attempt, state=state))
        await worker.hears_nothing()


@pytest.mark.parametrize("state", ["done", "failed"])
async def test_after_its_end_a_job_is_not_held(stand: Stand, state: ReportState) -> None:
    async with welcomed(stand) as worker:
        offer, _ = await assigned(stand, worker)
        await stand.end(offer)
        await worker.hear(Leave)
        await worker.say(Report(job_id=offer.job_id, attempt=offer.attempt, state=state))
        await worker.hears_nothing()
        await worker.say(TokenWanted(job_id=offer.job_id, attempt=offer.attempt))
        await worker.hear(Stale)


async def test_at_the_end_of_its_session_a_worker_is_told_to_leave(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer, _ = await assigned(stand, worker)
        await stand.end(offer)
        leave = await worker.hear(Leave)
        assert (leave.job_id, leave.attempt) == (offer.job_id, offer.attempt)
        assert leave.reason == "terminated"
        assert leave.deadline > 0


async def test_a_job_that_is_taken_away_is_stale(stand: Stand) -> None:
    async with welcomed(stand, capacity=1) as worker:
        offer, _ = await assigned(stand, worker)
        await stand.take_away(offer)
        stale = await worker.hear(Stale)
        assert (stale.job_id, stale.attempt) == (offer.job_id, offer.attempt)
        await worker.say(TokenWanted(job_id=offer.job_id, attempt=offer.attempt))
        while not isinstance(frame := await worker.next_frame(), Stale):
            assert isinstance(frame, Offer)  # its next attempt
            assert frame.attempt == offer.attempt + 1


async def test_a_worker_that_drains_keeps_its_job_to_the_end(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer, _ = await assigned(stand, worker)
        await stand.drain("w1")
        assert 0 < (await worker.hear(Drain)).deadline <= 20
        await worker.say(Ping(draining=True))
        await worker.hear(Pong)
        await worker.say(TokenWanted(job_id=offer.job_id, attempt=offer.attempt))
        await worker.hear(TokenRenewed)


# --- connections that break ---


async def test_who_comes_back_keeps_what_it_holds_and_nothing_else(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer, _ = await assigned(stand, worker)
        await worker.say(Report(job_id=offer.job_id, attempt=offer.attempt, state="joined"))
        await worker.hears_nothing()
    older = HeldJob(job_id=offer.job_id, attempt=offer.attempt + 1)
    async with connected(stand) as worker:
        await worker.say(Hello(service_id="asr", worker_id="w1", resuming=[older, held(offer), UNKNOWN]))
        assert (await worker.hear(Welcome)).resumed == [held(offer)]
        stale = [await worker.hear(Stale) for _ in range(2)]
        assert {(frame.job_id, frame.attempt) for frame in stale} == {
            (older.job_id, older.attempt),
            (UNKNOWN.job_id, UNKNOWN.attempt),
        }
        await worker.say(TokenWanted(job_id=offer.job_id, attempt=offer.attempt))
        while not isinstance(await worker.next_frame(), TokenRenewed):
            pass


async def test_who_comes_back_without_its_job_has_lost_it(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer, _ = await assigned(stand, worker)
    async with welcomed(stand) as worker:
        await worker.say(TokenWanted(job_id=offer.job_id, attempt=offer.attempt))
        while not isinstance(frame := await worker.next_frame(), Stale):
            assert isinstance(frame, Offer)
        assert (frame.job_id, frame.attempt) == (offer.job_id, offer.attempt)


async def test_an_assignment_that_was_lost_comes_again(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer, first = await assigned(stand, worker)
    async with welcomed(stand, resuming=[held(offer)]) as worker:
        again = await worker.hear(Assign)
        assert (again.job_id, again.attempt) == (first.job_id, first.attempt)
        assert again.access_token


async def test_an_end_that_was_missed_is_told_at_the_return(stand: Stand) -> None:
    async with welcomed(stand) as worker:
        offer, _ = await assigned(stand, worker)
    await stand.end(offer)
    await asyncio.sleep(0.05)
    async with welcomed(stand, resuming=[held(offer)]) as worker:
        while not isinstance(frame := await worker.next_frame(), Leave):
            assert isinstance(frame, Assign)
        assert (frame.job_id, frame.attempt) == (offer.job_id, offer.attempt)
        await worker.say(Report(job_id=offer.job_id, attempt=offer.attempt, state="done"))
        await worker.hears_nothing()


# --- the recorder ---


async def test_a_recorder_is_told_what_to_record_and_is_acknowledged(stand: Stand) -> None:
    async with welcomed(stand, "recorder") as worker:
        offer, assign = await assigned(stand, worker, "recorder")
        assert assign.recording
        assert assign.recording.task == "capture"
        report = RecordingReport(
            job_id=offer.job_id,
            attempt=offer.attempt,
            n=1,
            recording_id=assign.recording.recording_id,
            state="recording",
        )
        for _ in range(2):
            await worker.say(report)
            ack = await worker.hear(Ack)
            assert (ack.job_id, ack.attempt, ack.n) == (offer.job_id, offer.attempt, 1)


async def test_a_report_of_another_recording_is_stale(stand: Stand) -> None:
    async with welcomed(stand, "recorder") as worker:
        offer, _ = await assigned(stand, worker, "recorder")
        await worker.say(
            RecordingReport(
                job_id=offer.job_id, attempt=offer.attempt, n=1, recording_id="another", state="recording"
            )
        )
        await worker.hear(Stale)
