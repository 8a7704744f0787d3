"""Routes of workers: register, look, leave, heartbeat, and the socket of pull workers."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from orchestrator.core.errors import WorkerNotFoundError
from orchestrator.core.ids import WorkerId, is_agent, name_problem
from orchestrator.service.push import NewWorker
from orchestrator.service.registry import Registry, Worker
from orchestrator.web.bodies import read_json, read_optional_json
from orchestrator.web.browser_checks import BROWSERS
from orchestrator.web.endpoint_checks import endpoint_problem
from orchestrator.web.errors import DrainingError, FieldProblem, FieldsError, rfc3339
from orchestrator.web.middleware import IS_STREAM
from orchestrator.web.request_keys import request_key
from orchestrator.web.services import SERVICES, Services
from orchestrator.web.worker_sockets import AGENT_REGISTERS, WorkerSockets
from sdk.wire import RECORDER_SERVICE, Heartbeat, Register, Registered

WORKER_SOCKETS: Final = web.AppKey("worker_sockets", WorkerSockets)
MAX_DRAIN_S: Final = 86400.0
_MAX_PAIRS_BYTES: Final = 16 * 1024  # metadata and capabilities, encoded

_encode = msgspec.json.Encoder().encode


class DrainWorker(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the drain route, which may be absent."""

    deadline_s: float = 30.0


async def register_worker(request: web.Request) -> web.Response:
    """Register a push worker, or replace its registration."""
    services = request.app[SERVICES]
    body = await read_json(request, Register)
    key = await request_key(request, "register")
    await services.repeats.register(lambda: _new_worker(body, services), key)
    answer = Registered(
        success=True, service_id=body.service_id, message="Microservice registered successfully"
    )
    return _json(answer)


async def list_workers(request: web.Request) -> web.Response:
    """List all registered workers."""
    registry = request.app[SERVICES].registry
    return _json({"microservices": [worker_view(worker, registry) for worker in registry.all()]})


async def get_service(request: web.Request) -> web.Response:
    """Give one service and the workers that offer it."""
    service_id = request.match_info["service_id"]
    registry = request.app[SERVICES].registry
    workers = registry.of_service(service_id)
    if not workers:
        raise WorkerNotFoundError(f"nobody is registered for service {service_id!r}")
    return _json({"service_id": service_id, "workers": [worker_view(w, registry) for w in workers]})


async def unregister_worker(request: web.Request) -> web.Response:
    """Forget a service's workers, or only `?worker_id=`; their jobs are offered to others."""
    service_id = request.match_info["service_id"]
    gone = await request.app[SERVICES].push.unregister(service_id, request.query.get("worker_id"))
    answer = {
        "success": True,
        "service_id": service_id,
        "worker_ids": [w.registration.worker_id for w in gone],
    }
    return _json(answer)


async def heartbeat(request: web.Request) -> web.Response:
    """Note that a push worker lives; 404 tells it to register again."""
    body = await read_optional_json(request, Heartbeat)
    service_id = request.match_info["service_id"]
    if body.load is not None and not 0 <= body.load <= 1:
        raise FieldsError([FieldProblem("load", f"{body.load:g} is out of range; give 0 to 1")])
    push = request.app[SERVICES].push
    worker = push.heartbeat(service_id, body.worker_id, load=body.load, draining=body.draining)
    return _json({"success": True, "service_id": service_id, "status": worker.status})


async def drain_worker(request: web.Request) -> web.Response:
    """Have a worker take nothing new, finish what runs, and hand over the rest after `deadline_s` (30)."""
    body = await read_optional_json(request, DrainWorker)
    if not 0 <= body.deadline_s <= MAX_DRAIN_S:
        sentence = f"{body.deadline_s:g} is out of range; give 0 to {MAX_DRAIN_S:g} seconds"
        raise FieldsError([FieldProblem("deadline_s", sentence)])
    services = request.app[SERVICES]
    worker = await services.drains.drain(WorkerId(request.match_info["worker_id"]), body.deadline_s)
    return _json(worker_view(worker, services.registry))


async def connect_worker(request: web.Request) -> web.StreamResponse:
    """Take a pull worker's socket."""
    services = request.app[SERVICES]
    request.app[BROWSERS].check_origin(request)
    if services.feed.is_stopping:
        raise DrainingError("this instance is stopping; connect again, or to another instance")
    if not web.WebSocketResponse().can_prepare(request):
        raise FieldsError([FieldProblem("Upgrade", "this route is a WebSocket; ask for an upgrade")])
    request[IS_STREAM] = True
    return await request.app[WORKER_SOCKETS].connect(request)


def worker_view(worker: Worker, registry: Registry) -> dict[str, Any]:
    """Give a worker as clients see it."""
    registration = worker.registration
    drain_by = registration.drain_by
    return {
        "service_id": registration.service_id,
        "worker_id": registration.worker_id,
        "status": worker.status,
        "mode": "push" if worker.is_push else "pull",
        "endpoint": registration.endpoint,
        "metadata": registration.metadata,
        "capabilities": registration.capabilities,
        "capacity": registration.capacity,
        "in_default": registration.in_default,
        "jobs": len(worker.jobs),
        "load": worker.load,
        "draining": worker.drains,
        "drain_by": rfc3339(drain_by) if drain_by is not None else None,
        "breaker": registry.breaker_state(worker),
        "failures": worker.breaker.failures,
        "registered_at": rfc3339(registration.registered_at),
    }


async def _new_worker(body: Register, services: Services) -> NewWorker:
    allow_private = services.settings.allow_private_endpoints
    bad_endpoint = await endpoint_problem(body.endpoint, allow_private=allow_private)
    problems = _problems(body)
    if bad_endpoint:
        problems.append(FieldProblem("endpoint", bad_endpoint))
    if problems:
        raise FieldsError(problems)
    return NewWorker(
        service_id=body.service_id,
        endpoint=body.endpoint.rstrip("/"),
        worker_id=body.worker_id,
        metadata=body.metadata or {},
        capabilities=body.capabilities or {},
        capacity=body.capacity,
        in_default=body.in_default,
    )


def _problems(body: Register) -> list[FieldProblem]:
    problems = []
    if problem := name_problem(body.service_id, what="service_id"):
        problems.append(FieldProblem("service_id", problem))
    elif body.service_id == RECORDER_SERVICE:
        problems.append(FieldProblem("service_id", "a recorder connects by /api/v1/workers/connect"))
    elif is_agent(body.service_id):
        problems.append(FieldProblem("service_id", AGENT_REGISTERS))
    if body.worker_id is not None and (problem := name_problem(body.worker_id, what="worker_id")):
        problems.append(FieldProblem("worker_id", problem))
    if body.capacity is not None and body.capacity < 1:
        problems.append(
            FieldProblem("capacity", f"{body.capacity} is less than 1; leave it out for no limit")
        )
    for field, pairs in (("metadata", body.metadata), ("capabilities", body.capabilities)):
        if pairs and len(_encode(pairs)) > _MAX_PAIRS_BYTES:
            problems.append(FieldProblem(field, f"is larger than {_MAX_PAIRS_BYTES} bytes as JSON"))
    return problems


def _json(answer: object) -> web.Response:
    return web.Response(body=_encode(answer), content_type="application/json")
