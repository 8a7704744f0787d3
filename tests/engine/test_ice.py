"""Connectivity checks on the one port: who is answered, and whose a datagram is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aioice import stun

from engine.ice import MediaPort

ANSWER_S = 30.0  # an answer comes at once, unless the machine is busy
QUIET_S = 0.1  # no answer would have come by then


class Endpoint:
    """An end that writes down what it gets."""

    username = password = ""

    def __init__(self, port: MediaPort) -> None:
        self.port = port
        self.checks: list[bool] = []
        self.got: list[bytes] = []
        port.add(as_peer(self))

    def checked(self, address: tuple[str, int], *, is_nominated: bool) -> None:
        self.checks.append(is_nominated)

    def take_dtls(self, datagram: bytes) -> None:
        self.got.append(datagram)

    def take_srtp(self, size: int) -> None:
        self.got.append(bytes(self.port.inbox.view[:size]))

    def tick(self, now: float) -> None:
        """Nothing depends on it."""


def as_peer(endpoint: Endpoint) -> Any:
    return endpoint


@pytest.fixture
async def port() -> AsyncIterator[MediaPort]:
    made = await MediaPort.open("127.0.0.1", 0)
    yield made
    made.close()


class Client:
    """A socket that sends checks."""

    def __init__(self, port: MediaPort) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect(port.address)

    async def check(
        self, endpoint: Endpoint, password: str = "", *, nominates: bool = False, within_s: float = ANSWER_S
    ) -> bytes | None:
        """Send one; give the answer, None for none in this time."""
        attributes = {"USERNAME": f"{endpoint.username}:theirs", "PRIORITY": 1}
        attributes |= {"USE-CANDIDATE": None} if nominates else {}
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes=attributes)
        request.add_message_integrity((password or endpoint.password).encode())
        return await self.send(bytes(request), within_s=within_s)

    async def send(self, datagram: bytes, *, within_s: float = QUIET_S) -> bytes | None:
        self.socket.send(datagram)
        try:
            return await asyncio.wait_for(
                asyncio.get_running_loop().sock_recv(self.socket, 2048), timeout=within_s
            )
        except TimeoutError:
            return None


async def test_who_knows_the_password_is_answered_and_belongs_to_its_endpoint(port: MediaPort) -> None:
    ada, bob = Endpoint(port), Endpoint(port)
    one, other = Client(port), Client(port)
    answer = await one.check(ada)
    await other.check(bob, nominates=True)
    assert answer is not None
    response = stun.parse_message(answer)
    assert response.check_message_integrity(ada.password.encode())
    assert response.attributes["XOR-MAPPED-ADDRESS"] == one.socket.getsockname()
    assert (ada.checks, bob.checks) == ([False], [True])
    for datagram in (b"\x16" + bytes(20), b"\x80" + bytes(20)):  # DTLS, SRTP
        await one.send(datagram)
        await other.send(datagram + b"!")
    assert (len(ada.got), len(bob.got)) == (2, 2)
    assert not any(datagram.endswith(b"!") for datagram in ada.got)


async def test_nobody_else_is_answered(port: MediaPort) -> None:
    ada, client = Endpoint(port), Client(port)
    unsigned = stun.Message(
        stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": f"{ada.username}:x"}
    )
    for datagram in (bytes(unsigned), b"\x00\x01\x00\x00", b"\x00" * 20, b"\x80" * 30, b"\x16" * 30):
        assert await client.send(datagram) is None
    assert await client.check(ada, password="wrong", within_s=QUIET_S) is None
    assert (ada.checks, ada.got) == ([], [])
    assert await client.check(ada) is not None  # and the port is well


async def test_what_is_removed_is_unknown(port: MediaPort) -> None:
    ada, client = Endpoint(port), Client(port)
    await client.check(ada)
    port.remove(as_peer(ada))
    assert await client.check(ada, within_s=QUIET_S) is None
    await client.send(b"\x16" + bytes(20))
    assert ada.got == []


async def test_added_again_it_answers_to_its_new_name_only(port: MediaPort) -> None:
    ada, client = Endpoint(port), Client(port)
    before = (ada.username, ada.password)
    port.add(as_peer(ada))
    assert await client.check(ada) is not None
    ada.username, ada.password = before
    assert await client.check(ada, within_s=QUIET_S) is None
