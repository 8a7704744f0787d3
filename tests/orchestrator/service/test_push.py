"""Push workers: registered once per service or by name, heard, and gone with their jobs handed on."""

from __future__ import annotations

import pytest

from orchestrator.core.errors import WorkerNotFoundError
from orchestrator.core.ids import ServiceId
from orchestrator.service.push import NewWorker
from tests.fakes.assembly import assembly

ASR = NewWorker(service_id="asr", endpoint="http://127.0.0.1:1")


async def test_without_a_worker_id_there_is_one_worker_of_a_service() -> None:
    async with assembly() as made:
        await made.push.register(ASR)
        await made.push.register(NewWorker(service_id="asr", endpoint="http://127.0.0.1:2"))
        (worker,) = made.registry.all()
        assert (worker.registration.worker_id, worker.registration.endpoint) == ("asr", "http://127.0.0.1:2")
        assert [r.endpoint for r in await made.parts.store.workers()] == ["http://127.0.0.1:2"]


async def test_a_draining_worker_gets_nothing_new_until_it_says_otherwise() -> None:
    async with assembly() as made:
        worker = await made.push.register(ASR)
        made.push.heartbeat("asr", None, load=0.5, draining=True)
        assert list(made.registry.candidates(ServiceId("asr"))) == []
        made.push.heartbeat("asr", None, load=None, draining=False)
        assert [c.load for c in made.registry.candidates(ServiceId("asr"))] == [0.5]
        assert worker.missed == 0


async def test_a_heartbeat_is_for_a_worker_of_this_service() -> None:
    async with assembly() as made:
        await made.push.register(ASR)
        with pytest.raises(WorkerNotFoundError):
            made.push.heartbeat("tts", None, load=None, draining=False)
        with pytest.raises(WorkerNotFoundError, match="offers 'asr', not 'tts'"):
            made.push.heartbeat("tts", "asr", load=None, draining=False)


async def test_unregistering_a_service_takes_all_its_workers() -> None:
    async with assembly() as made:
        await made.push.register(NewWorker(service_id="asr", endpoint="http://127.0.0.1:1", worker_id="a"))
        await made.push.register(NewWorker(service_id="asr", endpoint="http://127.0.0.1:2", worker_id="b"))
        gone = await made.push.unregister("asr")
        assert sorted(worker.registration.worker_id for worker in gone) == ["a", "b"]
        assert await made.parts.store.workers() == []
        with pytest.raises(WorkerNotFoundError):
            await made.push.unregister("asr")
