"""Whether a worker or a webhook may be called. What counts is the address, not its spelling."""

from __future__ import annotations

import asyncio
import socket
from typing import Final
from urllib.parse import urlsplit

from orchestrator.core.addresses import address_problem, check_url, shown

MAX_ENDPOINT: Final = 512  # characters
_RESOLVE_DEADLINE_S: Final = 3.0


async def endpoint_problem(endpoint: str, *, allow_private: bool) -> str | None:
    """Say in one sentence why this is no base URL of a worker; None when it is.

    While private addresses are refused, a name is looked up as the call will do it, so that whoever
    registers learns of it at once; the call itself looks at the final address again.
    """
    if len(endpoint) > MAX_ENDPOINT:
        return f"{shown(endpoint)} has {len(endpoint)} characters; the limit is {MAX_ENDPOINT}"
    if "?" in endpoint and "#" not in endpoint:
        return f"{shown(endpoint)} holds a query; write http://HOST:PORT[/PATH]"
    return await url_problem(endpoint, allow_private=allow_private)


async def url_problem(url: str, *, allow_private: bool) -> str | None:
    """Say in one sentence why this URL may not be called; None when it may. Names are looked up as above."""
    try:
        check_url(url, allow_private=allow_private)
    except ValueError as error:
        return str(error)
    problem = None if allow_private else await _name_problem(url)
    return problem and f"{shown(url)} {problem}"


async def _name_problem(endpoint: str) -> str | None:
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_RESOLVE_DEADLINE_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                parts.hostname, port, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError, TimeoutError):
        return "has a host that cannot be resolved"
    problems = [address_problem(str(address[0]), allow_private=False) for *_, address in found]
    return next((problem for problem in problems if problem is not None), None)
