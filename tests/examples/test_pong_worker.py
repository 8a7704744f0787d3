"""The pong worker: in fake rooms, against real LiveKit, and as a program that is started first."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pytest
from livekit import api, rtc

from examples.pong_worker import MAX_WAITING, PING_TOPIC, PONG_TOPIC, make_worker
from sdk.fake_room import FakeDataPacket
from sdk.settings import WorkerSettings
from sdk.testing import FakeJob, FakeOrchestrator, WorkerHarness
from tests.fakes.worker_author import until


def harness() -> WorkerHarness:
    return WorkerHarness(lambda settings, rooms: make_worker(settings, rooms=rooms))


async def test_a_ping_is_answered_to_its_sender_only() -> None:
    async with harness() as h:
        job = await h.start_job()
        alice = await h.rooms.join(job.room_name, "alice")
        bob = await h.rooms.join(job.room_name, "bob")
        got: dict[str, list[FakeDataPacket]] = {"alice": [], "bob": []}
        alice.on("data_received", got["alice"].append)
        bob.on("data_received", got["bob"].append)
        await alice.local_participant.publish_data(b"ping", topic=PING_TOPIC)
        await alice.local_participant.publish_data(b"chat", topic="chat")
        await until(lambda: len(got["alice"]) == 1 and len(got["bob"]) >= 2)
        assert (got["alice"][0].data, got["alice"][0].topic) == (b"pong", PONG_TOPIC)
        assert PONG_TOPIC not in {packet.topic for packet in got["bob"]}
        await h.end_job(job)


async def test_a_flood_of_pings_is_bounded() -> None:
    async with harness() as h:
        job = await h.start_job()
        alice = await h.rooms.join(job.room_name, "alice")
        got: list[Any] = []
        alice.on("data_received", got.append)
        for _ in range(MAX_WAITING * 3):
            await alice.local_participant.publish_data(b"ping", topic=PING_TOPIC)
        await asyncio.sleep(0.2)
        assert len(got) == MAX_WAITING
        await h.end_job(job)


async def test_after_a_lost_room_it_answers_again() -> None:
    async with harness() as h:
        job = await h.start_job()
        h.rooms.drop(job.room_name, "tested")
        await until(lambda: h.rooms.participants(job.room_name) == ["tested"])
        alice = await h.rooms.join(job.room_name, "alice")
        got: list[Any] = []
        alice.on("data_received", got.append)
        await alice.local_participant.publish_data(b"ping", topic=PING_TOPIC)
        await until(lambda: len(got) == 1)


@pytest.mark.integration
async def test_it_answers_in_a_real_room(livekit_server: Any) -> None:
    def token(room: str, identity: str) -> str:
        access = api.AccessToken(livekit_server.api_key, livekit_server.api_secret).with_identity(identity)
        return str(access.with_grants(api.VideoGrants(room_join=True, room=room)).to_jwt())

    def mint(job: FakeJob, _: int) -> str:
        return token(job.room_name, job.identity)

    http_url = livekit_server.url.replace("ws", "http", 1)
    async with (
        api.LiveKitAPI(http_url, livekit_server.api_key, livekit_server.api_secret) as livekit,
        FakeOrchestrator(livekit_url=livekit_server.url, mint=mint) as fake,
        make_worker(WorkerSettings(fake.url, "pong")),
    ):
        job = await fake.offer()
        await livekit.room.create_room(api.CreateRoomRequest(name=job.room_name, empty_timeout=60))
        await fake.accepted(job)
        await fake.assign(job)
        await fake.reported(job, "joined")
        alice = rtc.Room()
        pongs: list[rtc.DataPacket] = []
        alice.on("data_received", pongs.append)
        await alice.connect(livekit_server.url, token(job.room_name, "alice"))
        try:
            await alice.local_participant.publish_data(b"ping", topic=PING_TOPIC)
            await until(lambda: len(pongs) == 1)
            assert (pongs[0].data, pongs[0].topic) == (b"pong", PONG_TOPIC)
        finally:
            await alice.disconnect()
        await fake.leave(job)
        await fake.reported(job, "done")
        await livekit.room.delete_room(api.DeleteRoomRequest(room=job.room_name))


async def test_the_program_waits_for_its_orchestrator_and_ends_at_sigterm() -> None:
    async with FakeOrchestrator() as fake:
        await fake.go_away()
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "examples.pong_worker",
            env={**os.environ, "GREENROOM_URL": fake.url},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await asyncio.sleep(0.5)
            assert program.returncode is None
            await fake.come_back()
            assert (await fake.hello()).service_id == "pong"
            program.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(program.wait(), 5) == 0
        finally:
            if program.returncode is None:
                program.kill()
                await program.wait()


async def test_a_missing_address_is_one_sentence_and_exit_code_2() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.pong_worker", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, text = await asyncio.wait_for(program.communicate(), 10)
    assert program.returncode == 2
    assert text.decode() == "GREENROOM_URL is not set: it says the worker's orchestrator_url\n"
