"""What a request for a session must mean, once its fields have the right types. Pure; finds all mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from orchestrator.core.ids import agent_problem, is_agent, name_problem
from orchestrator.service.new_session import NewSession, ServiceOptions
from orchestrator.web.errors import FieldProblem, FieldsError
from sdk import wire
from sdk.wire import RECORDER_SERVICE, CreateSession, TokenRequest

MAX_SERVICES: Final = 32  # of one session
MAX_USER_NAME: Final = 256  # characters
MAX_METADATA_BYTES: Final = 16 * 1024  # encoded; it travels in offers, whose frames end at 64 KiB
MAX_CAPABILITIES_BYTES: Final = 1024  # encoded, of one service; they are kept with the session
MAX_PRIORITY: Final = 1_000_000  # either way
MAX_WAIT_S: Final = 300.0
MAX_LIFE_S: Final = 10 * 365 * 86400.0

IsService = Callable[[str], bool]


def new_session(body: CreateSession, is_registered: IsService) -> NewSession:
    """Turn the body of create-session into what the service takes.

    Args:
        body: as decoded.
        is_registered: whether a worker of this service id is registered; a client may not take its name.

    Raises:
        FieldsError: names, numbers or sizes that cannot be.
    """
    services = body.services or {}
    asked = [*(body.required_services or ()), *services]
    problems = [
        *_identity_problems(body.user_identity, lambda name: name in asked or is_registered(name)),
        *_named("room_name", body.room_name),
        *_user_name_problems(body.user_name),
        *_metadata_problems(body.metadata or {}),
        *_service_problems("required_services", body.required_services or ()),
        *_service_problems("services", services),
        *_option_problems(services),
        *_seconds("wait_s", body.wait_s, low=0, high=MAX_WAIT_S),
        *_seconds("expires_in", body.expires_in, low=1, high=MAX_LIFE_S),
        *_seconds("max_duration", body.max_duration, low=1, high=MAX_LIFE_S),
    ]
    if len(set(asked)) > MAX_SERVICES:
        sentence = f"{len(set(asked))} services are asked for; the limit is {MAX_SERVICES}"
        problems.append(FieldProblem("required_services", sentence))
    if problems:
        raise FieldsError(problems)
    return NewSession(
        user_identity=body.user_identity,
        user_name=body.user_name or "",
        room_name=body.room_name,
        metadata=body.metadata or {},
        required_services=None if body.required_services is None else tuple(body.required_services),
        services={
            name: ServiceOptions(
                required=o.required,
                policy=o.policy,
                priority=o.priority,
                capabilities=o.capabilities,
            )
            for name, o in services.items()
        },
        policy=body.policy or "degrade",
        record=body.record,
        expires_in_s=body.expires_in,
        max_duration_s=body.max_duration,
        wait_s=body.wait_s,
    )


def check_token_request(body: TokenRequest, is_service: IsService) -> None:
    """Refuse a token for a name that only workers carry.

    Raises:
        FieldsError: the identity or name cannot be.
    """
    problems = [*_identity_problems(body.user_identity, is_service), *_user_name_problems(body.user_name)]
    if problems:
        raise FieldsError(problems)


def _identity_problems(identity: str, is_service: IsService) -> list[FieldProblem]:
    field = "user_identity"
    if problem := name_problem(identity, what=field):
        return [FieldProblem(field, problem)]
    if identity == RECORDER_SERVICE or is_service(identity):
        return [FieldProblem(field, f"{identity!r} is the name of a service; choose another identity")]
    return []


def _named(field: str, value: str | None) -> list[FieldProblem]:
    problem = None if value is None else name_problem(value, what=field)
    return [FieldProblem(field, problem)] if problem else []


def _user_name_problems(value: str | None) -> list[FieldProblem]:
    if value is not None and len(value) > MAX_USER_NAME:
        sentence = f"user_name has {len(value)} characters; the limit is {MAX_USER_NAME}"
        return [FieldProblem("user_name", sentence)]
    return []


def _metadata_problems(metadata: dict[str, str]) -> list[FieldProblem]:
    size = len(msgspec.json.encode(metadata)) if metadata else 0
    if size > MAX_METADATA_BYTES:
        sentence = f"metadata has {size} bytes as JSON; the limit is {MAX_METADATA_BYTES}"
        return [FieldProblem("metadata", sentence)]
    return []


def _service_problems(field: str, names: Iterable[str]) -> list[FieldProblem]:
    problems = []
    for name in names:
        if name == RECORDER_SERVICE:
            problems.append(FieldProblem(field, "ask for a recording by record: true, not as a service"))
        elif problem := name_problem(name, what="a service id") or agent_problem(name):
            problems.append(FieldProblem(field, problem))
    return problems


def _option_problems(services: dict[str, wire.ServiceOptions]) -> list[FieldProblem]:
    problems = []
    for name, options in services.items():
        size = len(msgspec.json.encode(options.capabilities)) if options.capabilities else 0
        if size and is_agent(name):
            sentence = "LiveKit's agents have no capabilities here; leave them out"
            problems.append(FieldProblem(f"services.{name[:40]}.capabilities", sentence))
        if size > MAX_CAPABILITIES_BYTES:
            sentence = f"capabilities have {size} bytes as JSON; the limit is {MAX_CAPABILITIES_BYTES}"
            problems.append(FieldProblem(f"services.{name[:40]}.capabilities", sentence))
        if abs(options.priority) > MAX_PRIORITY:
            sentence = f"{options.priority} is out of range; give {-MAX_PRIORITY} to {MAX_PRIORITY}"
            problems.append(FieldProblem(f"services.{name[:40]}.priority", sentence))
    return problems


def _seconds(field: str, value: float | None, *, low: float, high: float) -> list[FieldProblem]:
    if value is None or low <= value <= high:
        return []
    return [FieldProblem(field, f"{value:g} is out of range; give {low:g} to {high:g} seconds")]
