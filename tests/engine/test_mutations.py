"""Nonsense by the thousand: what clients send is mutated, and only its sender is put out."""

from __future__ import annotations

import os
import random

import pytest
from livekit.protocol import models, rtc

from engine.sdp import Description, SdpError
from tests.engine.clients import World
from tests.engine.sessions import offer, running_engine, section
from tests.engine.test_negotiation import Client, track

IS_FULL = os.environ.get("GREENROOM_FULL") == "1"  # 1,000 messages instead of 250
OFFER = offer(
    section("audio", "0", "a=sendonly", "a=msid:- mic", "a=ssrc:5 cname:x", "a=extmap:1 urn:x"),
    section("video", "1", "a=recvonly", "a=rid:f send", "a=simulcast:send f;h;q"),
    section("application", "2"),
).sdp
MESSAGES = [
    rtc.SignalRequest(offer=rtc.SessionDescription(type="offer", sdp=OFFER)),
    rtc.SignalRequest(answer=rtc.SessionDescription(type="answer", sdp=OFFER, id=1)),
    rtc.SignalRequest(add_track=rtc.AddTrackRequest(cid="mic", source=models.MICROPHONE)),
    rtc.SignalRequest(mute=rtc.MuteTrackRequest(sid="TR_x", muted=True)),
    rtc.SignalRequest(subscription=rtc.UpdateSubscription(track_sids=["TR_x"], subscribe=True)),
    rtc.SignalRequest(track_setting=rtc.UpdateTrackSettings(track_sids=["TR_x"], disabled=True)),
    rtc.SignalRequest(update_metadata=rtc.UpdateParticipantMetadata(metadata="x", request_id=1)),
    rtc.SignalRequest(trickle=rtc.TrickleRequest(candidateInit="{}")),
    rtc.SignalRequest(subscription_permission=rtc.SubscriptionPermission(all_participants=True)),
    rtc.SignalRequest(ping_req=rtc.Ping(timestamp=1)),
]


def mutated(text: bytes, chance: random.Random) -> bytes:
    """Flip, cut, repeat and drop a few bytes."""
    data = bytearray(text)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.randint(1, 40)]
            case 2:
                data[at:at] = data[max(0, at - 30) : at]
            case _:
                del data[at:]
    return bytes(data)


async def test_a_mutated_offer_is_answered_or_refused_and_nothing_else() -> None:
    chance = random.Random(6)
    refused = 0
    for _ in range(400):
        text = mutated(OFFER.encode(), chance).decode(errors="replace")
        world = World()
        ada, bob = Client(world, "ada"), Client(world, "bob")
        ada.negotiation.subscribe(track(bob.me))
        ada.me.room.publish(ada.me, rtc.AddTrackRequest(cid="mic", source=models.MICROPHONE))
        try:
            ada.negotiation.take_offer(rtc.SessionDescription(type="offer", sdp=text))
        except SdpError:
            refused += 1
        else:
            Description(ada.told("answer")[-1].sdp)
    assert 0 < refused < 400


@pytest.mark.parametrize("seed", range(4 if IS_FULL else 1))
async def test_mutated_messages_put_out_their_sender_alone(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    async with running_engine() as engine:
        witness = await engine.connect("witness")
        for number in range(250):
            mallory = await engine.connect(f"mallory-{number}", can_update_own_metadata=True)
            said = chance.choice(MESSAGES).SerializeToString()
            await mallory.socket.send_bytes(mutated(said, chance))
            if number % 50 == 0:
                await witness.say(ping_req=rtc.Ping(timestamp=number))
                await witness.hear("pong_resp")
            await mallory.socket.close()
        await witness.say(ping_req=rtc.Ping(timestamp=-1))
        await witness.hear("pong_resp")
        assert witness.socket.close_code is None
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
