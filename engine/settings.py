"""What the engine is started with: the command line, and keys from the environment or a private file."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from livekit.protocol.room import CreateRoomRequest

from engine.tokens import Key

SHORTEST_SECRET: Final = 32  # characters; as LiveKit's


class SettingsError(Exception):
    """The engine cannot be started like this; the sentence says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that is decided before the engine starts. A port of 0 is any free one."""

    key: Key
    host: str
    port: int
    udp_port: int
    webhook_urls: Sequence[str]
    webhook_events: Sequence[str]  # those to send; all when empty
    room_defaults: CreateRoomRequest
    auto_create: bool  # whether a join makes its room


def load_settings(argv: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Read the command line and the key.

    Raises:
        SettingsError: the address is not loopback, or there is no usable key.
        SystemExit: the command line is wrong, or asks for help.
    """
    said = _parser().parse_args(argv)
    if not _is_loopback(said.host):
        raise SettingsError(
            f"--host {said.host} is no loopback address; this engine serves one machine:"
            " use 127.0.0.1 or ::1, or run LiveKit"
        )
    timeouts = {"empty_timeout": said.empty_timeout, "departure_timeout": said.departure_timeout}
    return Settings(
        key=_key(said.key_file, environment),
        host=said.host,
        port=said.port,
        udp_port=said.udp_port,
        webhook_urls=said.webhook_url,
        webhook_events=said.webhook_event,
        room_defaults=CreateRoomRequest(max_participants=said.max_participants, **timeouts),
        auto_create=said.auto_create,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m engine",
        description="A LiveKit-compatible media server for one machine and for development.",
        epilog="The key pair comes from --key-file, else from LIVEKIT_API_KEY and LIVEKIT_API_SECRET.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, port, number = parser.add_argument, _up_to(65_535), _up_to(2**31 - 1)
    add("--host", default="127.0.0.1", help="loopback address to listen on")
    add("--port", type=port, default=7880, help="TCP port for signalling and the API; 0 takes a free one")
    add("--udp-port", type=port, default=7882, help="UDP port for media; 0 takes a free one")
    add("--key-file", type=Path, help="file of mode 0600 with one line KEY: SECRET")
    add("--webhook-url", action="append", default=[], help="receiver of webhooks; may be repeated")
    add("--webhook-event", action="append", default=[], help="send this event only; may be repeated")
    add("--empty-timeout", type=number, default=300, help="seconds until a room ends that nobody joined")
    add("--departure-timeout", type=number, default=20, help="seconds until a room ends that all left")
    add("--max-participants", type=number, default=0, help="in a room made without a limit; 0 is none")
    add("--auto-create", action="store_true", help="let a join make the room that its token names")
    return parser


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not 0 <= int(text) <= most:
            raise ValueError(text)
        return int(text)

    number.__name__ = f"number from 0 to {most},"  # argparse's word for it
    return number


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key(path: Path | None, environment: Mapping[str, str]) -> Key:
    place = "LIVEKIT_API_KEY and LIVEKIT_API_SECRET" if path is None else str(path)
    names = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
    key, secret = _read_pair(path) if path else (environment.get(name, "") for name in names)
    if not key or len(secret) < SHORTEST_SECRET:
        raise SettingsError(f"{place} must hold a key and a secret of {SHORTEST_SECRET} characters or more")
    return Key(api_key=key, api_secret=secret)


def _read_pair(path: Path) -> tuple[str, str]:
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"{path} can be read by others; run: chmod 600 {path}")
        key, _, secret = path.read_text(encoding="utf-8").strip().partition(": ")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {type(error).__name__}") from None
    return key, secret
