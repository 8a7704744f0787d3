"""The tree heads that an orchestrator knows of a recording: by them a rolled-back folder is seen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from greenroom.errors import CommandError
from vault.core.checkpoint import TreeHead
from vault.listing import find_recording_id, read_listing
from vault.stores import open_recording

_DEADLINE_S: Final = 10.0
_ROOT_BYTES: Final = 32


def known_heads(url: str, recording: Path | str) -> tuple[TreeHead, ...]:
    """Ask an orchestrator for the last tree head of each attempt.

    Args:
        url: of the orchestrator, http(s)://HOST[:PORT].
        recording: its folder or URL, whose name or files say which it is.

    Raises:
        CommandError: it does not answer, or does not know the recording.
        VaultError: there is no recording at this place.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise CommandError(f"--against {url.split('@')[-1]!r} is no orchestrator; write http://HOST:PORT")
    files, named = open_recording(str(recording))
    name = named or find_recording_id(files, read_listing(files))
    place = f"{url.rstrip('/')}/api/v1/recordings/{name}"
    answer = asyncio.run(_ask(place))
    return tuple(_head(place, one) for one in answer.get("checkpoints", ()) if one.get("size"))


async def _ask(place: str) -> dict[str, Any]:
    deadline = aiohttp.ClientTimeout(total=_DEADLINE_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=deadline) as client,
            client.get(place, allow_redirects=False) as answer,
        ):
            if answer.status == 404:
                raise CommandError(f"{place}: the orchestrator does not know this recording")
            if answer.status != 200:
                raise CommandError(f"{place} answers {answer.status}; nothing can be compared")
            body = await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise CommandError(f"{place} does not answer ({reason}); see that the orchestrator runs") from error
    if not isinstance(body, dict):
        raise CommandError(f"{place} does not answer as an orchestrator")
    return body


def _head(place: str, stated: dict[str, Any]) -> TreeHead:
    try:
        head = TreeHead(
            attempt=int(stated["attempt"]), size=int(stated["size"]), root=bytes.fromhex(stated["root"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{place} states a tree head that is none") from error
    if len(head.root) != _ROOT_BYTES:
        raise CommandError(f"{place} states a root of {len(head.root)} bytes instead of {_ROOT_BYTES}")
    return head
