"""Starting the embedded engine with what `livekit.yaml` says, and choosing between it and LiveKit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from greenroom.errors import MediaServerError
from greenroom.media_binary import LIVEKIT_VERSION, find_livekit_server

Engine = Literal["auto", "livekit", "embedded"]
MediaEngine = Literal["livekit", "embedded"]

# Entries of livekit.yaml that the engine has an option for; below, what is for LiveKit's own process alone.
_OPTIONS: Final = {
    "port": "--port",
    "rtc.udp_port": "--udp-port",
    "key_file": "--key-file",
    "room.empty_timeout": "--empty-timeout",
    "room.departure_timeout": "--departure-timeout",
    "room.max_participants": "--max-participants",
    "webhook.urls": "--webhook-url",
    "webhook.filter_params.include_events": "--webhook-event",
}
_FLAGS: Final = {"room.auto_create": "--auto-create"}
_LIVEKITS_OWN: Final = ("bind_addresses", "rtc.", "webhook.api_key", "logging.", "webhook.filter_params")


def engine_arguments(config: Mapping[str, Any]) -> list[str]:
    """Say a configuration of LiveKit as the engine's command line.

    Raises:
        ValueError: it asks for something that the engine does not have.
    """
    arguments: list[str] = []
    for name, value in _flat(config):
        if name in _OPTIONS:
            values = value if isinstance(value, list) else [value]
            arguments += [part for one in values for part in (_OPTIONS[name], str(one))]
        elif name in _FLAGS:
            arguments += [_FLAGS[name]] if value else []
        elif not name.startswith(_LIVEKITS_OWN):
            raise ValueError(f"the embedded engine has nothing for {name} = {value!r}")
    return arguments


def choose_engine(asked: Engine, *, server_url: str | None) -> tuple[MediaEngine | None, str]:
    """Decide which media server runs: a running one that is configured, LiveKit, or the embedded engine.

    Args:
        asked: `--engine`, else the setting.
        server_url: the setting `livekit.server_url`.

    Returns:
        What is to be started, None when it runs elsewhere, and the choice as one line for the log.

    Raises:
        MediaServerError: LiveKit was asked for and there is none.
    """
    if asked == "embedded":
        return "embedded", "the embedded engine, as asked; for development"
    if server_url is not None:
        return None, f"LiveKit at {server_url}, as configured"
    binary = find_livekit_server()
    if binary is not None:
        return "livekit", f"livekit-server {LIVEKIT_VERSION} at {binary}"
    if asked == "livekit":
        raise MediaServerError(
            f"livekit-server {LIVEKIT_VERSION} is neither on PATH nor in .tools; run: python3"
            " scripts/livekit_server.py, or choose --engine embedded"
        )
    missing = f"no livekit-server {LIVEKIT_VERSION} on PATH or in .tools"
    return "embedded", f"the embedded engine, for development: {missing}"


def _flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value
