"""Keeps pages of others from driving the API through their reader's browser.

A browser sends what a page asks for with the reader's reach, which is all that protects an API on loopback.
It names the page's origin when something could change, and a page whose own name was pointed at this machine
(DNS rebinding) still sends that name as `Host`. An IP address cannot be rebound, so any is taken.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from orchestrator.settings import ServerSettings, is_loopback
from orchestrator.web.errors import ForbiddenError, MisdirectedError

_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
_READING: Final = frozenset((hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS))
_SHOWN: Final = 100  # characters of a header that an answer repeats


class BrowserChecks:
    """What each request must pass before a route sees it."""

    def __init__(self, server: ServerSettings) -> None:
        self._origins = frozenset(server.cors_origins)
        self._names = frozenset((server.host.lower(), *server.allowed_hosts))
        # Bound to a network, the API is not protected by where it listens; its name is the operator's matter.
        self._checks_host = is_loopback(server.host) or bool(server.allowed_hosts)

    def check(self, request: web.Request) -> None:
        """Refuse what a foreign page makes a browser send.

        A request without `Host` or `Origin` comes from no browser.

        Raises:
            MisdirectedError: `Host` is no name of this server.
            ForbiddenError: something would change at the wish of a page that is not in `cors_origins`.
        """
        hosts = request.headers.getall(hdrs.HOST, ())
        if self._checks_host and not all(map(self._is_ours, hosts)):
            raise MisdirectedError(
                f"the host {', '.join(hosts)[:_SHOWN]!r} is no name of this server; "
                "call it by its address, or add the name to [server] allowed_hosts"
            )
        if request.method not in _READING:
            self.check_origin(request)

    def check_origin(self, request: web.Request) -> None:
        """Refuse a page that is neither ours nor listed.

        Sockets need this beyond `check`: browsers open them to any host without asking first.

        Raises:
            ForbiddenError: it is a foreign page.
        """
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or origin in self._origins or _host_of(origin) == request.host.lower():
            return
        raise ForbiddenError(
            f"pages of the origin {origin[:_SHOWN]!r} may not do this; add it to [server] cors_origins"
        )

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = (match["v6"] or match["name"]).lower().removesuffix(".")
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names or name == "localhost" or name.endswith(".localhost")
        return True


def _host_of(origin: str) -> str:
    """Give host and port of an origin; the scheme does not count, a proxy may have taken the TLS off."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


BROWSERS: Final = web.AppKey("browsers", BrowserChecks)
