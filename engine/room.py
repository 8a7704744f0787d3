"""One room and who is in it: joins, leaves, tracks, permissions, and whom to tell what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.message import Message
from livekit.protocol import models, rtc
from livekit.protocol.room import CreateRoomRequest
from livekit.protocol.webhook import WebhookEvent

from engine.limits import JoinRefusedError, PublishRefusedError, check_lengths
from engine.participants import Connection, Participant, Track, new_sid
from engine.tokens import Claims

# What a room is made with is what it has; what a track is announced with is what others are told of it.
_KEPT: Final = ("name", "empty_timeout", "departure_timeout", "max_participants", "metadata")
_ANNOUNCED: Final = (
    *("type", "name", "muted", "width", "height", "disable_dtx", "source", "layers", "stereo"),
    *("disable_red", "encryption", "stream", "audio_features", "packet_trailer_features"),
    "backup_codec_policy",
)


class Room:
    """One room. Everything here happens at once, on the loop's thread."""

    def __init__(
        self, request: CreateRoomRequest, now: Callable[[], float], emit: Callable[[WebhookEvent], None]
    ) -> None:
        self._now, self._emit = now, emit
        self.name = request.name
        self.settings = models.Room(sid=new_sid("RM_"), creation_time=int(now()), **_fields(request, _KEPT))
        self.settings.creation_time_ms = int(now() * 1000)
        self.participants: dict[str, Participant] = {}  # by identity
        self._created_at = now()
        self._left_at: float | None = None  # when the last one that keeps the room open left

    @property
    def sid(self) -> str:
        """The room's id, another one for each life."""
        return self.settings.sid

    def info(self) -> models.Room:
        """Give what clients and the room service are told."""
        info = models.Room()
        info.CopyFrom(self.settings)
        seen = [one for one in self.participants.values() if not one.permission.hidden]
        info.num_participants = len(seen)
        info.num_publishers = sum(any(track.is_ready for track in one.tracks.values()) for one in seen)
        return info

    def join(
        self,
        claims: Claims,
        connect: Callable[[Participant], Connection],
        *,
        client: models.ClientInfo,
        auto_subscribe: bool = True,
    ) -> Participant:
        """Let somebody in; whoever has the same identity is put out first.

        Args:
            claims: of its token, for this room.
            connect: makes the connection, which must not send before this returns.
            client: what the client says of itself.
            auto_subscribe: whether it wants all tracks without asking.

        Raises:
            JoinRefusedError: the room is full.
        """
        participant = Participant(
            room=self, claims=claims, client=client, joined_at=self._now(), auto_subscribe=auto_subscribe
        )
        same = self.participants.get(claims.identity)
        others = (one for one in self.participants.values() if one is not same)
        most, here = self.settings.max_participants, sum(not one.is_dependent for one in others)
        if 0 < most <= here and not participant.is_dependent:
            raise JoinRefusedError(503, f"room {self.name} is full: {here} of {most} participants")
        if same is not None:
            self.remove(same, models.DUPLICATE_IDENTITY)
        participant.connection = connect(participant)
        self.participants[participant.identity] = participant
        return participant

    def others(self, participant: Participant) -> Iterator[Participant]:
        """Give those whom a participant may see: the `other_participants` of its JoinResponse."""
        return (
            one for one in self.participants.values() if one is not participant and not one.permission.hidden
        )

    def subscribe_all(self, participant: Participant) -> None:
        """Give a participant every track it may have, if it wants all; once it can take them, and again."""
        if participant.auto_subscribe:
            for track in self._ready_tracks(participant):
                if self.may_subscribe(participant, track):
                    participant.connection.subscribe(track, True)

    def may_subscribe(self, participant: Participant, track: Track) -> bool:
        """Whether a participant may have a track: by its own permission and by the publisher's."""
        return (
            participant.permission.can_subscribe
            and track.is_ready
            and track.publisher is not participant
            and track.publisher.may_be_subscribed_by(participant, track)
        )

    def find_track(self, sid: str) -> Track | None:
        """Give a track of anybody's by its SID."""
        owners = self.participants.values()
        return next((one.tracks[sid] for one in owners if sid in one.tracks), None)

    def activate(self, participant: Participant) -> None:
        """Its media connection stands: others see it ACTIVE. Repeating it does nothing."""
        if participant.state != models.ParticipantInfo.JOINED:
            return
        participant.state, participant.was_active = models.ParticipantInfo.ACTIVE, True
        self._tell_others(participant)
        self.emit("participant_joined", participant)

    def remove(self, participant: Participant, reason: models.DisconnectReason) -> None:
        """Put a participant out: `leave`, its connection closed, the others told."""
        participant.connection.close(reason)
        self.leave(participant, reason)

    def leave(self, participant: Participant, reason: models.DisconnectReason) -> None:
        """A participant is gone, its connection closed or closing. Repeating it does nothing."""
        if participant.has_left:
            return
        for track in list(participant.tracks.values()):
            self.unpublish(track, is_told=False)
        participant.state, participant.reason = models.ParticipantInfo.DISCONNECTED, reason
        del self.participants[participant.identity]
        if not participant.is_dependent:
            self._left_at = self._now()
        self._tell_others(participant)
        self.emit(
            "participant_left" if participant.was_active else "participant_connection_aborted", participant
        )

    def publish(self, participant: Participant, add: rtc.AddTrackRequest) -> Track:
        """Announce a track to come; the same ``cid`` again gives the same track.

        Raises:
            PublishRefusedError: its permissions do not allow this source, or it is not done here.
        """
        if add.sid or add.type not in (models.AUDIO, models.VIDEO):
            sentence = "a track is sound or pictures, of one codec: no second one, no data"
            raise PublishRefusedError(rtc.RequestResponse.UNSUPPORTED_TYPE, sentence)
        if not participant.may_publish(add.source):
            source = models.TrackSource.Name(add.source)
            raise PublishRefusedError(
                rtc.RequestResponse.NOT_ALLOWED, f"{participant.identity} may not publish {source}"
            )
        known = next((track for track in participant.tracks.values() if track.cid == add.cid), None)
        if known is not None:
            return known
        sid = new_sid("TR_")
        info = models.TrackInfo(sid=sid, **_fields(add, _ANNOUNCED))
        info.simulcast = len(add.layers) > 1
        track = Track(sid=sid, cid=add.cid, publisher=participant, info=info)
        if add.simulcast_codecs:  # a second one is only sent when it is asked for, which it never is here
            track.wish = add.simulcast_codecs[0]
        participant.tracks[sid] = track
        return track

    def media_ready(self, track: Track) -> None:
        """A track's MIME type and mid are known: others are told of it and get it."""
        if track.is_ready or track.sid not in track.publisher.tracks:
            return
        track.is_ready = True
        self._tell_others(track.publisher)
        self.emit("track_published", track.publisher, track)
        for one in list(self.participants.values()):
            if one.auto_subscribe and self.may_subscribe(one, track):
                one.connection.subscribe(track, True)

    def restart(self, track: Track) -> None:
        """A track's media is not what was announced: it is to come anew, as another codec."""
        for one in list(self.participants.values()):
            one.connection.track_ended(track)
        track.media, track.is_ready = None, False
        del track.info.codecs[:]

    def unpublish(self, track: Track, *, is_told: bool = True) -> None:
        """A track is over; ``is_told`` false leaves the update to whoever tells more."""
        if track.publisher.tracks.pop(track.sid, None) is None:
            return
        for one in list(self.participants.values()):
            one.connection.track_ended(track)
        if track.is_ready:
            if is_told:
                self._tell_all(track.publisher)
            self.emit("track_unpublished", track.publisher, track)

    def mute(self, track: Track, muted: bool, *, by_server: bool = False) -> None:
        """Mute or unmute a track; ``by_server`` tells its publisher to follow."""
        if track.info.muted == muted:
            return
        track.info.muted = muted
        connection = track.publisher.connection
        if by_server:
            connection.send(rtc.SignalResponse(mute=rtc.MuteTrackRequest(sid=track.sid, muted=muted)))
        connection.mute_changed(track)
        self._tell_all(track.publisher)

    def describe(self, track: Track, change: rtc.UpdateLocalAudioTrack | rtc.UpdateLocalVideoTrack) -> None:
        """Take what a publisher says of its track by now, and tell everybody."""
        info = track.info
        if isinstance(change, rtc.UpdateLocalVideoTrack):
            if info.type == models.VIDEO:
                info.width, info.height = change.width, change.height
        elif info.type == models.AUDIO:
            info.audio_features[:] = dict.fromkeys(change.features)
            info.stereo = models.TF_STEREO in change.features
            info.disable_dtx = models.TF_NO_DTX in change.features
        if track.is_ready:
            self._tell_all(track.publisher)

    def update(
        self,
        participant: Participant,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] | None = None,
        permission: models.ParticipantPermission | None = None,
    ) -> None:
        """Change what is given; what the new permission forbids ends at once.

        Raises:
            TooLongError: nothing was changed.
        """
        check_lengths(
            name=name, metadata=metadata, attributes={**participant.attributes, **(attributes or {})}
        )
        participant.change(name=name, metadata=metadata, attributes=attributes)
        participant.refresh_at = 0.0
        if permission is not None:
            self._permit(participant, permission)
        self._tell_all(participant)

    def allow(self, publisher: Participant, request: rtc.SubscriptionPermission) -> None:
        """A publisher says who may subscribe to its tracks."""
        mine = [track for track in publisher.tracks.values() if track.is_ready]
        others = [one for one in self.participants.values() if one is not publisher]
        before = {(one, track): self.may_subscribe(one, track) for one in others for track in mine}
        publisher.allowed = None if request.all_participants else list(request.track_permissions)
        for (one, track), was_allowed in before.items():
            is_allowed = self.may_subscribe(one, track)
            if is_allowed == was_allowed:
                continue
            if one.auto_subscribe or not is_allowed:
                one.connection.subscribe(track, is_allowed)
            update = rtc.SubscriptionPermissionUpdate(
                participant_sid=publisher.sid, track_sid=track.sid, allowed=is_allowed
            )
            one.connection.send(rtc.SignalResponse(subscription_permission_update=update))

    def set_metadata(self, metadata: str) -> None:
        """Change the room's metadata and tell everybody.

        Raises:
            TooLongError: nothing was changed.
        """
        check_lengths(metadata=metadata)
        self.settings.metadata = metadata
        self._send(
            self.participants.values(), rtc.SignalResponse(room_update=rtc.RoomUpdate(room=self.info()))
        )

    def relay(
        self,
        packet: models.DataPacket,
        kind: models.DataPacket.Kind,
        *,
        sender: Participant | None = None,
        sids: Iterable[str] = (),
    ) -> None:
        """Deliver a data packet to those it names (by identity, or by ``sids``), or to all but its sender."""
        named = {*packet.destination_identities, *packet.user.destination_identities}
        wanted_sids = {*sids, *packet.user.destination_sids} if packet.HasField("user") else set(sids)
        for one in list(self.participants.values()):
            is_meant = not (named or wanted_sids) or one.identity in named or one.sid in wanted_sids
            if one is not sender and is_meant and one.state == models.ParticipantInfo.ACTIVE:
                one.connection.deliver(packet, kind)

    def emit(self, event: str, participant: Participant | None = None, track: Track | None = None) -> None:
        """Report what happened to the webhooks; of tracks with names only, as LiveKit does."""
        told, about = self.info(), participant.info() if participant else None
        if track and participant:
            told = models.Room(sid=self.sid, name=self.name)
            about = models.ParticipantInfo(sid=participant.sid, identity=participant.identity)
        info = track.info if track else None
        self._emit(WebhookEvent(event=event, room=told, participant=about, track=info))

    def end(self, reason: models.DisconnectReason) -> None:
        """Put everybody out; the room is over."""
        for participant in list(self.participants.values()):
            self.remove(participant, reason)
        self.emit("room_finished")

    def is_over(self, now: float) -> bool:
        """Whether nobody who keeps it open has been here for as long as it was made for."""
        if any(not one.is_dependent for one in self.participants.values()):
            return False
        if self._left_at is not None:
            return now - self._left_at >= self.settings.departure_timeout
        return now - self._created_at >= self.settings.empty_timeout

    def _permit(self, participant: Participant, permission: models.ParticipantPermission) -> None:
        participant.permission = permission
        for track in list(participant.tracks.values()):
            if not participant.may_publish(track.info.source):
                self.unpublish(track, is_told=False)
                told = rtc.TrackUnpublishedResponse(track_sid=track.sid)
                participant.connection.send(rtc.SignalResponse(track_unpublished=told))
        if permission.can_subscribe:
            self.subscribe_all(participant)
        else:
            for track in self._ready_tracks(participant):
                participant.connection.subscribe(track, False)

    def _ready_tracks(self, participant: Participant) -> list[Track]:
        """Give the announced tracks of everybody else."""
        others = (one for one in self.participants.values() if one is not participant)
        return [track for one in others for track in one.tracks.values() if track.is_ready]

    def _tell_all(self, about: Participant) -> None:
        """Tell everybody, itself included, what a participant is now."""
        self._tell_others(about)
        self._send([about], _update(about))

    def _tell_others(self, about: Participant) -> None:
        about.version += 1
        if not about.permission.hidden:
            self._send((one for one in self.participants.values() if one is not about), _update(about))

    def _send(self, to: Iterable[Participant], response: rtc.SignalResponse) -> None:
        for one in list(to):
            one.connection.send(response)


def _update(about: Participant) -> rtc.SignalResponse:
    return rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=[about.info()]))


def _fields(message: Message, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names}
