"""Which track goes over which media section of a client: one connection (v1), or one for each way (v0).

In v1 only the client offers; the server asks it to (`media_sections_requirement`) and fills the sections that
it wants to receive. In v0 the client offers what it publishes, and the server what it sends.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from livekit.protocol import models, rtc

from engine.forwarding import Forwarder, Outgoing
from engine.header_extensions import UNHEARD
from engine.participants import Participant, Track
from engine.sdp import (
    DESCRIPTOR,
    LEVEL,
    MID,
    RID,
    Codec,
    Description,
    SdpError,
    Section,
    Use,
    describe,
    find_codec,
    numbered,
)
from engine.transport import Peer

_DATA: Final = "application"
_STREAM_PER_LAYER: Final = models.VideoLayer.ONE_SPATIAL_LAYER_PER_STREAM

_log = logging.getLogger("greenroom.engine")


@dataclass(eq=False, slots=True, kw_only=True)
class _Subscription:
    track: Track
    ssrc: int
    mid: str = ""
    out: Outgoing | None = None

    @property
    def kind(self) -> str:
        return self.forwarder.codec.mime.partition("/")[0]

    @property
    def forwarder(self) -> Forwarder:
        media = self.track.media
        assert isinstance(media, Forwarder)  # set before the track is announced
        return media

    def use(self, number: int, codec: Codec, extensions: Mapping[str, int]) -> Use:
        sid = self.track.sid
        msid = f"{self.track.publisher.sid}|{sid} {sid}"
        return Use(
            direction="sendonly", codecs={number: codec}, extensions=extensions, msid=msid, ssrc=self.ssrc
        )


class Negotiation:
    """The media sections of one client.

    Args:
        participant: whose they are; its connection is told everything.
        make_peer: makes a connection; told True for the one whose media makes the participant ACTIVE.
        is_single: v1.
    """

    def __init__(
        self, participant: Participant, make_peer: Callable[[bool], Peer], *, is_single: bool
    ) -> None:
        self._participant = participant
        self._make_peer = make_peer
        self._is_single = is_single
        self.subscriber = make_peer(True)
        self.publisher: Peer | None = self.subscriber if is_single else None  # v0 makes it when it is needed
        self._published: dict[str, tuple[Track, Use]] = {}  # by mid
        self._subscriptions: dict[str, _Subscription] = {}  # by the track's SID
        self._paused: set[str] = set()  # SIDs of tracks that the client does not want now
        self._is_due = False
        self._offered: list[tuple[str, str]] = [(_DATA, "0")]  # kind and mid of v0's sections
        self._payload_types: dict[int, Codec] = {}
        self._open_offer = 0  # its number, 0 for none
        self._offers = 0
        self._free = {"audio": 0, "video": 0}  # v1's sections that nothing goes over
        self._lacked = 0  # v1's sections, when the client was last asked for them
        # Mids whose track is gone: clients see another one there only after they saw the end of the first.
        self._closing: set[str] = set()
        self._is_stopped = False

    @property
    def peers(self) -> list[Peer]:
        """The connections there are."""
        return [one for one in {self.publisher, self.subscriber} if one is not None]

    def subscribe(self, track: Track) -> None:
        """Send a track to the client; may be repeated."""
        if track.sid not in self._subscriptions and not self._is_stopped:
            self._subscriptions[track.sid] = _Subscription(track=track, ssrc=secrets.randbits(31) + 1)
            self._renegotiate()

    def unsubscribe(self, track: Track) -> None:
        """Cease to send a track; may be repeated."""
        subscription = self._subscriptions.pop(track.sid, None)
        if subscription is not None:
            self._detach(subscription)
            self._closing |= {subscription.mid} - {""}
            self._renegotiate()

    def pause(self, sid: str, *, is_paused: bool) -> None:
        """Hold a track back that the client does not show, or send it again."""
        (self._paused.add if is_paused else self._paused.discard)(sid)
        self.look_again(sid)

    def look_again(self, sid: str) -> None:
        """Hold a track back while it is muted or paused, send it else."""
        subscription = self._subscriptions.get(sid)
        if subscription is not None and subscription.out is not None:
            was_paused = subscription.out.is_paused
            subscription.out.is_paused = sid in self._paused or subscription.track.info.muted
            if was_paused and not subscription.out.is_paused:
                subscription.forwarder.want_keyframe()

    def connected(self) -> None:
        """A connection stands: what was to be sent came to nothing so far."""
        for subscription in self._subscriptions.values():
            if subscription.out is not None:
                subscription.forwarder.want_keyframe()

    def stop(self) -> None:
        """Send and take nothing any more."""
        self._is_stopped = True
        for subscription in self._subscriptions.values():
            self._detach(subscription)
        self._subscriptions.clear()

    def forget(self, track: Track) -> None:
        """A track of the client's own is over."""
        self._published = {mid: one for mid, one in self._published.items() if one[0] is not track}
        if self.publisher is not None and isinstance(track.media, Forwarder):
            self.publisher.media.forget(track.media)

    # --- the client's offers ---

    def take_offer(self, said: rtc.SessionDescription) -> None:
        """Answer an offer.

        Raises:
            SdpError: it cannot be answered.
        """
        offer = Description(said.sdp)
        peer = self.publisher = self.publisher or self._make_peer(False)
        peer.start(offer)
        ready: list[Track] = []
        self._free = dict.fromkeys(self._free, 0)
        uses = [(one.kind, one.mid, self._answer(one, peer, ready)) for one in offer.sections]
        mids = {one.mid for one in offer.sections}
        gone = [track for mid, (track, _) in self._published.items() if mid not in mids]
        answer = rtc.SessionDescription(type="answer", sdp=describe(peer.local(), uses), id=said.id)
        for subscription in self._subscriptions.values():
            if self._is_single and subscription.mid:
                answer.mid_to_track_id[subscription.mid] = subscription.track.sid
        self._send(rtc.SignalResponse(answer=answer))
        for track in gone:
            self._participant.room.unpublish(track)
        for track in ready:
            self._participant.room.media_ready(track)
        if self._is_single:
            self._ask_for_sections()

    def _answer(self, section: Section, peer: Peer, ready: list[Track]) -> Use | None:
        """Say what one section of an offer is used for."""
        track, use = self._published.get(section.mid, (None, None))
        is_sent = section.sends and not section.is_rejected
        if track is not None and use is not None and is_sent and track.cid == section.cid:
            offered = {(number, one.mime) for number, one in section.codecs().items()}
            if offered & {(number, one.mime) for number, one in use.codecs.items()}:
                return use
            self._participant.room.restart(track)  # it was offered before the client had chosen its codec
        elif track is not None:
            self._participant.room.unpublish(track)
        if section.is_rejected or section.kind not in ("audio", "video", _DATA):
            return None
        if section.kind == _DATA:
            return Use()
        used = self._receive(section, peer, ready) if is_sent else self._fill(section)
        return used or Use(codecs=section.codecs(), extensions=section.extensions())

    def _receive(self, section: Section, peer: Peer, ready: list[Track]) -> Use | None:
        """Take a track that was announced."""
        own = self._participant.tracks.values()
        track = next((one for one in own if one.cid == section.cid and one.media is None), None)
        codecs = section.codecs()
        if track is None or not codecs:
            return None
        wish = track.wish.codec.lower().rpartition("/")[2]
        number, codec = min(codecs.items(), key=lambda one: not one[1].mime.lower().endswith(f"/{wish}"))
        is_svc = codec.is_svc and bool(wish) and track.wish.video_layer_mode != _STREAM_PER_LAYER
        rids = section.layers() if is_svc else section.layers()[-1:]
        numbers = section.extensions()
        if codec.name != "av1":  # the others say it in their payload, or have no layers in a stream
            numbers.pop(DESCRIPTOR, None)
        answered = codec.asked(dtx=not track.info.disable_dtx, stereo=track.info.stereo)
        use = Use(direction="recvonly", codecs={number: answered}, extensions=numbers, rids=rids)
        forwarder = track.media = Forwarder(
            peer, codec, level_id=numbers.get(LEVEL, 0), descriptor_id=numbers.get(DESCRIPTOR, 0)
        )
        peer.media.expect(
            forwarder,
            mid=section.mid,
            mid_id=numbers.get(MID, 0),
            rid_id=numbers.get(RID, 0),
            rid="" if is_svc else "".join(rids),
            ssrcs=section.ssrcs(),
        )
        track.info.mime_type, track.info.mid = codec.mime, section.mid
        track.info.simulcast = not is_svc and (bool(rids) or len(section.ssrcs()) > 1)
        layers = track.wish.layers or track.info.layers
        track.info.codecs.add(mime_type=codec.mime, mid=section.mid, cid=track.cid, layers=layers)
        self._published[section.mid] = (track, use)
        ready.append(track)
        return use

    def _fill(self, section: Section) -> Use | None:
        """Send a track over a section that the client wants to receive."""
        if not (self._is_single and section.receives):
            return None
        every, codecs = self._subscriptions.values(), section.codecs()
        chosen = next((one for one in every if one.mid == section.mid), None)
        if chosen is None and section.mid not in self._closing:
            chosen = next((one for one in every if not one.mid and one.kind == section.kind), None)
        self._closing.discard(section.mid)
        if chosen is None:
            self._free[section.kind] += 1
            return None
        number = find_codec(codecs, chosen.forwarder.codec)
        if number is None:
            self._cannot(chosen)
            return None
        chosen.mid = section.mid
        self._attach(chosen, number, section)
        return chosen.use(number, codecs[number], section.extensions())

    def _ask_for_sections(self) -> None:
        """Have the client offer again, with sections for the tracks that wait."""
        lacking = [one.kind for one in self._subscriptions.values() if not one.mid]
        if lacking and self._lacked and len(lacking) >= self._lacked:
            _log.warning("%s offers no section for %d tracks", self._participant.identity, len(lacking))
            return
        self._lacked = len(lacking)
        if lacking or self._closing:
            more = {kind: max(0, lacking.count(kind) - free) for kind, free in self._free.items()}
            need = rtc.MediaSectionsRequirement(num_audios=more["audio"], num_videos=more["video"])
            self._send(rtc.SignalResponse(media_sections_requirement=need))

    # --- our offers ---

    def offer(self) -> None:
        """Offer what the client is to get, v0; once the last offer is answered."""
        if self._open_offer:
            self._is_due = True
            return
        waiting = [one for one in self._subscriptions.values() if not one.mid]
        used = {one.mid for one in self._subscriptions.values()} | self._closing
        self._closing.clear()
        free = [(kind, mid) for kind, mid in self._offered if kind != _DATA and mid not in used]
        for subscription in waiting:
            spare = next((one for one in free if one[0] == subscription.kind), None)
            if spare is None:
                spare = (subscription.kind, str(len(self._offered)))
                self._offered.append(spare)
            else:
                free.remove(spare)
            subscription.mid = spare[1]
        by_mid = {one.mid: one for one in self._subscriptions.values()}
        sections: list[tuple[str, str, Use | None]] = []
        for kind, mid in self._offered:
            sent = by_mid.get(mid)
            if sent is None:
                sections.append((kind, mid, Use(codecs=self._last_codecs(kind))))
            else:
                codec = sent.forwarder.codec
                extensions = {DESCRIPTOR: 1} if codec.name == "av1" else {}
                number = numbered(codec, self._payload_types)
                sections.append((kind, mid, sent.use(number, codec, extensions)))
        self._offers += 1
        self._open_offer = self._offers
        sdp = describe(self.subscriber.local(), sections, is_offer=True)
        said = rtc.SessionDescription(type="offer", sdp=sdp, id=self._open_offer)
        self._send(rtc.SignalResponse(offer=said))

    def take_answer(self, said: rtc.SessionDescription) -> None:
        """Send what the client takes.

        Raises:
            SdpError: nothing was offered, or the answer cannot be read.
        """
        if self._is_single or not self._open_offer:
            raise SdpError("an answer to no offer")
        if said.id not in (0, self._open_offer):
            return  # to an older one
        answer = Description(said.sdp)
        self.subscriber.start(answer)
        self._open_offer = 0
        by_mid = {one.mid: one for one in self._subscriptions.values() if one.mid}
        for section in answer.sections:
            subscription = by_mid.get(section.mid)
            if subscription is None or subscription.out is not None:
                continue
            number = find_codec(section.codecs(), subscription.forwarder.codec)
            if section.is_rejected or not section.receives or number is None:
                self._cannot(subscription)
            else:
                self._attach(subscription, number, section)
        if self._is_due:
            self._is_due = False
            self.offer()

    def _last_codecs(self, kind: str) -> dict[int, Codec]:
        """Give codecs for a section that nothing goes over: it must name some."""
        return {number: one for number, one in self._payload_types.items() if one.mime.startswith(f"{kind}/")}

    # --- both ---

    def _renegotiate(self) -> None:
        """Negotiate once for all that is asked for in this turn of the loop."""
        if not self._is_due and not self._is_stopped:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._negotiate)

    def _negotiate(self) -> None:
        self._is_due = False
        if self._is_stopped:
            return
        if self._is_single:
            self._lacked = 0
            self._ask_for_sections()
        else:
            self.offer()

    def _attach(self, subscription: _Subscription, number: int, section: Section) -> None:
        if subscription.out is not None:
            return
        out = Outgoing(
            subscription.forwarder,
            self.subscriber,
            ssrc=subscription.ssrc,
            payload_type=number,
            descriptor_id=section.extension(DESCRIPTOR) or UNHEARD,
        )
        subscription.out = self.subscriber.media.outs[out.ssrc] = out
        is_first = not subscription.forwarder.outs
        subscription.forwarder.attach(out)
        self.look_again(subscription.track.sid)
        if is_first:
            told = rtc.TrackSubscribed(track_sid=subscription.track.sid)
            subscription.track.publisher.connection.send(rtc.SignalResponse(track_subscribed=told))

    def _detach(self, subscription: _Subscription) -> None:
        out, subscription.out = subscription.out, None
        if out is not None:
            self.subscriber.media.outs.pop(out.ssrc, None)
            if out in subscription.forwarder.outs:
                subscription.forwarder.outs.remove(out)

    def _cannot(self, subscription: _Subscription) -> None:
        """Say that the client cannot get a track."""
        self._subscriptions.pop(subscription.track.sid, None)
        error = rtc.SubscriptionResponse(
            track_sid=subscription.track.sid, err=models.SubscriptionError.SE_CODEC_UNSUPPORTED
        )
        self._send(rtc.SignalResponse(subscription_response=error))

    @property
    def _send(self) -> Callable[[rtc.SignalResponse], None]:
        return self._participant.connection.send
