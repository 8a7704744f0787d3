"""Push workers by HTTP: they register an address, say that they live, and take their leave."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.core.errors import WorkerNotFoundError
from orchestrator.core.ids import ServiceId, WorkerId
from orchestrator.core.request_keys import RequestKey
from orchestrator.core.workers import Registration
from orchestrator.service.dispatch import Dispatch
from orchestrator.service.registry import Registry, Worker
from orchestrator.service.sessions import Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWorker:
    """What a push worker registers; the edge has checked names and address.

    Attributes:
        worker_id: None: it is the one worker of its service.
        capacity: None means no limit.
    """

    service_id: str
    endpoint: str
    worker_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    capabilities: dict[str, str] = field(default_factory=dict)
    capacity: int | None = None
    in_default: bool = True


class PushWorkers:
    """All workers that are called."""

    def __init__(self, *, sessions: Sessions, registry: Registry, dispatch: Dispatch) -> None:
        self._sessions = sessions
        self._registry = registry
        self._dispatch = dispatch

    async def register(self, new: NewWorker, key: RequestKey | None = None) -> Worker:
        """Insert or replace a registration, then offer what waits for this service.

        Raises:
            KeyTakenError: the key is bound already.
            StoreError: it is not durable.
        """
        now = self._sessions.now()
        worker = await self._registry.register(
            Registration(
                worker_id=WorkerId(new.worker_id or new.service_id),
                service_id=ServiceId(new.service_id),
                endpoint=new.endpoint,
                metadata=new.metadata,
                capabilities=new.capabilities,
                capacity=new.capacity,
                in_default=new.in_default,
                registered_at=now,
                seen_at=now,
            ),
            key=key,
        )
        self._dispatch.wake(worker.registration.service_id)
        return worker

    def heartbeat(
        self, service_id: str, worker_id: str | None, *, load: float | None, draining: bool
    ) -> Worker:
        """Note that a worker lives.

        Raises:
            WorkerNotFoundError: it is not registered (any more); it registers again.
        """
        worker = self._registry.get(WorkerId(worker_id or service_id))
        if worker.registration.service_id != service_id:
            raise WorkerNotFoundError(
                f"worker {worker_id!r} offers {worker.registration.service_id!r}, not {service_id!r}"
            )
        is_back = self._registry.heard(worker) or (worker.is_draining and not draining)
        worker.is_draining = draining
        if load is not None:
            worker.load = load
        if is_back:
            self._dispatch.wake(worker.registration.service_id)
        return worker

    def heard(self, worker_id: WorkerId) -> bool:
        """Take a request for a sign of life of a worker; False when it is not registered (any more)."""
        worker = self._registry.find(worker_id)
        if worker is None:
            return False
        if worker.is_push and self._registry.heard(worker):
            self._dispatch.wake(worker.registration.service_id)
        return True

    async def unregister(self, service_id: str, worker_id: str | None = None) -> list[Worker]:
        """Forget one worker of a service, or (None) all of them; their jobs are offered to others.

        Raises:
            WorkerNotFoundError: there is none.
        """
        workers = [
            worker
            for worker in self._registry.of_service(service_id)
            if worker_id in (None, worker.registration.worker_id)
        ]
        if not workers:
            raise WorkerNotFoundError(f"nobody is registered for service {service_id!r}")
        for worker in workers:
            await self._registry.unregister(worker.registration.worker_id)
            await self._dispatch.lose_jobs(worker.registration.worker_id, "the worker unregistered")
        return workers
