"""Tokens: the same claims as livekit-api's own, read back by its verifier, and never a weak secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest
from livekit import api

from orchestrator.adapters.livekit_tokens import LivekitTokens
from orchestrator.core.errors import SettingsError
from orchestrator.core.grants import Grant, client_grant, operator_grant, recorder_grant, worker_grant
from orchestrator.core.ids import Identity, RoomName, ServiceId, SessionId

KEY, SECRET = "key", "s" * 40
ROOM = RoomName("the room ü")
GRANTS = {
    "client": client_grant(ROOM, Identity("anna"), "Anna Ö", session_id=SessionId("s1"), number=3),
    "operator": operator_grant(ROOM, Identity("olga"), "Olga"),
    "worker": worker_grant(ROOM, ServiceId("asr"), 2, session_id=SessionId("s1")),
    "recorder": recorder_grant(ROOM, ServiceId("recorder"), 1),
}
MINT = LivekitTokens(api_key=KEY, api_secret=SECRET, ttl_s=300)


def _claims(token: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, SECRET, algorithms=["HS256"])
    return claims


def _theirs(grant: Grant, attributes: dict[str, str]) -> str:
    token = api.AccessToken(KEY, SECRET).with_identity(grant.identity).with_name(grant.name)
    token = token.with_ttl(timedelta(seconds=300)).with_attributes(attributes)
    if grant.kind == "agent":
        token = token.with_kind("agent")
    video = api.VideoGrants(
        room_join=True,
        room=grant.room_name,
        can_publish=grant.can_publish,
        can_subscribe=grant.can_subscribe,
        can_publish_data=grant.can_publish_data,
        hidden=grant.hidden or None,
        recorder=grant.recorder or None,
    )
    return token.with_grants(video).to_jwt()


@pytest.mark.parametrize("role", GRANTS)
def test_claims_equal_those_of_livekits_own(role: str) -> None:
    ours = _claims(MINT.mint(GRANTS[role]).jwt)
    attributes = {"greenroom.role": role}
    if role in ("client", "operator"):
        attributes["greenroom.grant"] = {"client": "3", "operator": "0"}[role]
    if role in ("client", "worker"):
        attributes["greenroom.session"] = "s1"
    if role in ("worker", "recorder"):
        service = {"worker": ("asr", "2"), "recorder": ("recorder", "1")}[role]
        attributes |= {"greenroom.service": service[0], "greenroom.attempt": service[1]}
    theirs = _claims(_theirs(GRANTS[role], attributes))
    for moment in ("nbf", "exp"):
        assert abs(int(str(ours.pop(moment))) - int(str(theirs.pop(moment)))) <= 1
    assert ours == theirs


@pytest.mark.parametrize("role", GRANTS)
def test_livekits_verifier_accepts_them(role: str) -> None:
    claims = api.TokenVerifier(KEY, SECRET).verify(MINT.mint(GRANTS[role]).jwt)
    assert claims.identity == GRANTS[role].identity
    assert claims.video is not None
    assert claims.video.room == ROOM
    assert claims.video.can_update_own_metadata is None
    assert not claims.video.room_admin


def test_a_token_says_when_it_ends() -> None:
    token = MINT.mint(GRANTS["client"])
    claims = _claims(token.jwt)
    assert claims["exp"] == int(token.expires_at.timestamp())
    assert int(str(claims["exp"])) - int(str(claims["nbf"])) == 300
    assert timedelta(seconds=298) < token.expires_at - datetime.now(UTC) <= timedelta(seconds=300)
    assert token.jwt not in repr(token)


def test_a_weak_secret_is_refused_and_not_shown() -> None:
    weak = "w" * 31
    with pytest.raises(SettingsError, match=r"livekit\.api_secret has 31 bytes") as caught:
        LivekitTokens(api_key=KEY, api_secret=weak, ttl_s=300)
    assert weak not in str(caught.value)
