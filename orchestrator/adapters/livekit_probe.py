"""Finds out whether a media server makes rooms by itself: then an old token brings an ended room back."""

from __future__ import annotations

from typing import Final

import aiohttp
import structlog

from orchestrator.adapters.livekit_rooms import api_url
from orchestrator.core.errors import RoomServerError, RoomServerUnavailableError
from orchestrator.core.grants import client_grant
from orchestrator.core.ids import Identity, RoomName
from orchestrator.ports import TokenMint

log = structlog.get_logger(__name__)

_IDENTITY: Final = Identity("greenroom-probe")


async def warn_of_auto_create(server_url: str, tokens: TokenMint, *, room_name: RoomName) -> None:
    """Say loudly when the media server makes rooms by itself; arguments as for `is_auto_create_on`."""
    try:
        is_on = await is_auto_create_on(server_url, tokens, room_name=room_name)
    except RoomServerError as error:
        log.warning("auto_create_not_checked", reason=str(error))
        return
    if is_on:
        log.error(
            "auto_create_is_on",
            fix="set `room: {auto_create: false}` in LiveKit's configuration: until then a join token that "
            "is still valid brings an ended session's room back",
        )


async def is_auto_create_on(
    server_url: str, tokens: TokenMint, *, room_name: RoomName, timeout_s: float = 5.0
) -> bool:
    """Ask whether a join of a room that does not exist would be let in. Nothing is joined or made.

    Args:
        server_url: ws(s) or http(s) address of the server.
        tokens: signs the token of the join that is asked about.
        room_name: of no room; make it of a new id.
        timeout_s: deadline of the call.

    Raises:
        RoomServerUnavailableError: it did not answer.
        RoomServerError: it refused, for instance because of wrong keys.

    Source: livekit-server 1.13.5, `/rtc/validate`: 404 for a missing room while `auto_create` is false.
    """
    token = tokens.mint(client_grant(room_name, _IDENTITY, "")).jwt
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(
                f"{api_url(server_url)}/rtc/validate",
                headers={"Authorization": f"Bearer {token}"},
                allow_redirects=False,
            ) as response,
        ):
            status = response.status
    except TimeoutError:
        raise RoomServerUnavailableError(f"LiveKit did not answer within {timeout_s:g} s") from None
    except (aiohttp.ClientError, OSError):
        raise RoomServerUnavailableError(
            "LiveKit cannot be reached; check that it runs and livekit.server_url"
        ) from None
    if status in (200, 404):
        return status == 200
    if status in (401, 403):
        raise RoomServerError("LiveKit refused a join token: check livekit.api_key and livekit.api_secret")
    raise RoomServerUnavailableError(f"LiveKit failed at a probe with status {status}")
