"""Proves that a webhook is LiveKit's, and reads it: signature, time, and the sha256 of exactly this body.

Source: LiveKit webhooks (protojson body; JWT in Authorization with the base64 sha256 of the body).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Final

import jwt
import msgspec

from orchestrator.adapters.livekit_rooms import read_owner, read_participant
from orchestrator.adapters.livekit_tokens import signing_key
from orchestrator.core.errors import WebhookRefusedError
from orchestrator.core.ids import RoomName, RoomSid
from orchestrator.core.triggers import Participant
from orchestrator.ports import Notice

_LEEWAY_S: Final = 60


class _Room(msgspec.Struct):
    name: str = ""
    sid: str = ""
    metadata: str = ""


class _Participant(msgspec.Struct):
    identity: str = ""
    sid: str = ""
    kind: str = ""
    attributes: dict[str, str] = {}


class _Event(msgspec.Struct):
    """The few fields of a webhook that we read; protobuf's own JSON parser costs twenty times as much."""

    event: str = ""
    id: str = ""
    created_at: str | int = msgspec.field(default=0, name="createdAt")  # protojson writes 64 bits as text
    room: _Room = msgspec.field(default_factory=_Room)
    participant: _Participant | None = None


_decoder = msgspec.json.Decoder(_Event)


class LivekitWebhookVerifier:
    """Verifies webhooks with the key that livekit-server signs them with."""

    def __init__(self, api_key: str, api_secret: str) -> None:
        self._api_key = api_key
        self._key = signing_key(api_secret)

    def verify(self, body: bytes, authorization: str) -> Notice:
        """Give what a webhook says.

        Args:
            body: as received; its bytes are what was signed.
            authorization: the header, with or without "Bearer ".

        Raises:
            WebhookRefusedError: not signed with our key, too old, not the body that was signed, or not a
                webhook. Nothing of body or token is in the sentence.
        """
        try:
            claims = jwt.decode(
                authorization.removeprefix("Bearer ").strip(),
                self._key,
                algorithms=["HS256"],
                issuer=self._api_key,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss"]},
            )
        except (jwt.PyJWTError, ValueError) as error:  # ValueError: a header that is not even text
            raise WebhookRefusedError(f"the webhook's token was refused: {type(error).__name__}") from None
        try:
            signed = base64.b64decode(str(claims.get("sha256", "")), validate=True)
        except ValueError:
            signed = b""
        if not hmac.compare_digest(signed, hashlib.sha256(body).digest()):
            raise WebhookRefusedError("the webhook's body is not the one that was signed")
        try:
            event = _decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise WebhookRefusedError("the webhook's body is not a LiveKit event") from None
        deployment_id, session_id = read_owner(event.room.metadata)
        return Notice(
            event=event.event,
            id=event.id,
            room_name=RoomName(event.room.name),
            room_sid=RoomSid(event.room.sid),
            deployment_id=deployment_id,
            session_id=session_id,
            participant=_read_participant(event.participant),
            age_s=_age_s(str(event.created_at)),
        )


def _age_s(created_at: str) -> float:
    """Give how old an event is by this machine's wall clock, which the signature's time is judged by too."""
    if not created_at.isdecimal() or len(created_at) > 11:
        return 0.0
    return max(0.0, time.time() - int(created_at)) if int(created_at) else 0.0


def _read_participant(info: _Participant | None) -> Participant | None:
    return read_participant(info, is_agent=info.kind == "AGENT") if info is not None else None
