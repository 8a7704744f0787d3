"""The API key and secret of our own media server: made at first start, kept in a file only its owner reads.

The file is one line `KEY: SECRET`, as livekit-server's `key_file` wants it, so that the secret stands
neither in a configuration nor in a command line that `ps` shows.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from greenroom.errors import MediaServerError

FILE_NAME: Final = "livekit.secret"
SHORTEST_SECRET: Final = 32  # characters; livekit-server asks for as many


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKitKey:
    """The pair that signs tokens; the secret never shows in a repr."""

    api_key: str
    api_secret: str = field(repr=False)


def load_or_make(path: Path) -> LiveKitKey:
    """Read the pair, or make one when there is none yet.

    Raises:
        MediaServerError: the file is open to others, does not hold a pair, or holds a weak secret.
    """
    try:
        return load(path)
    except FileNotFoundError:
        _make(path)
        return load(path)


def load(path: Path) -> LiveKitKey:
    """Read the pair.

    Raises:
        FileNotFoundError: there is none yet.
        MediaServerError: the file is open to others, does not hold a pair, or holds a weak secret.
    """
    if path.stat().st_mode & 0o077:
        raise MediaServerError(f"{path} can be read by others; run: chmod 600 {path}")
    key, separator, secret = path.read_text(encoding="utf-8").strip().partition(": ")
    if not (separator and key and secret and "\n" not in secret):
        raise MediaServerError(
            f"{path} does not hold one line KEY: SECRET; delete it, the next start makes a new one"
        )
    if len(secret) < SHORTEST_SECRET:
        raise MediaServerError(
            f"the secret in {path} has {len(secret)} characters, at least {SHORTEST_SECRET} are needed;"
            " delete the file, the next start makes a new one"
        )
    return LiveKitKey(api_key=key, api_secret=secret)


def _make(path: Path) -> None:
    """Write a new pair whole, under its name only if nobody else was faster (link refuses to replace)."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"GR{secrets.token_hex(6)}: {secrets.token_urlsafe(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another start was faster; its pair counts
    finally:
        draft.unlink()
