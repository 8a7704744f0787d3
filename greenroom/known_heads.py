"""The tree heads that are known of a recording elsewhere: by them a rolled-back folder is seen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from greenroom.errors import CommandError
from vault.core.checkpoint import TreeHead
from vault.core.ids import VerifyKey
from vault.core.store_location import DirLocation, parse_location
from vault.errors import NotARecordingError
from vault.heads import read_heads
from vault.listing import find_recording_id, read_listing
from vault.ports import ChunkStore
from vault.stores import open_chunk_store, open_recording

_DEADLINE_S: Final = 10.0
_ROOT_BYTES: Final = 32


def known_heads(url: str, recording: Path | str, public_key: VerifyKey) -> tuple[TreeHead, ...]:
    """Ask an orchestrator, or the copies of checkpoints, for the last tree head of each attempt.

    Args:
        url: of the orchestrator, http(s)://HOST[:PORT]; or where `[recording] checkpoint_copies` lie.
        recording: its folder or URL, whose name or files say which it is.
        public_key: that must have signed the copies.

    Raises:
        CommandError: it does not answer, or does not know the recording.
        VaultError: there is no recording at this place, or a copy is bad.
    """
    parts = urlsplit(url)
    is_web = parts.scheme in ("http", "https")
    if is_web and (not parts.hostname or parts.username or parts.query):
        raise _no_place(url)
    copies = None if is_web else _open_copies(url)
    files, named = open_recording(str(recording))
    name = named or find_recording_id(files, read_listing(files))
    if copies is not None:
        try:
            return read_heads(copies.files(name), public_key, name)
        except NotARecordingError as error:
            raise CommandError(f"--against {url} has no checkpoint of recording {name}") from error
    place = f"{url.rstrip('/')}/api/v1/recordings/{name}"
    answer = asyncio.run(_ask(place))
    return tuple(_head(place, one) for one in answer.get("checkpoints", ()) if one.get("size"))


def _open_copies(place: str) -> ChunkStore:
    try:
        location = parse_location(place)
    except ValueError as error:
        raise _no_place(place) from error
    if isinstance(location, DirLocation) and not Path(location.path).is_dir():
        raise _no_place(place)
    return open_chunk_store(location)


def _no_place(text: str) -> CommandError:
    shown = text.split("@")[-1]  # what stands before may be a password
    return CommandError(
        f"--against {shown!r} is no orchestrator; write http://HOST:PORT, or where copies of checkpoints lie"
    )


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
