"""Data packets of one client: who may send, whom they come from, and what waits for a slow receiver."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from aiortc import RTCDataChannel
from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

from engine.participants import Participant

LABELS: Final = {models.DataPacket.RELIABLE: "_reliable", models.DataPacket.LOSSY: "_lossy"}
_KINDS: Final = {label: kind for kind, label in LABELS.items()}
MOST_LOSSY_BYTES: Final = 1024 * 1024  # that wait for a receiver; more lossy packets are lost
MOST_RELIABLE_BYTES: Final = 16 * 1024 * 1024  # that wait; who is further behind is disconnected
MOST_EARLY: Final = 256  # reliable packets kept for who has no channel yet
_OURS: Final = ("speaker", "metrics")  # not for others

_log = logging.getLogger("greenroom.engine")


class DataChannels:
    """What one client sends and gets by data channel.

    Args:
        participant: whose they are.
        on_stuck: called with a sentence when it takes nothing any more.
    """

    def __init__(self, participant: Participant, on_stuck: Callable[[str], None]) -> None:
        self._participant = participant
        self._on_stuck = on_stuck
        self._channels: dict[str, RTCDataChannel] = {}
        self._early: deque[bytes] = deque(maxlen=MOST_EARLY)
        self._was_refused = False

    def listen(self, channel: RTCDataChannel) -> None:
        """Take what comes over a channel."""
        kind = _KINDS.get(channel.label)
        if kind is not None:
            channel.on("message", lambda message: self._take(message, kind))

    def send_over(self, channel: RTCDataChannel) -> None:
        """Send over this channel what is for its label."""
        self._channels[channel.label] = channel
        if channel.label == LABELS[models.DataPacket.RELIABLE]:
            channel.on("open", lambda: self._send_early(channel))  # ours opens when the client answers
            self._send_early(channel)

    def send(self, packet: models.DataPacket, kind: models.DataPacket.Kind) -> None:
        """Send a packet to the client."""
        channel, is_reliable = self._channels.get(LABELS[kind]), kind == models.DataPacket.RELIABLE
        if channel is None or channel.readyState != "open":
            if is_reliable:
                self._early.append(packet.SerializeToString())
        elif channel.bufferedAmount <= (MOST_RELIABLE_BYTES if is_reliable else MOST_LOSSY_BYTES):
            channel.send(packet.SerializeToString())
        elif is_reliable:
            self._on_stuck(f"{channel.bufferedAmount} bytes of data wait for it; {MOST_RELIABLE_BYTES} may")

    def _send_early(self, channel: RTCDataChannel) -> None:
        while self._early and channel.readyState == "open":
            channel.send(self._early.popleft())

    def _take(self, message: bytes | str, kind: models.DataPacket.Kind) -> None:
        sender = self._participant
        try:
            packet = models.DataPacket.FromString(message if isinstance(message, bytes) else b"")
        except DecodeError:
            self._on_stuck("a data packet cannot be read")
            return
        value = packet.WhichOneof("value")
        if value is None or value in _OURS or sender.has_left:
            return
        if not sender.permission.can_publish_data:
            self._refuse()
            return
        shown = None if sender.permission.hidden else sender
        packet.kind = kind
        packet.participant_sid = shown.sid if shown else ""
        packet.participant_identity = shown.identity if shown else ""
        if value == "user":
            packet.user.participant_sid = packet.participant_sid
            packet.user.participant_identity = packet.participant_identity
        sender.room.relay(packet, kind, sender=sender)

    def _refuse(self) -> None:
        if not self._was_refused:
            self._was_refused = True
            sentence = f"{self._participant.identity} may not publish data"
            _log.warning("%s", sentence)
            refusal = rtc.RequestResponse(reason=rtc.RequestResponse.NOT_ALLOWED, message=sentence)
            self._participant.connection.send(rtc.SignalResponse(request_response=refusal))
