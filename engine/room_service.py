"""LiveKit's room service over Twirp, in JSON and in protobuf: what a backend asks of the rooms."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from livekit.protocol import models, room

from engine.limits import TooLongError
from engine.participants import Participant
from engine.room import Room
from engine.rooms import Rooms
from engine.tokens import Claims

STATUS: Final = {
    "bad_route": 404,
    "failed_precondition": 412,
    "invalid_argument": 400,
    "malformed": 400,
    "not_found": 404,
    "unauthenticated": 401,
    "unimplemented": 501,
}
_JSON: Final = "application/json"
_PROTOBUF: Final = "application/protobuf"
_NONCE_BYTES: Final = 16
_KNOWN: Final = room.DESCRIPTOR.services_by_name["RoomService"].methods_by_name
# What CreateRoom may carry; anything else would be silently left undone.
_ROOM_FIELDS: Final = frozenset(
    ("name", "empty_timeout", "departure_timeout", "max_participants", "metadata", "node_id", "tags")
)


class TwirpError(Exception):
    """A call is refused; ``code`` is Twirp's word for why."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def error_response(error: TwirpError) -> web.Response:
    """Give Twirp's form of a refusal."""
    body = json.dumps({"code": error.code, "msg": str(error)})
    return web.Response(status=STATUS[error.code], text=body, content_type=_JSON)


class RoomService:
    """Answers calls; each is done when it is answered."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._calls: dict[str, tuple[type[Any], Callable[[Any], Message]]] = {
            "CreateRoom": (room.CreateRoomRequest, self._create_room),
            "ListRooms": (room.ListRoomsRequest, self._list_rooms),
            "DeleteRoom": (room.DeleteRoomRequest, self._delete_room),
            "ListParticipants": (room.ListParticipantsRequest, self._list_participants),
            "GetParticipant": (room.RoomParticipantIdentity, self._get_participant),
            "RemoveParticipant": (room.RoomParticipantIdentity, self._remove_participant),
            "MutePublishedTrack": (room.MuteRoomTrackRequest, self._mute_track),
            "UpdateParticipant": (room.UpdateParticipantRequest, self._update_participant),
            "UpdateSubscriptions": (room.UpdateSubscriptionsRequest, self._update_subscriptions),
            "SendData": (room.SendDataRequest, self._send_data),
            "UpdateRoomMetadata": (room.UpdateRoomMetadataRequest, self._update_room_metadata),
        }

    def answer(
        self, service: str, method: str, kind: str, body: bytes, claims: Claims | None
    ) -> web.Response:
        """Do what is asked.

        Args:
            service: such as ``RoomService``.
            method: such as ``CreateRoom``.
            kind: the body's content type, and the answer's.
            body: the request.
            claims: of the caller's token, None without one.

        Raises:
            TwirpError: it is malformed, not allowed, not possible, or not done here.
        """
        call = self._calls.get(method) if service == "RoomService" else None
        if service == "RoomService" and method not in _KNOWN:
            raise TwirpError("bad_route", f"no handler for path {method!r}")
        if call is None:
            raise TwirpError(
                "unimplemented",
                f"the embedded engine has no {service}/{method}; use LiveKit: --engine livekit",
            )
        if kind not in (_JSON, _PROTOBUF):
            raise TwirpError("bad_route", f"unexpected Content-Type: {kind!r}")
        shape, act = call
        request = _decoded(shape(), kind, body)
        if claims is None or not _allows(claims, method, request):
            raise TwirpError("unauthenticated", "permissions denied")
        try:
            answer = act(request)
        except TooLongError as error:
            raise TwirpError("invalid_argument", str(error)) from None
        if kind == _PROTOBUF:
            return web.Response(body=answer.SerializeToString(), content_type=_PROTOBUF)
        said = json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        return web.Response(text=text, content_type=_JSON)

    def _create_room(self, request: room.CreateRoomRequest) -> Message:
        unknown = [field.name for field, _ in request.ListFields() if field.name not in _ROOM_FIELDS]
        if unknown:
            raise TwirpError("unimplemented", f"the embedded engine makes no room with {', '.join(unknown)}")
        return self._rooms.create(request).info()

    def _list_rooms(self, request: room.ListRoomsRequest) -> Message:
        listed = [one.info() for one in self._rooms if not request.names or one.name in request.names]
        return room.ListRoomsResponse(rooms=listed)

    def _delete_room(self, request: room.DeleteRoomRequest) -> Message:
        self._rooms.delete(self._room(request.room))
        return room.DeleteRoomResponse()

    def _list_participants(self, request: room.ListParticipantsRequest) -> Message:
        found = self._rooms.get(request.room)
        here = found.participants.values() if found else ()
        return room.ListParticipantsResponse(participants=[one.info() for one in here])

    def _get_participant(self, request: room.RoomParticipantIdentity) -> Message:
        return self._participant(request).info()

    def _remove_participant(self, request: room.RoomParticipantIdentity) -> Message:
        participant = self._participant(request)
        participant.room.remove(participant, models.PARTICIPANT_REMOVED)
        return room.RemoveParticipantResponse()

    def _mute_track(self, request: room.MuteRoomTrackRequest) -> Message:
        participant = self._participant(request)
        track = participant.tracks.get(request.track_sid)
        if track is None:
            return room.MuteRoomTrackResponse()  # LiveKit's answer, without a track
        if not request.muted and track.info.muted:
            raise TwirpError("failed_precondition", "remote unmute not enabled")
        participant.room.mute(track, request.muted, by_server=True)
        return room.MuteRoomTrackResponse(track=track.info)

    def _update_participant(self, request: room.UpdateParticipantRequest) -> Message:
        participant = self._participant(request)
        participant.room.update(
            participant,
            name=request.name,
            metadata=request.metadata,
            attributes=request.attributes,
            permission=request.permission if request.HasField("permission") else None,
        )
        return participant.info()

    def _update_subscriptions(self, request: room.UpdateSubscriptionsRequest) -> Message:
        participant = self._participant(request)
        named = [sid for group in request.participant_tracks for sid in group.track_sids]
        for sid in (*request.track_sids, *named):
            track = participant.room.find_track(sid)
            if track and (not request.subscribe or participant.room.may_subscribe(participant, track)):
                participant.connection.subscribe(track, request.subscribe)
        return room.UpdateSubscriptionsResponse()

    def _send_data(self, request: room.SendDataRequest) -> Message:
        if request.nonce and len(request.nonce) != _NONCE_BYTES:
            got = len(request.nonce)
            raise TwirpError("invalid_argument", f"nonce should be 16-bytes or not present, got: {got} bytes")
        packet = models.DataPacket(
            kind=request.kind,
            destination_identities=request.destination_identities,
            user=models.UserPacket(
                payload=request.data,
                destination_sids=request.destination_sids,
                destination_identities=request.destination_identities,
                topic=request.topic or None,
                nonce=request.nonce,
            ),
        )
        self._room(request.room).relay(packet, request.kind)
        return room.SendDataResponse()

    def _update_room_metadata(self, request: room.UpdateRoomMetadataRequest) -> Message:
        found = self._room(request.room)
        found.set_metadata(request.metadata)
        return found.info()

    def _room(self, name: str) -> Room:
        found = self._rooms.get(name)
        if found is None:
            raise TwirpError("not_found", "requested room does not exist")
        return found

    def _participant(self, request: Any) -> Participant:
        found = self._rooms.get(request.room)
        participant = found.participants.get(request.identity) if found else None
        if participant is None:
            raise TwirpError("not_found", "participant does not exist")
        return participant


def _decoded(request: Message, kind: str, body: bytes) -> Message:
    try:
        if kind == _PROTOBUF:
            request.ParseFromString(body)
            return request
        return json_format.Parse(body, request, ignore_unknown_fields=True)
    except (json_format.ParseError, DecodeError, ValueError, RecursionError):
        form = "protobuf" if kind == _PROTOBUF else "json"
        raise TwirpError("malformed", f"the {form} request could not be decoded") from None


def _allows(claims: Claims, method: str, request: Any) -> bool:
    grants = claims.video
    if method in ("CreateRoom", "DeleteRoom"):
        return grants.room_create
    if method == "ListRooms":
        return grants.room_list
    return grants.room_admin and grants.room == request.room
