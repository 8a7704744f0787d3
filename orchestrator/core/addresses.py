"""Which addresses may be called: by everybody, only where private ones are allowed, or never.

The flags of `ipaddress` are wrong for several (livekit-facts 27), so the tables stand here. An IPv6 address
that holds an IPv4 one is judged by both: a gateway may lead to what is inside.

Source: IANA's special-purpose address registries (RFC 6890); RFC 4291, 6052, 3056, 4380, 5214.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal

Reach = Literal["public", "private", "never"]
_WORST: Final[tuple[Reach, ...]] = ("public", "private", "never")  # the last counts

MAX_URL: Final = 2048  # characters
_MAX_HOST: Final = 253  # characters; RFC 1035
_SHOWN: Final = 100  # characters of a refused URL that an answer repeats
_ALLOW: Final = "set [network] allow_private_endpoints = true to allow that"

# Nobody can serve there, or only the machine's own cloud does: refused whatever is allowed.
_NEVER_4: Final = tuple(IPv4Network(text) for text in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))
_NEVER_6: Final = tuple(IPv6Network(text) for text in ("::/128", "fe80::/10", "ff00::/8"))
# Where clouds tell their machines' secrets outside the link-local ranges.
_METADATA: Final = frozenset(
    ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure: a public address, but only seen from inside
        "192.0.0.192",  # Oracle
        "fd00:ec2::23",  # AWS, credentials of pods
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
        "fd00:42::42",  # Scaleway
        "fd00:c1::a9fe:a9fe",  # Oracle
    )
)
_PRIVATE_4: Final = tuple(
    IPv4Network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # between a provider and its customers
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation, as the next ones of this kind
        "192.88.99.0/24",  # relays of 6to4, given up
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
    )
)
_GLOBAL_6: Final = IPv6Network("2000::/3")  # all that is handed out as global; the rest is not public
_PRIVATE_6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_COMPATIBLE: Final = IPv6Network("::/96")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # the third quarter of an address

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a host that ends so is an IPv4 address to every library


def reach_of(address: str) -> Reach:
    """Say who can serve at an IP address; the worst of what it is and of what it holds.

    Args:
        address: as the system writes it; a zone id (`%eth0`) changes nothing.

    Raises:
        ValueError: it is no IP address in its usual form.
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv4Address):
        return _reach_4(ip)
    if ip in _MAPPED:
        return _reach_4(_low(ip))  # the system itself calls the IPv4 address
    if ip in _NAT64:
        return _reach_4(_low(ip))  # what an IPv6-only network is told of IPv4 hosts
    return max((_reach_6(ip), *map(_reach_4, _held(ip))), key=_WORST.index)


def address_problem(address: str, *, allow_private: bool) -> str | None:
    """Say why this IP address may not be called, to be read behind its name; None when it may.

    What is no IP address may not: whoever connects would have to look it up again.
    """
    try:
        reach = reach_of(address)
    except ValueError:
        return "is no IP address in its usual form"
    if reach == "never":
        return (
            "leads to a link-local, multicast, unspecified, reserved or cloud metadata address, "
            "which is never called; give another one"
        )
    if reach == "private" and not allow_private:
        return f"leads to an address that is not public; {_ALLOW}"
    return None


def check_url(url: str, *, allow_private: bool) -> None:
    """Check an address that somebody wants us to call; only what its text shows, no name is looked up.

    What a name leads to is seen when it is called, by the connector of `guarded_http`.

    Args:
        url: `http(s)://HOST[:PORT][/PATH][?QUERY]`, the host an ASCII name, an IPv4 address in its
            usual form, or an IPv6 address in brackets.
        allow_private: whether loopback and private networks may be called.

    Raises:
        ValueError: it may not be called: one sentence with the value, the limit and the fix.
    """
    problem = _form_problem(url) or _host_problem(_host_of(url), allow_private=allow_private)
    if problem is not None:
        raise ValueError(f"{shown(url)} {problem}")


def shown(url: str) -> str:
    """Quote a URL for a message: cut, on one line, without user name, password, query and fragment."""
    before, at, rest = url.rpartition("@")  # all before it: a password may hold any character
    if at:
        scheme, slashes, _ = before.partition("://")
        rest = f"{scheme}://…@{rest}" if slashes else f"…@{rest}"
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    return repr(rest if len(rest) <= _SHOWN else rest[:_SHOWN] + "…")


def _form_problem(url: str) -> str | None:
    if len(url) > MAX_URL:
        return f"has {len(url)} characters; the limit is {MAX_URL}"
    if re.match(r"https?://[^/?#\\]*@", url, re.IGNORECASE):
        return "holds a user name or password; leave it out"
    if "#" in url:
        return "holds a fragment; leave it out"
    match = _URL.fullmatch(url)
    if match is None:
        return "is no address that can be called; write http://HOST:PORT, in ASCII (xn--… for other names)"
    port = match["port"]
    if port is not None and not 1 <= int(port) <= 65535:
        return f"has port {int(port)}; give 1 to 65535"
    return None


def _host_of(url: str) -> str:
    match = _URL.fullmatch(url)
    assert match is not None
    return match["host"].lower()


def _host_problem(host: str, *, allow_private: bool) -> str | None:
    if host.startswith("["):
        problem = address_problem(host[1:-1], allow_private=allow_private)
        return problem or (None if ":" in host else "has an IPv4 address in brackets; leave them out")
    if len(host) > _MAX_HOST:
        return f"has a host of {len(host)} characters; the limit is {_MAX_HOST}"
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            IPv4Address(host)
        except ValueError:
            return "has a host that is no IPv4 address in its usual form; write four numbers like 192.0.2.1"
        return address_problem(host, allow_private=allow_private)
    if not all(_LABEL.fullmatch(label) for label in labels):
        return "has a host that is no name: parts of 1 to 63 letters, digits or '-', between dots"
    if labels[-1] == "localhost" and not allow_private:
        return f"leads to this machine; {_ALLOW}"
    return None


def _reach_4(ip: IPv4Address) -> Reach:
    if ip in _METADATA or any(ip in network for network in _NEVER_4):
        return "never"
    return "private" if any(ip in network for network in _PRIVATE_4) else "public"


def _reach_6(ip: IPv6Address) -> Reach:
    if ip in _METADATA or any(ip in network for network in _NEVER_6):
        return "never"
    is_public = ip in _GLOBAL_6 and not any(ip in network for network in _PRIVATE_6)
    return "public" if is_public else "private"


def _held(ip: IPv6Address) -> list[IPv4Address]:
    """Give the IPv4 addresses that a translator or tunnel may take out of an address."""
    value = int(ip)
    if ip in _COMPATIBLE:
        return [_low(ip)] if value > 1 else []  # :: and ::1 are no IPv4 addresses
    if ip in _TRANSLATED:
        return [_low(ip)]
    if ip in _NAT64_LOCAL:  # where it stands depends on the length of the operator's prefix: 48 or 96
        places = (value & 0xFFFFFFFF, (value >> 64 & 0xFFFF) << 16 | value >> 40 & 0xFFFF)
        return [IPv4Address(place) for place in places if place]
    if ip.sixtofour is not None:
        return [ip.sixtofour]
    if ip.teredo is not None:
        return list(ip.teredo)
    return [_low(ip)] if value >> 32 & 0xFFFFFFFF in _ISATAP else []


def _low(ip: IPv6Address) -> IPv4Address:
    return IPv4Address(int(ip) & 0xFFFFFFFF)
