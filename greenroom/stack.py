"""Everything on one machine: media server, orchestrator, recorder and an example worker, held together."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from greenroom import free_ports, media_server
from greenroom.data_folder import held_folder
from greenroom.embedded_engine import Engine, MediaEngine, choose_engine
from greenroom.errors import CommandError
from greenroom.python_module import python_module
from greenroom.recorder_environment import recorder_environment
from greenroom.supervisor import Program, Say, Supervisor
from orchestrator.core.errors import SettingsError
from orchestrator.settings import Settings, load_settings

WEBHOOK_PATH: Final = "/api/v1/livekit/webhook"
_PROBE_S: Final = 2.0
# Ending takes at most ten seconds: workers 5 + 0.5, orchestrator 2.5 + 0.5, media server 1.2.
_WORKERS, _ORCHESTRATOR, _MEDIA_SERVER = 0, 1, 2  # stages, in the order of ending
_WORKER_STEPS: Final = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 0.5))
_ORCHESTRATOR_STEPS: Final = ((signal.SIGTERM, 2.5), (signal.SIGKILL, 0.5))
_MEDIA_SERVER_STEPS: Final = ((signal.SIGTERM, 0.2), (signal.SIGTERM, 0.5), (signal.SIGKILL, 0.5))
_SECRETS: Final = ("LIVEKIT_API_SECRET", "LIVEKIT_API_KEY")  # not for workers: they are handed tokens
# With the passphrase: for those alone who have the keys of recordings, or their store.
_KEY_SECRETS: Final = ("VAULT_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class StackOptions:
    """What `up` and `demo` are asked for. ``engine`` None means: as configured."""

    data: Path
    port: int
    engine: Engine | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A running stack."""

    url: str
    data: Path
    supervisor: Supervisor


@asynccontextmanager
async def running_stack(options: StackOptions, say: Say) -> AsyncIterator[Stack]:
    """Start everything, and end it when the block is left, in at most ten seconds.

    Raises:
        CommandError: the folder, the port, the configuration or a program does not allow it.
    """
    settings = read_settings()
    engine, choice = choose_engine(options.engine or settings.engine, server_url=settings.livekit.server_url)
    with held_folder(options.data) as data:
        check_port(options.port)
        url = f"http://{free_ports.LOOPBACK}:{options.port}"
        async with Supervisor(data / "logs", say) as supervisor:
            say("up", f"media server: {choice}")
            livekit: dict[str, str] = {}
            if engine is not None:
                setup = _prepare_media_server(data, url, engine)
                await supervisor.start(media_server_program(setup))
                livekit = {
                    "LIVEKIT_SERVER_URL": setup.url,
                    "LIVEKIT_API_KEY": setup.api_key,
                    "LIVEKIT_API_SECRET": setup.api_secret,
                }
                say("up", f"media server ready at {setup.url}")
            chunk_store = chunk_store_of(settings, data)
            await supervisor.start(orchestrator_program(data, options.port, livekit, chunk_store))
            say("up", f"orchestrator ready at {url}")
            await supervisor.start(*worker_programs(data, url, settings))
            say("up", "recorder and pong worker registered")
            yield Stack(url=url, data=data, supervisor=supervisor)


def read_settings() -> Settings:
    """Read `config.toml` and the environment as the orchestrator will.

    Raises:
        CommandError: a setting is wrong.
    """
    try:
        settings = load_settings()
        if settings.livekit.server_url is not None:
            settings.media_server()  # key and secret must be there too
    except SettingsError as error:
        raise CommandError(str(error)) from error
    return settings


def chunk_store_of(settings: Settings, data: Path) -> str:
    """Give the place of recordings: as configured, else a folder in the data folder."""
    is_configured = "chunk_store" in settings.recording.model_fields_set
    return settings.recording.chunk_store if is_configured else str(data / "recordings")


def check_port(port: int) -> None:
    """Find out whether the orchestrator will be able to listen, before anything is started.

    Raises:
        CommandError: it will not.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((free_ports.LOOPBACK, port))
            probe.listen(1)
        except OSError as error:
            raise CommandError(
                f"port {port} on {free_ports.LOOPBACK} cannot be used ({error.strerror});"
                " end what listens there, or choose another: --port N"
            ) from error


def orchestrator_program(data: Path, port: int, livekit: Mapping[str, str], chunk_store: str) -> Program:
    """Describe the orchestrator of this stack.

    When `up` itself is killed, so is the orchestrator, at once: it is made for that, and its port is free.
    """
    own = {
        "SERVER_HOST": free_ports.LOOPBACK,
        "SERVER_PORT": str(port),
        "STORE_URL": f"sqlite:///{data / 'greenroom.db'}",
        "CHUNK_STORAGE_PATH": chunk_store,
        "GREENROOM_KEY_DIR": str(data / "keys"),
        **livekit,
    }
    return Program(
        name="orchestrator",
        argv=python_module("orchestrator"),
        env={**_inherited(), **own},
        stage=_ORCHESTRATOR,
        stop_steps=_ORCHESTRATOR_STEPS,
        death_signal=signal.SIGKILL,
        not_ready=_answers_ok(f"http://{free_ports.LOOPBACK}:{port}/ready"),
    )


def worker_programs(data: Path, url: str, settings: Settings) -> tuple[Program, Program]:
    """Describe the recorder and the pong worker of this stack."""
    inherited = {name: value for name, value in _inherited().items() if name not in _SECRETS}
    recorder = {
        "SPOOL_PATH": str(data / "spool"),
        **recorder_environment(settings),
        "GREENROOM_URL": url,
        "CHUNK_STORAGE_PATH": chunk_store_of(settings, data),
        "GREENROOM_KEY_DIR": str(data / "keys"),
    }
    keyless = {
        name: value
        for name, value in inherited.items()
        if name not in (*_KEY_SECRETS, settings.encryption.passphrase_env)
    }
    return (
        Program(
            name="recorder",
            argv=python_module("recorder"),
            env={**inherited, **recorder},
            stage=_WORKERS,
            stop_steps=_WORKER_STEPS,
            not_ready=_answers_ok(f"{url}/api/v1/microservices/recorder"),
        ),
        Program(
            name="pong",
            argv=python_module("examples.pong_worker"),
            env={**keyless, "GREENROOM_URL": url},
            stage=_WORKERS,
            stop_steps=_WORKER_STEPS,
            not_ready=_answers_ok(f"{url}/api/v1/microservices/pong"),
        ),
    )


def media_server_program(setup: media_server.MediaServerSetup) -> Program:
    """Describe the media server of this stack."""
    return Program(
        name="livekit" if setup.engine == "livekit" else "engine",
        argv=setup.argv,
        env=media_server.clean_environment(os.environ),
        stage=_MEDIA_SERVER,
        stop_steps=_MEDIA_SERVER_STEPS,
        death_signal=signal.SIGKILL,  # a polite signal does not end it while somebody is in a room
        not_ready=_answers_ok(setup.url.replace("ws", "http", 1)),
        ready_within_s=media_server.START_DEADLINE_S,
        is_quiet=True,  # it warns of every connection that ends
    )


def _prepare_media_server(data: Path, url: str, engine: MediaEngine) -> media_server.MediaServerSetup:
    try:
        return media_server.prepare(data, engine=engine, webhook_urls=[f"{url}{WEBHOOK_PATH}"])
    except OSError as error:
        raise CommandError(
            f"the data folder {data} cannot be written ({error.strerror}); name another: --data DIR"
        ) from error


def _inherited() -> dict[str, str]:
    """Give the environment of our own programs: ours, with logs that are written line by line."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _answers_ok(url: str) -> Callable[[], Awaitable[str | None]]:
    """Make a probe that is satisfied by a 200 from ``url``."""

    async def probe() -> str | None:
        deadline = aiohttp.ClientTimeout(total=_PROBE_S)
        try:
            async with aiohttp.ClientSession(timeout=deadline) as client, client.get(url) as answer:
                return (
                    None if answer.status == 200 else f"{url} answers {answer.status}: {await _told(answer)}"
                )
        except (aiohttp.ClientError, TimeoutError):
            return f"{url} does not answer"

    return probe


async def _told(answer: aiohttp.ClientResponse) -> str:
    """Give the sentence of an error body of ours."""
    try:
        body = await answer.json()
    except (aiohttp.ClientError, ValueError):
        return "no reason"
    return str(body.get("message", "no reason")) if isinstance(body, dict) else "no reason"
