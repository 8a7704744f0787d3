"""LiveKit's access tokens: reading those that clients bring, minting those that keep them going."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
import msgspec
from livekit.protocol import models

LEEWAY_S: Final = 60  # as LiveKit's
REFRESHED_FOR_S: Final = 600  # how long a renewed token is good; LiveKit's default
# The names in tokens and the numbers in messages.
SOURCES: Final[dict[str, Any]] = {name.lower(): n for name, n in models.TrackSource.items() if n}
KINDS: Final[dict[str, Any]] = {name.lower(): n for name, n in models.ParticipantInfo.Kind.items()}

_GRANTED_UNLESS_DENIED: Final = ("can_publish", "can_publish_data", "can_subscribe")
_FLAGS: Final = ("hidden", "recorder", "agent")


class TokenError(Exception):
    """A token is missing, forged, over, or made for something else; the sentence never repeats it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The pair that signs tokens; the secret never shows in a repr."""

    api_key: str
    api_secret: str = field(repr=False)


class Grants(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a token allows. Absent permissions inside a room are granted, as LiveKit reads them."""

    room: str = ""
    room_join: bool = False
    room_create: bool = False
    room_list: bool = False
    room_admin: bool = False
    can_publish: bool | None = None
    can_publish_data: bool | None = None
    can_publish_sources: Sequence[str] | None = None
    can_subscribe: bool | None = None
    can_update_own_metadata: bool | None = None
    hidden: bool = False
    recorder: bool = False
    agent: bool = False
    can_subscribe_metrics: bool = False
    can_manage_agent_session: bool = False


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a token, and what for."""

    iss: str
    exp: float = 0  # a token without an end is taken, as LiveKit takes it
    sub: str = ""
    name: str = ""
    kind: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = {}
    video: Grants = Grants()
    room_config: Any = msgspec.field(name="roomConfig", default=None)
    room_preset: str = msgspec.field(name="roomPreset", default="")

    @property
    def identity(self) -> str:
        """The participant's unique name in its room."""
        return self.sub

    def permission(self) -> models.ParticipantPermission:
        """Give the permissions a participant with this token begins with.

        Raises:
            TokenError: a source that may be published is none of LiveKit's.
        """
        video, sources = self.video, self.video.can_publish_sources or ()
        if unknown := [name for name in sources if name not in SOURCES]:
            raise TokenError(f"canPublishSources names {unknown[0]!r}; known are {', '.join(SOURCES)}")
        asked = {name: getattr(video, name) is not False for name in _GRANTED_UNLESS_DENIED}
        return models.ParticipantPermission(
            **asked,
            can_publish_sources=[SOURCES[name] for name in sources],
            can_update_metadata=bool(video.can_update_own_metadata),
            **{name: getattr(video, name) for name in _FLAGS},
        )


def verify(token: str, key: Key) -> Claims:
    """Check a token and give what it says.

    Raises:
        TokenError: it is not ours, not yet or no longer good, or says nonsense.
    """
    try:
        needed: jwt.types.Options = {"require": ["iss"]}
        said = jwt.decode(token, key.api_secret, ["HS256"], needed, issuer=key.api_key, leeway=LEEWAY_S)
        claims = msgspec.convert(said, Claims)
    except (jwt.InvalidTokenError, msgspec.ValidationError) as error:
        reason = type(error).__name__  # the error's own words may repeat the token
        raise TokenError(f"invalid authorization token: {reason}") from None
    if claims.kind.lower() not in ("", *KINDS):
        raise TokenError("invalid authorization token: unknown kind")
    return claims


def mint(claims: Claims, key: Key, *, now: float, for_s: int = REFRESHED_FOR_S) -> str:
    """Sign claims anew, good from ``now`` (seconds since 1970) for ``for_s`` seconds."""
    said: dict[str, Any] = msgspec.to_builtins(claims)
    said |= {"iss": key.api_key, "nbf": int(now), "exp": int(now) + for_s}
    said["video"] = {name: value for name, value in said["video"].items() if value is not None}
    return jwt.encode(said, key.api_secret, algorithm="HS256")


def granted(grants: Grants, permission: models.ParticipantPermission) -> Grants:
    """Give the grants of a token with the permissions that its holder has by now."""
    names = {number: name for name, number in SOURCES.items()}
    sources = [names[source] for source in permission.can_publish_sources if source in names]
    now = {name: getattr(permission, name) for name in _GRANTED_UNLESS_DENIED}
    own = permission.can_update_metadata
    return msgspec.structs.replace(grants, can_publish_sources=sources, can_update_own_metadata=own, **now)
