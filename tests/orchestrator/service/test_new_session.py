"""What a request and the settings make of a new session."""

from __future__ import annotations

from itertools import count

from orchestrator.core.ids import ServiceId
from orchestrator.core.session import Limits
from orchestrator.core.step import Opening, Wanted
from orchestrator.service.new_session import NewSession, ServiceOptions, SessionPolicy, opening_of

POLICY = SessionPolicy(livekit_url="ws://127.0.0.1:7880", limits=Limits(ttl_s=60))


def opening(request: NewSession, policy: SessionPolicy = POLICY, *defaults: str) -> Opening:
    numbers = count(1)
    return opening_of(
        request,
        policy,
        new_id=lambda: f"id-{next(numbers)}",
        default_services=lambda: tuple(ServiceId(name) for name in defaults),
    )


def test_a_name_nobody_chose_is_made_of_the_session_id() -> None:
    assert opening(NewSession(user_identity="anna")).room_name == "room-id-1"
    assert opening(NewSession(user_identity="anna", room_name="lobby")).room_name == "lobby"


def test_services_are_the_default_ones_only_when_none_are_named() -> None:
    asked = NewSession(user_identity="anna")
    assert [w.service_id for w in opening(asked, POLICY, "asr", "tts").services] == ["asr", "tts"]
    none = NewSession(user_identity="anna", required_services=())
    assert opening(none, POLICY, "asr").services == ()


def test_options_add_services_and_say_how_each_is_treated() -> None:
    request = NewSession(
        user_identity="anna",
        required_services=("asr", "asr"),
        policy="strict",
        services={"asr": ServiceOptions(policy="degrade", priority=3), "tts": ServiceOptions(required=False)},
    )
    assert opening(request).services == (
        Wanted(service_id=ServiceId("asr"), required=True, strict=False, priority=3),
        Wanted(service_id=ServiceId("tts"), required=False, strict=True, priority=0),
    )


def test_it_is_recorded_when_asked_or_when_the_settings_say_so() -> None:
    always = SessionPolicy(livekit_url="", limits=Limits(), record_auto=True)
    assert opening(NewSession(user_identity="anna")).recording_id is None
    assert opening(NewSession(user_identity="anna", record=True)).recording_id == "id-2"
    assert opening(NewSession(user_identity="anna"), always).recording_id == "id-2"
    assert opening(NewSession(user_identity="anna", record=False), always).recording_id is None


def test_the_callers_limits_win_over_the_settings() -> None:
    request = NewSession(user_identity="anna", expires_in_s=5, max_duration_s=7)
    capped = SessionPolicy(livekit_url="", limits=Limits(ttl_s=60), max_duration_s=100)
    made = opening(request, capped)
    assert (made.limits.ttl_s, made.max_duration_s) == (5, 7)
    assert opening(NewSession(user_identity="anna"), capped).max_duration_s == 100
