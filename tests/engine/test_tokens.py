"""Tokens are read as LiveKit reads them, by its own library's making."""

from __future__ import annotations

import base64
import time
from datetime import timedelta

import jwt
import pytest
from livekit import api
from livekit.protocol import models

from engine import tokens
from engine.tokens import TokenError
from tests.engine.clients import KEY


def minted(**grants: object) -> api.AccessToken:
    token = api.AccessToken(KEY.api_key, KEY.api_secret)
    return token.with_identity("ada").with_grants(api.VideoGrants(**grants))  # type: ignore[arg-type]


def test_a_token_of_livekits_library_is_read_whole() -> None:
    grants = api.VideoGrants(
        room_join=True, room="tea", can_publish_sources=["camera"], can_subscribe=False, hidden=True
    )
    token = api.AccessToken(KEY.api_key, KEY.api_secret).with_identity("ada").with_name("Ada")
    token = token.with_kind("agent").with_metadata("m").with_attributes({"a": "1"}).with_grants(grants)
    claims = tokens.verify(token.to_jwt(), KEY)
    assert (claims.identity, claims.name, claims.kind, claims.metadata) == ("ada", "Ada", "agent", "m")
    assert claims.attributes == {"a": "1"}
    permission = claims.permission()
    assert list(permission.can_publish_sources) == [models.CAMERA]
    assert (permission.can_publish, permission.can_subscribe, permission.hidden) == (True, False, True)


def test_what_a_token_does_not_mention_is_allowed_but_not_its_own_metadata() -> None:
    said = {"iss": KEY.api_key, "exp": time.time() + 60, "video": {"roomJoin": True, "room": "tea"}}
    permission = tokens.verify(jwt.encode(said, KEY.api_secret, algorithm="HS256"), KEY).permission()
    assert permission.can_publish
    assert permission.can_publish_data
    assert permission.can_subscribe
    assert not permission.can_update_metadata


def test_a_token_is_good_for_a_minute_beyond_its_end_as_at_livekit() -> None:
    late = minted(room_join=True, room="tea").with_ttl(timedelta(seconds=-50)).to_jwt()
    assert tokens.verify(late, KEY).identity == "ada"
    with pytest.raises(TokenError, match="Expired"):
        tokens.verify(minted(room_join=True, room="tea").with_ttl(timedelta(seconds=-70)).to_jwt(), KEY)


def test_a_token_without_an_end_is_taken_as_livekit_takes_it() -> None:
    token = jwt.encode({"iss": KEY.api_key, "sub": "ada"}, KEY.api_secret, algorithm="HS256")
    assert tokens.verify(token, KEY).identity == "ada"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"iss": "somebody"},
        {"video": []},
        {"kind": "king"},
        {"attributes": {"a": 1}},
    ],
    ids=str,
)
def test_a_bad_token_is_refused_without_being_repeated(claims: dict[str, object]) -> None:
    said = {"iss": KEY.api_key, "exp": time.time() + 60, "sub": "ada", **claims}
    token = jwt.encode({k: v for k, v in said.items() if v is not None}, KEY.api_secret, algorithm="HS256")
    with pytest.raises(TokenError) as refused:
        tokens.verify(token, KEY)
    assert token not in str(refused.value)


def test_a_token_signed_by_another_or_by_nobody_is_refused() -> None:
    said = {"iss": KEY.api_key, "exp": time.time() + 60}
    forged = jwt.encode(said, "another secret of at least 32 characters", algorithm="HS256")
    unsigned = jwt.encode(said, "", algorithm="none")
    brackets = base64.urlsafe_b64encode(b"[" * 100_000).decode()
    for token in (forged, unsigned, "", "a.b.c", f"{brackets}.{brackets}.c"):
        with pytest.raises(TokenError):
            tokens.verify(token, KEY)


def test_a_source_that_does_not_exist_is_refused() -> None:
    token = minted(room_join=True, room="tea", can_publish_sources=["door"]).to_jwt()
    with pytest.raises(TokenError, match="'door'"):
        tokens.verify(token, KEY).permission()


def test_a_renewed_token_says_the_same_and_livekits_library_takes_it() -> None:
    token = minted(room_join=True, room="tea", can_publish=False).with_attributes(
        {"greenroom.role": "client"}
    )
    claims = tokens.verify(token.to_jwt(), KEY)
    renewed = tokens.mint(claims, KEY, now=time.time())
    said = api.TokenVerifier(KEY.api_key, KEY.api_secret).verify(renewed)
    assert said.video is not None
    assert (said.identity, said.video.room, said.video.can_publish) == ("ada", "tea", False)
    assert said.attributes == {"greenroom.role": "client"}
    assert tokens.verify(renewed, KEY).permission() == claims.permission()


def test_renewed_grants_follow_the_permissions() -> None:
    claims = tokens.verify(minted(room_join=True, room="tea").to_jwt(), KEY)
    less = models.ParticipantPermission(can_subscribe=True, can_publish_sources=[models.SCREEN_SHARE])
    grants = tokens.granted(claims.video, less)
    assert (grants.can_publish, grants.can_subscribe, grants.room) == (False, True, "tea")
    assert grants.can_publish_sources == ["screen_share"]
