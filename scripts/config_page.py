"""config.toml: every setting with its default, commented out; printed from the settings models."""

from __future__ import annotations

import textwrap
from typing import Any, Final

import msgspec
from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

from orchestrator.settings import ENVIRONMENT, Settings

PAGE: Final = "config.toml"

INTRODUCTION: Final = """\
# Greenroom's settings. Every key stands here with its default, commented out: uncomment what you change.
# This file is read when it lies in the working folder, or is named by --config or CONFIG_PATH. A variable of
# the environment (in brackets) wins over it. An unknown key is an error. Printed by `make docs`; change the
# settings' descriptions, not this file, or copy it elsewhere.
"""


def render() -> str:
    """Give the file."""
    parts = [INTRODUCTION, _lines("engine", Settings.model_fields["engine"], "engine")]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            parts.append(f"\n# {(section.__doc__ or '').strip()}\n[{name}]\n")
            parts += [_lines(key, inner, f"{name}.{key}") for key, inner in section.model_fields.items()]
    return "".join(parts)


def _lines(key: str, field: FieldInfo, path: str) -> str:
    variables = ", ".join(ENVIRONMENT.get(path, ()))
    note = f"{field.description or ''}{f' [{variables}]' if variables else ''}"
    comment = textwrap.fill(note, 108, initial_indent="# ", subsequent_indent="# ")
    return f"{comment}\n#{key} = {_value(path, field.default)}\n"


def _value(path: str, default: Any) -> str:
    if default is None or path == "service.version":  # the package's version would make the file stale
        return EXAMPLES[path]
    if isinstance(default, ByteSize):
        return f'"{human_size(default)}"'
    return msgspec.json.encode(
        default, enc_hook=str
    ).decode()  # for strings, numbers, booleans and lists also TOML


def human_size(size: ByteSize) -> str:
    """Give a size as it may be written in the file, such as 2GiB."""
    return size.human_readable().replace(".0", "")


# What to write where the default is "not set".
EXAMPLES: Final = {
    "livekit.server_url": '"ws://127.0.0.1:7880"',
    "livekit.api_key": '"…"',
    "livekit.api_secret": '"…"',
    "sessions.max_duration": "14400",
    "network.allow_private_endpoints": "true",
    "logging.format": '"json"',
    "recording.export_dir": '"data/exports"',
    "service.version": '"…"',
    "recording.retention_days": "30",
    "recording.disk_quota": '"500GiB"',
}
