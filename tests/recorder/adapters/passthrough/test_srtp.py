"""Decrypting packets: what comes out is what was sent, once, and nothing else comes out."""

from __future__ import annotations

import os

import pytest
from pylibsrtp import Policy, Session

from recorder.adapters.passthrough.srtp import Unprotector
from tests.fakes.rtp_media import rtp_packet

PROFILES = (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, Policy.SRTP_PROFILE_AEAD_AES_128_GCM)


class Pair:
    """Both ends of one session."""

    def __init__(self, profile: int) -> None:
        key = os.urandom(28 if profile == Policy.SRTP_PROFILE_AEAD_AES_128_GCM else 30)
        self.sender = Session(Policy(key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
        self.receiver = Unprotector(
            Session(Policy(key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
        )


@pytest.fixture(params=PROFILES, ids=["sha1", "gcm"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


def packet(number: int, *, size: int = 900) -> bytes:
    return rtp_packet(os.urandom(size), number=number, rtp_time=number, is_last=True)


def test_what_was_sent_comes_out(pair: Pair) -> None:
    sent = [packet(number, size=100 + number) for number in range(50)]
    assert [pair.receiver.rtp(pair.sender.protect(one)) for one in sent] == sent


def test_rtcp_comes_out(pair: Pair) -> None:
    compound = bytes.fromhex("80c90001") + bytes(4)
    assert pair.receiver.rtcp(pair.sender.protect_rtcp(compound)) == compound


def test_repeated_altered_short_and_long_ones_do_not(pair: Pair) -> None:
    first, second = (pair.sender.protect(packet(number)) for number in (1, 2))
    assert pair.receiver.rtp(first) is not None
    assert pair.receiver.rtp(first) is None
    assert pair.receiver.rtp(second[:40] + bytes([second[40] ^ 1]) + second[41:]) is None
    assert pair.receiver.rtp(second[:20]) is None
    assert pair.receiver.rtp(second + bytes(2048)) is None
    assert pair.receiver.rtp(second) is not None


def test_who_has_another_key_is_not_heard(pair: Pair) -> None:
    assert pair.receiver.rtp(Pair(PROFILES[0]).sender.protect(packet(1))) is None
