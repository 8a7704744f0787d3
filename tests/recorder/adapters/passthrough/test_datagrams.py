"""Reading a socket in batches: nothing is lost, few wake-ups, and shorter batches when much comes."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from recorder.adapters.passthrough.datagrams import LONGEST_S, SHORTEST_S, BatchedSocket


class Receiver(asyncio.DatagramProtocol):
    """Remembers what came, and in how many wake-ups of the loop."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.moments: list[float] = []
        self.errors: list[Exception] = []
        self.is_lost = False

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.received.append(data)
        self.moments.append(time.monotonic())

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


def _nothing() -> None:
    """Nothing is to be done after a batch."""


async def until(condition: object) -> None:
    deadline = time.monotonic() + 5
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.fixture
def sender() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


async def test_everything_is_received_at_first_and_in_batches(sender: socket.socket) -> None:
    receiver = Receiver()
    opened = BatchedSocket(receiver, "127.0.0.1", on_batch=_nothing)
    target = opened.get_extra_info("sockname")
    sender.sendto(b"first", target)
    await until(lambda: receiver.received == [b"first"])
    opened.read_in_batches()
    sent = [b"%d" % number for number in range(300)]
    for one in sent:
        sender.sendto(one, target)
        await asyncio.sleep(0.001)
    await until(lambda: len(receiver.received) == 301)
    assert receiver.received[1:] == sent
    gaps = [later - one for one, later in zip(receiver.moments[1:], receiver.moments[2:], strict=False)]
    wakes = sum(gap > SHORTEST_S / 2 for gap in gaps)
    assert wakes < 100  # of 300 packets a millisecond apart
    opened.close()
    sender.close()


async def test_a_quiet_socket_is_looked_at_seldom_and_a_full_one_often(sender: socket.socket) -> None:
    receiver = Receiver()
    opened = BatchedSocket(receiver, "127.0.0.1", on_batch=_nothing)
    opened.read_in_batches()
    await until(lambda: opened._pause_s == LONGEST_S)
    opened._room = 20_000
    target = opened.get_extra_info("sockname")

    def send_much() -> bool:
        for _ in range(10):
            sender.sendto(bytes(1200), target)
        return opened._pause_s < LONGEST_S / 3

    await until(send_much)
    opened.close()
    sender.close()


async def test_a_packet_that_raises_makes_nobody_deaf(sender: socket.socket) -> None:
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
    receiver = Receiver()
    plain = receiver.datagram_received

    def first_raises(data: bytes, addr: tuple[str, int]) -> None:
        if data == b"bad":
            raise ValueError("what is this")
        plain(data, addr)

    receiver.datagram_received = first_raises  # type: ignore[method-assign]
    opened = BatchedSocket(receiver, "127.0.0.1", on_batch=_nothing)
    opened.read_in_batches()
    for data in (b"bad", b"good"):
        sender.sendto(data, opened.get_extra_info("sockname"))
    await until(lambda: receiver.received == [b"good"])
    assert len(raised) == 1
    opened.close()
    sender.close()


async def test_after_closing_nothing_is_read_or_sent(sender: socket.socket) -> None:
    receiver = Receiver()
    opened = BatchedSocket(receiver, "127.0.0.1", on_batch=_nothing)
    target = opened.get_extra_info("sockname")
    opened.read_in_batches()
    opened.close()
    opened.close()
    opened.sendto(b"x", target)
    sender.sendto(b"late", target)
    await until(lambda: receiver.is_lost)
    assert opened.is_closing()
    assert receiver.received == []
    assert receiver.errors == []
    sender.close()


async def test_what_cannot_be_sent_is_told_and_what_cannot_be_bound_is_raised() -> None:
    receiver = Receiver()
    opened = BatchedSocket(receiver, "127.0.0.1", on_batch=_nothing)
    opened.sendto(bytes(70_000), ("127.0.0.1", 9))
    assert len(receiver.errors) == 1
    opened.close()
    with pytest.raises(OSError, match="assign"):
        BatchedSocket(Receiver(), "192.0.2.1", on_batch=_nothing)
