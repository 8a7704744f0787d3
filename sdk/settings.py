"""What a worker is told when it starts, checked once, with errors that name value, limit and fix."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

MAX_JOBS: Final = 500  # `hello.resuming` of so many jobs still fits into one frame of 64 KiB
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings of one worker.

    Args:
        orchestrator_url: where the orchestrator listens, `http(s)://HOST[:PORT]`.
        service_id: the service that this worker offers.
        endpoint: None is pull mode, one outgoing WebSocket. A URL is push mode: the orchestrator calls this
            address, and the worker listens on its port (80 or 443 when it names none, any free one for 0).
        bind_host: push mode, the address to listen on. None: loopback when the endpoint is, else all.
        metadata: what the orchestrator shows about this worker.
        capabilities: what jobs may ask for.
        capacity: jobs at the same time, 1 to 500; None leaves it to the orchestrator, up to 500.
        in_default: serve sessions that do not say which services they need.
        worker_id: names this process; made when empty.
        manual_ready: pull mode, being in the room is not enough, the job says `await job.ready()`.
        request_timeout: seconds that one call to the orchestrator may take.
        join_timeout_s: seconds to join a room, retries included.
        rejoin_timeout_s: seconds to come back into a room whose connection was lost for good.
        drain_timeout_s: seconds that running jobs have at SIGTERM before they are handed over.
        finish_timeout_s: seconds that `leave_room` may go on after the room has been left.
        joins_room: False: jobs have no `job.room`; the handler joins by itself with `job.grant()`.
        busy_limit_s: seconds that the jobs' event loop may be blocked before the worker counts as stuck.

    Raises:
        ValueError: a value that cannot work, in one sentence.
    """

    orchestrator_url: str
    service_id: str
    endpoint: str | None = None
    _: KW_ONLY
    bind_host: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    capabilities: Mapping[str, str] = field(default_factory=dict)
    capacity: int | None = 1
    in_default: bool = True
    worker_id: str = ""
    manual_ready: bool = False
    request_timeout: float = 30.0
    join_timeout_s: float = 10.0
    rejoin_timeout_s: float = 60.0
    drain_timeout_s: float = 30.0
    finish_timeout_s: float = 30.0
    busy_limit_s: float = 30.0
    joins_room: bool = True

    def __post_init__(self) -> None:
        url = check_url("orchestrator_url", self.orchestrator_url)
        object.__setattr__(self, "orchestrator_url", url)
        if not self.service_id or "#" in self.service_id or self.service_id != self.service_id.strip():
            raise ValueError(
                f"service_id {self.service_id!r} must be a name without '#' and without spaces around it"
            )
        if self.endpoint is not None:
            object.__setattr__(self, "endpoint", check_url("endpoint", self.endpoint))
        elif self.bind_host is not None:
            raise ValueError("bind_host is for push mode only: give an endpoint too, or leave bind_host out")
        if self.endpoint is not None and self.manual_ready:
            raise ValueError("manual_ready is for pull mode only: leave endpoint out, or manual_ready")
        if self.endpoint is not None and not self.joins_room:
            raise ValueError("joins_room=False is for pull mode only: leave endpoint out, or joins_room")
        if self.capacity is not None and not 1 <= self.capacity <= MAX_JOBS:
            raise ValueError(
                f"capacity {self.capacity} must be 1 to {MAX_JOBS}, or None for no limit of its own"
            )
        for name in ("metadata", "capabilities"):
            _check_strings(name, getattr(self, name))
        for name in _DURATIONS:
            value = getattr(self, name)
            if not 0 < value <= 86400:
                raise ValueError(f"{name} {value!r} must be more than 0 and at most 86400 seconds")
        if not self.worker_id:
            object.__setattr__(self, "worker_id", f"{self.service_id}-{secrets.token_hex(4)}")

    @property
    def max_jobs(self) -> int:
        """Jobs that this worker takes at the same time."""
        return MAX_JOBS if self.capacity is None else self.capacity

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **given: Any) -> WorkerSettings:
        """Read the settings from `GREENROOM_…` variables; what is ``given`` in the call stands above them.

        `GREENROOM_URL` is the orchestrator's address; the others are the field's name in capitals, without
        its `_s` (`GREENROOM_SERVICE_ID`, `GREENROOM_DRAIN_TIMEOUT`). Maps are written `name=value,…`.

        Raises:
            ValueError: a variable is missing or cannot be read; the sentence names it.
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = dict(given)
        for name, (variable, read) in _VARIABLES.items():
            text = source.get(variable, "").strip()
            if name in values or not text:
                continue
            try:
                values[name] = read(text)
            except ValueError as error:
                raise ValueError(f"{variable}={text!r}: {error}") from None
        for name in ("orchestrator_url", "service_id"):
            if name not in values:
                raise ValueError(f"{_VARIABLES[name][0]} is not set: it says the worker's {name}")
        return cls(**values)


def check_url(name: str, value: str) -> str:
    """Give an HTTP URL without a slash at its end; ``name`` is the setting that an error speaks of.

    Raises:
        ValueError: not a URL that this SDK can use.
    """
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise ValueError(f"{name} {value!r} is not a URL: write http://HOST:PORT") from None
    if url.username or url.password:
        raise ValueError(f"{name} must not carry a user name or password")
    if url.scheme not in {"http", "https"}:
        raise ValueError(f"{name} {value!r} must begin with http:// or https://")
    if not url.hostname or url.query or url.fragment:
        raise ValueError(f"{name} {value!r} needs a host, and no query or fragment: write http://HOST:PORT")
    if name != "endpoint" and port == 0:
        raise ValueError(f"{name} {value!r} needs a port other than 0")
    return value.rstrip("/")


def endpoint_port(endpoint: str) -> int:
    """Give the port that an endpoint names, or its scheme's own."""
    url = urlsplit(endpoint)
    return url.port if url.port is not None else {"http": 80, "https": 443}[url.scheme]


def is_loopback(host: str) -> bool:
    """Say whether a host name of a URL means this machine's loopback."""
    return host in {"localhost", "::1"} or host.startswith("127.")


_DURATIONS: Final = (
    "request_timeout",
    "join_timeout_s",
    "rejoin_timeout_s",
    "drain_timeout_s",
    "finish_timeout_s",
    "busy_limit_s",
)


def _check_strings(name: str, value: Mapping[Any, Any]) -> None:
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise ValueError(f"{name}[{key!r}] is {item!r}: names and values must be strings")


def _read_bool(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("write true or false")


def _read_capacity(text: str) -> int | None:
    return None if text.lower() == "none" else int(text)


def _read_map(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not separator for _, separator, _ in pairs):
        raise ValueError("write name=value,name=value")
    return {name.strip(): value.strip() for name, _, value in pairs}


_VARIABLES: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "orchestrator_url": ("GREENROOM_URL", str),
    "service_id": ("GREENROOM_SERVICE_ID", str),
    "endpoint": ("GREENROOM_ENDPOINT", str),
    "bind_host": ("GREENROOM_BIND_HOST", str),
    "metadata": ("GREENROOM_METADATA", _read_map),
    "capabilities": ("GREENROOM_CAPABILITIES", _read_map),
    "capacity": ("GREENROOM_CAPACITY", _read_capacity),
    "in_default": ("GREENROOM_IN_DEFAULT", _read_bool),
    "worker_id": ("GREENROOM_WORKER_ID", str),
    "manual_ready": ("GREENROOM_MANUAL_READY", _read_bool),
    **{name: (f"GREENROOM_{name.removesuffix('_s').upper()}", float) for name in _DURATIONS},
}
