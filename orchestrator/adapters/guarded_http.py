"""HTTP to addresses that somebody else named: looks at the address itself when it connects.

A name may lead anywhere by the time it is called, and an IP literal passes no resolver; the socket's maker
sees the final address of both (livekit-facts 26). No proxy, no cookies, no netrc, no bodies unpacked.
Callers say `allow_redirects=False`; a redirect that was followed would meet the same check.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver

from orchestrator.core.addresses import address_problem

CONNECT_S: Final = 5.0  # looking up the name, connecting, TLS
_LIMIT: Final = 256  # connections; further calls wait, within their deadline
_LIMIT_PER_HOST: Final = 32


class AddressRefusedError(OSError):
    """The address may not be called; the sentence does not tell which it was, only why."""

    def __init__(self, problem: str) -> None:
        super().__init__(errno.EACCES, problem)
        self.problem = problem


def guarded_connector(
    *,
    allow_private: bool,
    limit: int = _LIMIT,
    limit_per_host: int = _LIMIT_PER_HOST,
    resolver: AbstractResolver | None = None,
) -> aiohttp.TCPConnector:
    """Make a connector that opens no socket to an address that may not be called.

    A name with several addresses is called at those that may be. When none may, the call ends in an
    `aiohttp.ClientConnectorError` of which `refusal` gives the reason.

    Args:
        allow_private: whether loopback and private networks may be called; metadata never.
        limit: connections at once.
        limit_per_host: connections to one host and port at once.
        resolver: None looks names up as the system does.
    """

    def open_socket(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        problem = address_problem(str(address[0]), allow_private=allow_private)
        if problem is not None:
            raise AddressRefusedError(problem)
        return socket.socket(family, kind, protocol)

    return aiohttp.TCPConnector(
        limit=limit, limit_per_host=limit_per_host, resolver=resolver, socket_factory=open_socket
    )


def guarded_session(
    *, allow_private: bool, total_s: float, resolver: AbstractResolver | None = None
) -> aiohttp.ClientSession:
    """Make a client for foreign addresses; its owner closes it.

    Args:
        allow_private: as `guarded_connector`.
        total_s: deadline of a whole call; connecting has a shorter one of its own.
        resolver: as `guarded_connector`.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=total_s, connect=CONNECT_S),
        connector=guarded_connector(allow_private=allow_private, resolver=resolver),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


def refusal(error: aiohttp.ClientConnectorError) -> str | None:
    """Give the reason, to be read behind the URL, when a connection was refused by us; else None."""
    return error.os_error.problem if isinstance(error.os_error, AddressRefusedError) else None
