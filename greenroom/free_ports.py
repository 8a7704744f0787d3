"""Finds loopback ports that nobody uses."""

from __future__ import annotations

import random
import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"

# Below the range from which kernels take the ports of outgoing connections (32768 up on Linux): a port from
# here is not taken by chance between our look and the server's bind, nor between two starts of one stack.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES: Final = 200


def is_tcp_free(port: int) -> bool:
    """Tell whether a server could listen on this loopback TCP port now (TIME_WAIT counts as free)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _can_bind(probe, port)


def is_udp_free(port: int) -> bool:
    """Tell whether this loopback UDP port is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return _can_bind(probe, port)


def free_port() -> int:
    """Give a loopback port that is free for TCP and for UDP.

    Raises:
        OSError: none of 200 ports was free.
    """
    for _ in range(_TRIES):
        port = random.randrange(_LOWEST, _HIGHEST)  # noqa: S311 - not a secret
        if is_tcp_free(port) and is_udp_free(port):
            return port
    raise OSError(f"no free loopback port between {_LOWEST} and {_HIGHEST} in {_TRIES} tries")


def _can_bind(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind((LOOPBACK, port))
    except OSError:
        return False
    return True
