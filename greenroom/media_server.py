"""Starts and stops one media server on loopback, for `greenroom up`, the tests and the benches."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import yaml

from greenroom import die_with_parent, free_ports, livekit_secret
from greenroom.embedded_engine import MediaEngine, engine_arguments
from greenroom.errors import MediaServerError
from greenroom.media_binary import LIVEKIT_VERSION, PROJECT_ROOT, find_livekit_server
from greenroom.python_module import python_module

TEMPLATE: Final = PROJECT_ROOT / "livekit.yaml"
START_DEADLINE_S: Final = 15.0
# SIGTERM alone does not end a server with a participant in a room; a second one ends it at once.
STOP_STEPS: Final = ((signal.SIGTERM, 0.3), (signal.SIGTERM, 1.5), (signal.SIGKILL, 5.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaServerSetup:
    """All that is decided before a media server starts; the same setup starts the same server again."""

    engine: MediaEngine
    argv: tuple[str, ...]
    http_port: int
    udp_port: int
    api_key: str
    api_secret: str = field(repr=False)
    log_path: Path

    @property
    def url(self) -> str:
        """Where clients connect, and, with http for ws, where the API answers."""
        return f"ws://{free_ports.LOOPBACK}:{self.http_port}"


def prepare(
    folder: Path,
    *,
    engine: MediaEngine = "livekit",
    webhook_urls: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    binary: Path | None = None,
) -> MediaServerSetup:
    """Choose ports and keys and write down what the media server is started with.

    Args:
        folder: where the secret, the ports, the configuration and the log are kept. The ports of the last
            start are taken again while they are free, so that clients of live sessions find the server.
        engine: livekit-server, or the embedded engine.
        webhook_urls: where it reports what happens; signed with our key.
        overrides: entries that win over those of `livekit.yaml`, nested in the same way.
        binary: the program of livekit-server; the one that `find_livekit_server` gives by default.

    Raises:
        MediaServerError: there is no livekit-server, or `livekit.yaml` or the secret is unusable.
        ValueError: the embedded engine has nothing for an entry of ``overrides``.
        OSError: the folder cannot be written.
    """
    program = (binary or find_livekit_server()) if engine == "livekit" else None
    if program is None and engine == "livekit":
        raise MediaServerError(
            f"livekit-server {LIVEKIT_VERSION} is neither on PATH nor in .tools;"
            " run: python3 scripts/livekit_server.py"
        )
    folder = folder.resolve()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    key_path = folder / livekit_secret.FILE_NAME
    key = livekit_secret.load_or_make(key_path)
    http_port, udp_port = _choose_ports(folder / "livekit.ports.json")
    filled: dict[str, Any] = {
        "port": http_port,
        "key_file": str(key_path),
        "rtc": {"udp_port": udp_port},
        "webhook": {"api_key": key.api_key, "urls": list(webhook_urls)},
    }
    config = _merged(_merged(_read_template(), filled), overrides or {})
    config_path = folder / "livekit.run.yaml"
    config_path.write_text(
        "# What the last start made of livekit.yaml; written again at every start.\n"
        + yaml.safe_dump(config),
        encoding="utf-8",
    )
    if program is None:
        argv = python_module("engine", *engine_arguments(config))
    else:
        argv = (str(program), "--config", str(config_path))
    return MediaServerSetup(
        engine=engine,
        argv=argv,
        http_port=http_port,
        udp_port=udp_port,
        api_key=key.api_key,
        api_secret=key.api_secret,
        log_path=folder / "logs" / ("engine.log" if program is None else "livekit.log"),
    )


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out the variables that media servers read themselves: they would win over what is written."""
    names = ("NODE_IP", "UDP_PORT", "REDIS_HOST", "REDIS_PASSWORD")
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("LIVEKIT_") and name not in names
    }


def answers(setup: MediaServerSetup, *, timeout_s: float = 1.0) -> bool:
    """Ask the server once whether it is up; it answers 200 as soon as it takes rooms."""
    connection = http.client.HTTPConnection(free_ports.LOOPBACK, setup.http_port, timeout=timeout_s)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class MediaServer:
    """One process of a media server: `with` or `async with`, or start, kill and start again by hand.

    It dies with the thread that starts it (die_with_parent.py), so start it from the main thread or the
    event loop's.
    """

    def __init__(self, setup: MediaServerSetup) -> None:
        self.setup = setup
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect (ws://…)."""
        return self.setup.url

    @property
    def api_key(self) -> str:
        """The key that signs tokens and webhooks."""
        return self.setup.api_key

    @property
    def api_secret(self) -> str:
        """The secret to that key; never log it."""
        return self.setup.api_secret

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise ValueError("the media server is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, or start it again on the same ports, and wait until it takes rooms.

        Raises:
            MediaServerError: it ended or did not answer within 15 s.
        """
        self._spawn()
        self._wait_ready()

    def stop(self) -> None:
        """End the server: SIGTERM, again SIGTERM, SIGKILL. Nothing happens when it is not running."""
        if self._process is not None:
            stop_process(self._process, STOP_STEPS)
            self._process = None

    def kill(self) -> None:
        """End the server as a power cut would, with no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self._spawn()  # here and not in a thread of the pool, whose end would end the server
        await asyncio.to_thread(self._wait_ready)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.stop))

    def _spawn(self) -> None:
        if self.is_running:
            raise ValueError(f"the media server runs already, as process {self.pid}")
        with self.setup.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                die_with_parent.with_parent(self.setup.argv, signum=signal.SIGKILL),
                env=clean_environment(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is for the one who started us to pass on
            )

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not answers(self.setup):
            if not self.is_running:
                code = self._process.returncode if self._process else None
                self._process = None
                raise MediaServerError(
                    f"the media server ended at its start (code {code}); see {self.setup.log_path}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise MediaServerError(
                    f"the media server did not answer on port {self.setup.http_port} within"
                    f" {START_DEADLINE_S:.0f} s; see {self.setup.log_path}"
                )
            time.sleep(0.05)


def stop_process(process: subprocess.Popen[bytes], steps: Sequence[tuple[int, float]]) -> None:
    """Send each signal in turn and wait its seconds, until the process has ended."""
    for signum, grace_s in steps:
        if process.poll() is None:
            process.send_signal(signum)
        try:
            process.wait(timeout=grace_s)
            return
        except subprocess.TimeoutExpired:
            continue


def _choose_ports(memory: Path) -> tuple[int, int]:
    """Take the ports of the last start when they are free, else others, and remember them."""
    try:
        kept = json.loads(memory.read_text(encoding="utf-8"))
        http_port, udp_port = int(kept["http"]), int(kept["udp"])
        if free_ports.is_tcp_free(http_port) and free_ports.is_udp_free(udp_port):
            return http_port, udp_port
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass  # nothing remembered, or nothing that could be a port: choose anew
    http_port, udp_port = free_ports.free_port(), free_ports.free_port()
    draft = memory.with_suffix(".tmp")
    draft.write_text(json.dumps({"http": http_port, "udp": udp_port}) + "\n", encoding="utf-8")
    os.replace(draft, memory)
    return http_port, udp_port


def _read_template() -> dict[str, Any]:
    try:
        content = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    except OSError as error:
        raise MediaServerError(
            f"{TEMPLATE} cannot be read ({error.strerror}); restore it from the repository"
        ) from error
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f" in line {place.line + 1}" if place else ""
        raise MediaServerError(
            f"{TEMPLATE} is no YAML{where}; mend it or restore it from the repository"
        ) from error
    if not isinstance(content, dict):
        raise MediaServerError(f"{TEMPLATE} holds no settings; restore it from the repository")
    return content


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested configuration over another; lists and values are replaced, not joined."""
    result = dict(below)
    for name, value in above.items():
        under = result.get(name)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            result[name] = _merged(under, value)
        else:
            result[name] = value
    return result
