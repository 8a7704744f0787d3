"""What a client says of itself in the URL that it joins with.

Source: livekit_rtc.proto (WrappedJoinRequest); the query of ``/rtc`` as LiveKit's clients write it.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

from engine.limits import JoinRefusedError

LARGEST_MESSAGE: Final = 512 * 1024  # bytes; an offer with 60 video sections is 300 KB
LONGEST_URL: Final = 64 * 1024  # bytes: it holds a packed offer
_GZIP: Final = 16 + zlib.MAX_WBITS


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
        JoinRefusedError: 400, it cannot be read.
    """
    query = request.query
    if "join_request" not in query:
        number = query.get("protocol", "")
        join = rtc.JoinRequest(
            client_info=models.ClientInfo(
                version=query.get("version", ""),
                protocol=int(number) if number.isascii() and number.isdigit() else 0,
            ),
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
