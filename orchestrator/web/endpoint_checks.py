"""Whether an address may be called as a push worker. What counts is the address, not its spelling."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

MAX_ENDPOINT: Final = 512  # characters
_RESOLVE_DEADLINE_S: Final = 3.0
_EMBEDDED: Final = (
    tuple(  # addresses that hold an IPv4 one, or are nobody's, and that `is_global` calls global
        ipaddress.ip_network(text)
        for text in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fec0::/10")
    )
)


def endpoint_problem(endpoint: str) -> str | None:
    """Say in one sentence why this is no base URL of a worker; None when it is."""
    if len(endpoint) > MAX_ENDPOINT:
        return f"has {len(endpoint)} characters; the limit is {MAX_ENDPOINT}"
    try:
        parts = urlsplit(endpoint)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL; write http://HOST:PORT"
    if parts.scheme not in ("http", "https") or not host or not endpoint.isprintable() or " " in endpoint:
        return "is no address of a worker; write http://HOST:PORT"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password; leave it out"
    if parts.query or parts.fragment:
        return "holds a query or fragment; write http://HOST:PORT[/PATH]"
    return None


async def private_problem(endpoint: str) -> str | None:
    """Say why a worker at this address may not be called while private addresses are refused.

    The name is resolved as the call will resolve it; the call itself looks at the final address again.
    """
    parts = urlsplit(endpoint)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_RESOLVE_DEADLINE_S):
            found = await asyncio.get_running_loop().getaddrinfo(
                parts.hostname, port, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError, TimeoutError):
        return "has a host that cannot be resolved"
    if not all(is_public(str(address[0])) for *_, address in found):
        return "is on a private network; set [network] allow_private_endpoints to allow that"
    return None


def is_public(address: str) -> bool:
    """Whether an IP address is reachable for everybody and is no other address in disguise."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in network for network in _EMBEDDED):
            return False
    return ip.is_global and not ip.is_multicast
