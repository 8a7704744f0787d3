"""What a client says of itself in the URL that it joins with, and what it is told first.

Source: livekit_rtc.proto (WrappedJoinRequest); the query of ``/rtc`` as LiveKit's clients write it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web
from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

from engine.limits import JoinRefusedError, TooLongError, check_lengths
from engine.participants import Participant
from engine.tokens import Claims

LARGEST_MESSAGE: Final = 512 * 1024  # bytes; an offer with 60 video sections is 300 KB
SERVER_VERSION: Final = "1.13.5"  # of the LiveKit whose behaviour this follows
SERVER_PROTOCOL: Final = 17
PING_EVERY_S, PING_TIMEOUT_S = 5, 15  # what clients are told
_PUBLISHED_CODECS: Final = ("audio/opus", "video/VP8", "video/H264", "video/VP9", "video/AV1", "video/H265")
_GZIP: Final = 16 + zlib.MAX_WBITS
_CAPABILITIES: Final[dict[str, Any]] = dict(models.ClientInfo.Capability.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """What a client brings along; ``is_single`` (v1): one connection carries both ways."""

    request: rtc.JoinRequest
    is_single: bool = False


def read_join(request: web.Request) -> Join:
    """Read what a client brings along.

    Args:
        request: GET of ``/rtc`` (v0) or ``/rtc/v1``.

    Raises:
        JoinRefusedError: 400, it cannot be read; 501, it asks for what is not done here.
    """
    query = request.query
    if "join_request" not in query:
        if query.get("publish"):
            raise JoinRefusedError(501, "a connection that only publishes (publish=…) is not done here")
        capabilities = query.get("capabilities", "").split(",")
        join = rtc.JoinRequest(
            client_info=models.ClientInfo(
                version=query.get("version", ""),
                protocol=_number(query.get("protocol", "")),
                client_protocol=_number(query.get("client_protocol", "")),
                capabilities=[_CAPABILITIES[name] for name in capabilities if name in _CAPABILITIES],
            ),
            participant_attributes=_attributes(query.get("attributes", "")),
            connection_settings=rtc.ConnectionSettings(
                auto_subscribe=query.get("auto_subscribe", "1") in ("1", "true")
            ),
            reconnect=query.get("reconnect", "") in ("1", "true"),
        )
        return Join(request=join)
    text = query["join_request"]
    try:
        wrapped = rtc.WrappedJoinRequest.FromString(
            base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        )
        said = wrapped.join_request
        if wrapped.compression == rtc.WrappedJoinRequest.GZIP:
            said = zlib.decompressobj(_GZIP).decompress(said, LARGEST_MESSAGE)
        return Join(request=rtc.JoinRequest.FromString(said), is_single=True)
    except (binascii.Error, zlib.error, DecodeError, ValueError):
        raise JoinRefusedError(400, "join_request is no base64url of a WrappedJoinRequest") from None


def bring_along(claims: Claims, request: rtc.JoinRequest) -> Claims:
    """Give claims with the metadata and the attributes that a client brings along; it takes away none.

    Args:
        claims: of its token.
        request: what it says of itself.

    Raises:
        JoinRefusedError: 401, its token does not let it; 400, there would be too much of them.
    """
    brought = {key: value for key, value in request.participant_attributes.items() if value}
    own = claims.video.can_update_own_metadata
    if (request.metadata or request.participant_attributes) and not own:
        raise JoinRefusedError(401, "it brings metadata or attributes, and its token no canUpdateOwnMetadata")
    metadata, attributes = request.metadata or claims.metadata, {**claims.attributes, **brought}
    try:
        check_lengths(metadata=metadata, attributes=attributes)
    except TooLongError as error:
        raise JoinRefusedError(400, str(error)) from None
    return msgspec.structs.replace(claims, metadata=metadata, attributes=attributes)


def greeting(me: Participant, *, is_single: bool) -> rtc.JoinResponse:
    """Give what a participant is told when it came in."""
    return rtc.JoinResponse(
        room=me.room.info(),
        participant=me.info(),
        other_participants=[one.info() for one in me.room.others(me)],
        server_version=SERVER_VERSION,
        server_info=models.ServerInfo(
            edition=models.ServerInfo.Standard, version=SERVER_VERSION, protocol=SERVER_PROTOCOL
        ),
        subscriber_primary=not is_single,
        ping_interval=PING_EVERY_S,
        ping_timeout=PING_TIMEOUT_S,
        enabled_publish_codecs=[models.Codec(mime=mime) for mime in _PUBLISHED_CODECS],
        fast_publish=True,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _attributes(text: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=dict[str, str]) if text else {}
    except (ValueError, msgspec.DecodeError):
        raise JoinRefusedError(400, "attributes are no base64url of a JSON object of strings") from None
