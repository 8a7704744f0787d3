"""LiveKit's room service over Twirp, in JSON and in protobuf: what a backend asks of the rooms."""

from __future__ import annotations

import json
from typing import Any, Final

from aiohttp import web
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
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
_METHODS: Final = room.DESCRIPTOR.services_by_name["RoomService"].methods_by_name
_NOT_HERE: Final = ("ForwardParticipant", "MoveParticipant", "PerformRpc")
# What these may carry (UpdateParticipant: as permission); anything else would be silently left undone.
_DONE: Final[dict[str, tuple[str, ...]]] = {
    "CreateRoom": (
        *("name", "empty_timeout", "departure_timeout", "max_participants", "metadata"),
        *("node_id", "tags"),
    ),
    "RemoveParticipant": ("room", "identity"),
    "UpdateParticipant": (
        *("can_subscribe", "can_publish", "can_publish_data", "can_publish_sources"),
        *("hidden", "recorder", "can_update_metadata", "agent"),
    ),
}


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
        if service != "RoomService" or method in _NOT_HERE:
            sentence = f"the embedded engine has no {service}/{method}; run LiveKit: --engine livekit"
            raise TwirpError("unimplemented", sentence)
        if method not in _METHODS:
            raise TwirpError("bad_route", f"no handler for path {method!r}")
        if kind not in (_JSON, _PROTOBUF):
            raise TwirpError("bad_route", f"unexpected Content-Type: {kind!r}")
        request = _decoded(GetMessageClass(_METHODS[method].input_type)(), kind, body)
        if claims is None or not _allows(claims, method, request):
            raise TwirpError("unauthenticated", "permissions denied")
        try:
            answer = self._act(method, request) or GetMessageClass(_METHODS[method].output_type)()
        except TooLongError as error:
            raise TwirpError("invalid_argument", str(error)) from None
        if kind == _PROTOBUF:
            return web.Response(body=answer.SerializeToString(), content_type=_PROTOBUF)
        said = json_format.MessageToDict(
            answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        return web.Response(text=text, content_type=_JSON)

    def _act(self, method: str, request: Any) -> Message | None:
        if method in _DONE:
            said = request.permission if method == "UpdateParticipant" else request
            undone = [field.name for field, _ in said.ListFields() if field.name not in _DONE[method]]
            if undone:
                sentence = f"the embedded engine does no {method} with {', '.join(undone)}"
                raise TwirpError("unimplemented", sentence)
        match method:
            case "CreateRoom":
                return self._rooms.create(request).info()
            case "ListRooms":
                listed = (one for one in self._rooms if not request.names or one.name in request.names)
                return room.ListRoomsResponse(rooms=[one.info() for one in listed])
            case "ListParticipants":
                found = self._rooms.get(request.room)
                here = found.participants.values() if found else ()
                return room.ListParticipantsResponse(participants=[one.info() for one in here])
            case "DeleteRoom":
                self._rooms.delete(self._room(request))
            case "SendData":
                self._send(request)
            case "UpdateRoomMetadata":
                found = self._room(request)
                found.set_metadata(request.metadata)
                return found.info()
            case _:
                return _act_on(method, self._participant(request), request)
        return None

    def _send(self, request: room.SendDataRequest) -> None:
        if request.nonce and len(request.nonce) != _NONCE_BYTES:
            sentence = f"nonce should be 16-bytes or not present, got: {len(request.nonce)} bytes"
            raise TwirpError("invalid_argument", sentence)
        user = models.UserPacket(
            payload=request.data,
            topic=request.topic or None,
            nonce=request.nonce,
            destination_sids=request.destination_sids,
        )
        to = request.destination_identities
        packet = models.DataPacket(kind=request.kind, user=user, destination_identities=to)
        packet.user.destination_identities.extend(to)
        self._room(request).relay(packet, request.kind)

    def _room(self, request: Any) -> Room:
        found = self._rooms.get(request.room)
        if found is None:
            raise TwirpError("not_found", "requested room does not exist")
        return found

    def _participant(self, request: Any) -> Participant:
        found = self._rooms.get(request.room)
        participant = found.participants.get(request.identity) if found else None
        if participant is None:
            raise TwirpError("not_found", "participant does not exist")
        return participant


def _act_on(method: str, participant: Participant, request: Any) -> Message | None:
    """Do what is asked of one participant; None is an answer without content."""
    its_room = participant.room
    match method:
        case "RemoveParticipant":
            its_room.remove(participant, models.PARTICIPANT_REMOVED)
            return None
        case "UpdateParticipant":
            permission = request.permission if request.HasField("permission") else None
            said = {"name": request.name, "metadata": request.metadata, "attributes": request.attributes}
            its_room.update(participant, permission=permission, **said)
        case "MutePublishedTrack":
            track = participant.tracks.get(request.track_sid)
            if track is None:
                return None  # LiveKit's answer, without a track
            if not request.muted and track.info.muted:
                raise TwirpError("failed_precondition", "remote unmute not enabled")
            its_room.mute(track, request.muted, by_server=True)
            return room.MuteRoomTrackResponse(track=track.info)
        case "UpdateSubscriptions":
            named = [sid for group in request.participant_tracks for sid in group.track_sids]
            for sid in (*request.track_sids, *named):
                track = its_room.find_track(sid)
                if track and (not request.subscribe or its_room.may_subscribe(participant, track)):
                    participant.connection.subscribe(track, request.subscribe)
            return None
    return participant.info()


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
