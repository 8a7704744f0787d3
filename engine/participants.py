"""One participant of a room, its tracks, and what a room may ask of its connection."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from livekit.protocol import models, rtc

from engine.tokens import KINDS, Claims

if TYPE_CHECKING:
    from engine.room import Room

# Kinds that serve the others: a room in which they alone are left is empty.
_DEPENDENT: Final = (models.ParticipantInfo.AGENT, models.ParticipantInfo.EGRESS)
_TOLD: Final = ("sid", "identity", "state", "metadata", "name", "version", "permission", "kind", "attributes")
_ID_ALPHABET: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def new_sid(prefix: str) -> str:
    """Make an id that nobody had before, as LiveKit's: ``RM_``, ``PA_`` or ``TR_`` and 12 characters."""
    return prefix + "".join(secrets.choice(_ID_ALPHABET) for _ in range(12))


class Connection(Protocol):
    """What rooms may do to one client. Nothing here blocks; what is asked of a closed one is dropped."""

    def send(self, response: rtc.SignalResponse) -> None:
        """Queue a message; when the queue is full, the connection closes itself."""

    def close(
        self,
        reason: models.DisconnectReason,
        action: rtc.LeaveRequest.Action = rtc.LeaveRequest.DISCONNECT,
    ) -> None:
        """Send `leave` and end; may be repeated."""

    def subscribe(self, track: Track, wanted: bool) -> None:
        """Begin, or cease, to forward a track to this client; may be repeated."""

    def track_ended(self, track: Track) -> None:
        """Forget a track of somebody's, or one of its own."""

    def mute_changed(self, track: Track) -> None:
        """Stop or go on taking media of a track of its own; ``track.info.muted`` says which."""

    def deliver(self, packet: models.DataPacket, kind: models.DataPacket.Kind) -> None:
        """Send a data packet to this client."""


@dataclass(eq=False, slots=True, kw_only=True)
class Track:
    """One track of a participant; announced to others once its media is ready."""

    sid: str
    cid: str
    publisher: Participant
    info: models.TrackInfo
    wish: rtc.SimulcastCodec = field(default_factory=rtc.SimulcastCodec)  # the codec it would be sent in
    media: Any = None  # the forwarder's
    is_ready: bool = False


@dataclass(eq=False, slots=True, kw_only=True)
class Participant:
    """Somebody in a room, from the join to the leave."""

    room: Room
    claims: Claims
    client: models.ClientInfo
    joined_at: float  # seconds since 1970
    auto_subscribe: bool = True
    sid: str = field(default_factory=lambda: new_sid("PA_"))
    permission: models.ParticipantPermission = field(init=False)
    metadata: str = field(init=False)
    name: str = field(init=False)
    attributes: dict[str, str] = field(init=False)
    state: models.ParticipantInfo.State = models.ParticipantInfo.JOINED
    reason: models.DisconnectReason = models.UNKNOWN_REASON
    tracks: dict[str, Track] = field(default_factory=dict)  # by SID
    # None: everybody may subscribe to its tracks; else those whom the publisher named.
    allowed: list[rtc.TrackPermission] | None = None
    was_active: bool = False
    version: int = 1  # of what others see; clients drop what is older
    refresh_at: float = 0.0  # seconds since 1970
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.permission = self.claims.permission()
        self.metadata, self.name = self.claims.metadata, self.claims.name
        self.attributes = dict(self.claims.attributes)

    @property
    def identity(self) -> str:
        """The unique name in the room."""
        return self.claims.identity

    @property
    def kind(self) -> models.ParticipantInfo.Kind:
        """STANDARD, AGENT, …"""
        kind: models.ParticipantInfo.Kind = KINDS.get(
            self.claims.kind.lower(), models.ParticipantInfo.STANDARD
        )
        return kind

    @property
    def is_dependent(self) -> bool:
        """Whether it keeps no room open."""
        return self.kind in _DEPENDENT or self.permission.agent or self.permission.recorder

    @property
    def has_left(self) -> bool:
        """Whether it is gone for good."""
        return self.state == models.ParticipantInfo.DISCONNECTED

    def info(self) -> models.ParticipantInfo:
        """Give what others are told."""
        ready = [track.info for track in self.tracks.values() if track.is_ready]
        told = {name: getattr(self, name) for name in _TOLD}
        return models.ParticipantInfo(
            **told,
            tracks=ready,
            is_publisher=bool(ready),
            joined_at=int(self.joined_at),
            joined_at_ms=int(self.joined_at * 1000),
            disconnect_reason=self.reason,
            client_protocol=self.client.client_protocol,
            capabilities=self.client.capabilities,
        )

    def may_publish(self, source: models.TrackSource) -> bool:
        """Whether its permissions let it publish a track from ``source``."""
        sources = self.permission.can_publish_sources
        return bool(self.permission.can_publish and (not sources or source in sources))

    def may_be_subscribed_by(self, other: Participant, track: Track) -> bool:
        """Whether this publisher lets ``other`` have its ``track``."""
        if self.allowed is None:
            return True
        return any(
            (rule.participant_sid == other.sid or rule.participant_identity == other.identity)
            and (rule.all_tracks or track.sid in rule.track_sids)
            for rule in self.allowed
        )

    def change(
        self, *, name: str = "", metadata: str = "", attributes: Mapping[str, str] | None = None
    ) -> None:
        """Take what is not empty; an attribute set to nothing goes."""
        self.name = name or self.name
        self.metadata = metadata or self.metadata
        merged = {**self.attributes, **(attributes or {})}
        self.attributes = {key: value for key, value in merged.items() if value}
