"""One client's WebSocket: it joins, says what it wants, is told what happens, leaves.

Source: livekit_rtc.proto; ``/rtc/v1`` carries the first message and an offer in its URL, ``/rtc`` does not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from aiohttp import WSMsgType, web
from aiortc import RTCDataChannel
from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

from engine.data import LABELS, DataChannels
from engine.forwarding import Forwarder
from engine.ice import MediaPort
from engine.joining import LARGEST_MESSAGE, PING_TIMEOUT_S, Join, bring_along, greeting, read_join
from engine.limits import PublishRefusedError, TooLongError
from engine.negotiation import Negotiation
from engine.participants import Participant, Track
from engine.rooms import Rooms
from engine.sdp import SdpError
from engine.tokens import Claims
from engine.transport import Peer

SILENCE_S: Final = float(PING_TIMEOUT_S)
SEND_S: Final = 10.0
GOODBYE_S: Final = 2.0  # for so long a client may take to answer the end of its WebSocket
LEAVE_S: Final = 1.0
MOST_WAITING: Final = 2_000  # messages for one client; who is further behind is disconnected
_OWN_REASONS: Final = (models.USER_UNAVAILABLE, models.USER_REJECTED, models.AGENT_ERROR)  # to leave

_log = logging.getLogger("greenroom.engine")


async def serve(request: web.Request, rooms: Rooms, claims: Claims, media: MediaPort) -> web.StreamResponse:
    """Serve one client from its join to its leave.

    Args:
        request: GET of ``/rtc`` or ``/rtc/v1``.
        rooms: where it wants to be.
        claims: of its token, which was verified.
        media: the port for its media.

    Raises:
        JoinRefusedError: it may not come in, or what it brings along cannot be read or is not allowed.
    """
    join = read_join(request)
    if join.request.reconnect:
        return await _have_rejoin(request)
    return await Client(rooms, bring_along(claims, join.request), media, join).serve(request)


class Client:
    """One client in a room; a `Connection`.

    Raises:
        JoinRefusedError: it may not come in.
    """

    def __init__(self, rooms: Rooms, claims: Claims, media: MediaPort, join: Join) -> None:
        self._media = media
        self._join = join
        self._outgoing: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING + 2)
        self._is_closed = False
        self._failing: asyncio.TimerHandle | None = None
        self._level = 0.0  # how loud it speaks
        self._knows_layers = False  # it was told that it cannot choose among them
        self._participant = rooms.room_to_join(claims).join(
            claims,
            self._connect,
            client=join.request.client_info,
            auto_subscribe=join.request.connection_settings.auto_subscribe,
        )
        self._room = self._participant.room

    def _connect(self, participant: Participant) -> Client:
        self._participant = participant
        self._data = DataChannels(participant, self._fail)
        self._negotiation = Negotiation(participant, self._make_peer, is_single=self._join.is_single)
        return self

    # --- what rooms ask for ---

    def send(self, response: rtc.SignalResponse) -> None:
        """Queue a message; who has MOST_WAITING of them waiting is disconnected."""
        if self._is_closed:
            return
        if self._outgoing.qsize() >= MOST_WAITING:
            self._fail(f"{MOST_WAITING} messages wait for it")
            return
        self._outgoing.put_nowait(response.SerializeToString())

    def close(
        self,
        reason: models.DisconnectReason,
        action: rtc.LeaveRequest.Action = rtc.LeaveRequest.DISCONNECT,
    ) -> None:
        """Send `leave` and end."""
        if self._is_closed:
            return
        self._is_closed = True
        can_rejoin = action == rtc.LeaveRequest.RECONNECT
        leave = rtc.LeaveRequest(reason=reason, action=action, can_reconnect=can_rejoin)
        self._outgoing.put_nowait(rtc.SignalResponse(leave=leave).SerializeToString())
        self._outgoing.put_nowait(None)
        self._negotiation.stop()

    def subscribe(self, track: Track, wanted: bool) -> None:
        """Begin, or cease, to forward a track to this client."""
        (self._negotiation.subscribe if wanted else self._negotiation.unsubscribe)(track)

    def track_ended(self, track: Track) -> None:
        """Forget a track."""
        self._negotiation.unsubscribe(track)
        self._negotiation.forget(track)

    def mute_changed(self, track: Track) -> None:
        """Forward nothing of a muted track."""
        for other in list(self._room.participants.values()):
            if isinstance(other.connection, Client):
                other.connection._negotiation.look_again(track.sid)

    def deliver(self, packet: models.DataPacket, kind: models.DataPacket.Kind) -> None:
        """Send a data packet to this client."""
        if not self._is_closed:
            self._data.send(packet, kind)

    # --- the connection ---

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Talk until one of both leaves."""
        self.send(rtc.SignalResponse(join=greeting(self._participant, is_single=self._join.is_single)))
        socket = web.WebSocketResponse(timeout=GOODBYE_S, max_msg_size=LARGEST_MESSAGE)
        reason = models.SIGNAL_CLOSE
        try:
            await socket.prepare(request)
            writing = asyncio.create_task(self._write(socket))
            try:
                reason = await self._listen(socket)
            finally:
                self.close(reason)
                self._room.leave(self._participant, reason)  # before its goodbye, which may take its time
                await asyncio.wait({writing}, timeout=SEND_S)
                writing.cancel()
                await asyncio.wait({writing})
        finally:
            self.close(reason)
            self._room.leave(self._participant, reason)
            if self._failing is not None:
                self._failing.cancel()
            for peer in self._negotiation.peers:
                await peer.close()
        return socket

    async def _write(self, socket: web.WebSocketResponse) -> None:
        try:
            while (message := await self._outgoing.get()) is not None:
                async with asyncio.timeout(SEND_S):
                    await socket.send_bytes(message)
        except (TimeoutError, ConnectionError) as error:
            _log.debug("%s takes no messages: %s", self._participant.identity, type(error).__name__)
        await socket.close()

    async def _listen(self, socket: web.WebSocketResponse) -> models.DisconnectReason:
        """Do what the client says until it ends; give the reason."""
        for add in self._join.request.add_track_requests:
            self._publish(add)
        if self._join.request.HasField("publisher_offer"):
            self._take(rtc.SignalRequest(offer=self._join.request.publisher_offer))
        elif not self._join.is_single:
            self._negotiation.offer()
        while True:
            try:
                message = await socket.receive(timeout=SILENCE_S)
            except TimeoutError:
                self._fail(f"nothing was heard of it for {SILENCE_S:g} s", models.CONNECTION_TIMEOUT)
                return models.CONNECTION_TIMEOUT
            if message.type is not WSMsgType.BINARY:
                if message.type is WSMsgType.TEXT:
                    self._fail("it speaks JSON; only protobuf is understood")
                return self._participant.reason or models.SIGNAL_CLOSE
            try:
                said = rtc.SignalRequest.FromString(message.data)
            except DecodeError:
                self._fail(f"a message of {len(message.data)} bytes cannot be read")
                return models.STATE_MISMATCH
            if said.WhichOneof("message") == "leave":
                self._is_closed = True
                self._negotiation.stop()
                self._outgoing.put_nowait(None)
                return said.leave.reason if said.leave.reason in _OWN_REASONS else models.CLIENT_INITIATED
            if not self._is_closed:
                self._take(said)

    def _take(self, said: rtc.SignalRequest) -> None:
        """Do one thing that the client asks for."""
        me, room = self._participant, self._room
        match said.WhichOneof("message"):
            case "ping_req":
                pong = rtc.Pong(last_ping_timestamp=said.ping_req.timestamp, timestamp=_now_ms())
                self.send(rtc.SignalResponse(pong_resp=pong))
            case "ping":
                self.send(rtc.SignalResponse(pong=_now_ms()))
            case "offer" | "answer" as kind:
                try:
                    if kind == "offer":
                        self._negotiation.take_offer(said.offer)
                    else:
                        self._negotiation.take_answer(said.answer)
                except SdpError as error:
                    self._fail(f"its {kind} cannot be used: {error}")
            case "add_track":
                self._publish(said.add_track)
            case "mute":
                track = me.tracks.get(said.mute.sid)
                if track is not None:
                    room.mute(track, said.mute.muted)
            case "subscription":
                self._choose(said.subscription)
            case "track_setting":
                self._set(said.track_setting)
            case "subscription_permission":
                room.allow(me, said.subscription_permission)
            case "update_metadata":
                self._update(said.update_metadata)
            case "update_audio_track" | "update_video_track" as kind:
                change = getattr(said, kind)
                track = me.tracks.get(change.track_sid)
                if track is not None:
                    room.describe(track, change)
                else:
                    sentence = f"it has no track {change.track_sid!r}"
                    self._refuse(rtc.RequestResponse.NOT_FOUND, sentence, **{kind: change})
            case "trickle":
                pass  # our candidates stand in every answer
            case other:
                self._refuse(
                    rtc.RequestResponse.UNSUPPORTED_TYPE, f"{other or 'such a message'} is not supported here"
                )

    def _publish(self, add: rtc.AddTrackRequest) -> None:
        try:
            track = self._room.publish(self._participant, add)
        except PublishRefusedError as error:
            self._refuse(error.reason, str(error), add_track=add)
            return
        published = rtc.TrackPublishedResponse(cid=add.cid, track=track.info)
        self.send(rtc.SignalResponse(track_published=published))

    def _set(self, setting: rtc.UpdateTrackSettings) -> None:
        tracks = [self._room.find_track(sid) for sid in setting.track_sids]
        for sid in setting.track_sids:
            self._negotiation.pause(sid, is_paused=setting.disabled)
        # With a size, the quality is not meant; size, frames per second and priority are hints.
        wants_less = not (setting.disabled or setting.width or setting.quality == models.VideoQuality.HIGH)
        if wants_less and not self._knows_layers and any(one and one.info.simulcast for one in tracks):
            self._knows_layers = True
            sentence = "of a simulcast there is only the top layer here; no other quality is sent"
            self._refuse(rtc.RequestResponse.UNSUPPORTED_TYPE, sentence)

    def _choose(self, chosen: rtc.UpdateSubscription) -> None:
        sids = [*chosen.track_sids, *(sid for one in chosen.participant_tracks for sid in one.track_sids)]
        for sid in sids:
            track = self._room.find_track(sid)
            if track is not None and not chosen.subscribe:
                self._negotiation.unsubscribe(track)
            elif track is not None and self._room.may_subscribe(self._participant, track):
                self._negotiation.subscribe(track)
            elif chosen.subscribe:
                error = rtc.SubscriptionResponse(
                    track_sid=sid, err=models.SubscriptionError.SE_TRACK_NOTFOUND
                )
                self.send(rtc.SignalResponse(subscription_response=error))

    def _update(self, wanted: rtc.UpdateParticipantMetadata) -> None:
        reason, sentence = rtc.RequestResponse.OK, ""
        if not self._participant.permission.can_update_metadata:
            reason, sentence = rtc.RequestResponse.NOT_ALLOWED, "the token holds no canUpdateOwnMetadata"
        else:
            try:
                self._room.update(
                    self._participant,
                    name=wanted.name,
                    metadata=wanted.metadata,
                    attributes=dict(wanted.attributes),
                )
            except TooLongError as error:
                reason, sentence = rtc.RequestResponse.LIMIT_EXCEEDED, str(error)
        self._refuse(reason, sentence, request_id=wanted.request_id)

    def _refuse(self, reason: rtc.RequestResponse.Reason, sentence: str, **request: Any) -> None:
        """Answer a request; ``request`` is what `rtc.RequestResponse` says of it."""
        answer = rtc.RequestResponse(reason=reason, message=sentence, **request)
        self.send(rtc.SignalResponse(request_response=answer))

    def _fail(self, sentence: str, reason: models.DisconnectReason = models.STATE_MISMATCH) -> None:
        """End this client for its own fault, or because it is gone."""
        if not self._is_closed:
            _log.warning("%s is disconnected: %s", self._participant.identity, sentence)
            may_rejoin = reason == models.CONNECTION_TIMEOUT
            self.close(reason, rtc.LeaveRequest.RECONNECT if may_rejoin else rtc.LeaveRequest.DISCONNECT)
            self._room.leave(self._participant, reason)

    # --- its media connections ---

    def _make_peer(self, is_primary: bool) -> Peer:
        peer = Peer(
            self._media,
            on_connected=lambda: self._connected(is_primary=is_primary),
            on_lost=self._lost,
            on_channel=self._opened,
            on_tick=self._hear,
        )
        if is_primary and not self._join.is_single:
            for kind, label in LABELS.items():
                self._data.send_over(peer.open_channel(label, is_reliable=kind == models.DataPacket.RELIABLE))
        return peer

    def _lost(self, sentence: str) -> None:
        """Give who leaves the time to say so: clients end their media first."""
        loop = asyncio.get_running_loop()
        self._failing = loop.call_later(LEAVE_S, self._fail, sentence, models.CONNECTION_TIMEOUT)

    def _opened(self, channel: RTCDataChannel) -> None:
        self._data.listen(channel)
        if self._join.is_single:
            self._data.send_over(channel)

    def _connected(self, *, is_primary: bool) -> None:
        if is_primary and not self._is_closed:
            self._room.activate(self._participant)
            self._room.subscribe_all(self._participant)
        self._negotiation.connected()

    def _hear(self) -> None:
        """Tell everybody when it begins or ceases to speak, and who else does.

        LiveKit's Rust SDK takes those of one message for all who speak.
        """
        me = self._participant
        tracks = [one.media for one in me.tracks.values() if isinstance(one.media, Forwarder)]
        level = max((one.loudness() for one in tracks), default=0.0)
        if level == self._level or me.permission.hidden:
            return
        self._level = level
        clients = [one.connection for one in self._room.participants.values()]
        speakers = [
            models.SpeakerInfo(sid=one._participant.sid, level=one._level, active=one._level > 0)
            for one in clients
            if isinstance(one, Client) and (one is self or one._level > 0)
        ]
        for one in clients:
            one.send(rtc.SignalResponse(speakers_changed=rtc.SpeakersChanged(speakers=speakers)))


async def _have_rejoin(request: web.Request) -> web.WebSocketResponse:
    """Tell a client that would resume to come in anew."""
    socket = web.WebSocketResponse(timeout=GOODBYE_S)
    await socket.prepare(request)
    leave = rtc.LeaveRequest(
        reason=models.STATE_MISMATCH, action=rtc.LeaveRequest.RECONNECT, can_reconnect=True
    )
    async with asyncio.timeout(SEND_S):
        await socket.send_bytes(rtc.SignalResponse(leave=leave).SerializeToString())
    await socket.close()
    return socket


def _now_ms() -> int:
    return int(time.time() * 1000)
