"""Free ports: free for both protocols now, and out of the range of outgoing connections."""

from __future__ import annotations

import socket

from greenroom.free_ports import LOOPBACK, free_port, is_tcp_free, is_udp_free


def test_a_free_port_can_be_bound() -> None:
    port = free_port()
    assert 20_000 <= port < 32_000
    with socket.create_server((LOOPBACK, port)):
        assert not is_tcp_free(port)
        assert is_udp_free(port)
    assert is_tcp_free(port)


def test_a_bound_udp_port_is_not_free() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind((LOOPBACK, 0))
        assert not is_udp_free(held.getsockname()[1])


def test_a_port_is_free_again_at_once_after_connections_to_it() -> None:
    port = free_port()
    with socket.create_server((LOOPBACK, port)) as server, socket.create_connection((LOOPBACK, port)):
        server.accept()[0].close()  # the server's side closes first, so it is the one in TIME_WAIT
    assert is_tcp_free(port)
