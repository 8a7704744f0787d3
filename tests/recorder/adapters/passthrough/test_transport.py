"""The media connection without a media server: candidates that are of no use, and nobody at the other end."""

from __future__ import annotations

import pytest

from recorder.adapters.passthrough import transport as module
from recorder.adapters.passthrough.answer import Offer
from recorder.adapters.passthrough.transport import MediaTransport, NoMediaPathError
from tests.recorder.adapters.passthrough.test_answer import OFFER


def make() -> MediaTransport:
    return MediaTransport(on_rtp=_never, on_rtcp=_never, on_batch=lambda: None, on_closed=lambda: None)


def _never(_: bytes) -> None:
    raise AssertionError("nothing is decrypted without a connection")


async def test_it_answers_with_its_own_candidates() -> None:
    transport = make()
    await transport.gather(is_loopback=True)
    answer = transport.answer(Offer(OFFER))
    assert "127.0.0.1" in answer.split("a=candidate:")[1]
    assert "a=fingerprint:sha-256 " in answer
    await transport.close()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "candidate:",
        "candidate:1 1 tcp 1 127.0.0.1 7881 typ host tcptype passive",
        "candidate:1 1 udp 1 secret.local 7 typ host",
    ],
)
async def test_candidates_of_no_use_are_passed_over(line: str) -> None:
    transport = make()
    await transport.gather(is_loopback=True)
    await transport.add_candidate(line)
    assert not transport._connection.remote_candidates
    await transport.close()


@pytest.mark.parametrize("size", [0, 1, 11])
async def test_a_datagram_that_is_too_short_for_anything_is_passed_over(size: int) -> None:
    transport = make()
    await transport.gather(is_loopback=True)
    protocol = transport._connection._protocols[0]
    protocol.datagram_received(b"\x80" * size, ("127.0.0.1", 9))
    assert transport._connection._queue.empty()
    await transport.close()


async def test_nobody_at_the_other_end_is_no_media_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_S", 0.5)
    transport = make()
    await transport.gather(is_loopback=True)
    await transport.add_candidate("candidate:1 1 udp 2130706431 127.0.0.1 9 typ host")
    with pytest.raises(NoMediaPathError, match=r"0\.5 s"):
        await transport.connect(Offer(OFFER))
    assert not transport.is_connected
    transport.send_rtcp(b"")  # dropped
    await transport.close()
