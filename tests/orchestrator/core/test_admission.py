"""Who may be in the room: removal, role change, tokens of another session, and how somebody comes back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.admission import MAX_STANDINGS, refusal, standing_of
from orchestrator.core.commands import LeaveJob, RemoveParticipant
from orchestrator.core.errors import BarredError, IllegalTransitionError
from orchestrator.core.events import ClientLeft, MicroserviceLeft, ParticipantRemoved
from orchestrator.core.grants import Standing
from orchestrator.core.ids import Identity
from orchestrator.core.jobs import JobState
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import Participant, RemovalAsked, RoleAsked, TerminateAsked
from tests.orchestrator.core.playing import (
    CREATED,
    Played,
    client,
    decide,
    gone,
    in_state,
    offer,
    opened,
    play,
    seen,
    serve,
    worker,
)

ANN = Identity("ann")
BAR = RemovalAsked(identity=ANN)
PUT_OUT = RemovalAsked(identity=ANN, is_barred=False)


def ann(sid: str = "PA_ann", *, grant: int = 0, session_id: str = "s1") -> Participant:
    """Ann with a token of ours."""
    return replace(client("ann", sid), grant=grant, session_id=session_id)


def active() -> Played:
    """A session with Ann in its room."""
    return play(opened(), CREATED, seen(ann()))


def removals(played: Played) -> list[str]:
    """Whom LiveKit is asked to put out."""
    return [command.identity for command in played.commands if isinstance(command, RemoveParticipant)]


# --- removed and kept out ---


def test_a_removed_client_is_out_at_once_and_gets_no_token() -> None:
    removed = play(active(), BAR)
    assert removed.session.standings == {ANN: Standing(number=1, is_barred=True)}
    assert removals(removed) == ["ann"]
    assert removed.events[:2] == (
        ClientLeft(session_id="s1", user_identity="ann"),
        ParticipantRemoved(session_id="s1", identity="ann", reason="removed by a caller"),
    )
    assert removed.session.room_status is RoomStatus.READY
    with pytest.raises(BarredError, match="'ann' was removed from this session and is kept out"):
        standing_of(removed.session, ANN)


@pytest.mark.parametrize("grant", [0, 1, 9])
def test_whatever_token_a_barred_one_comes_back_with_it_never_counts(grant: int) -> None:
    back = play(play(active(), BAR), seen(ann("PA_2", grant=grant)))
    assert removals(back) == ["ann"]
    assert back.names == ["participant_removed"]
    assert back.session.room_status is RoomStatus.READY
    assert not back.session.participants


def test_who_is_seen_again_before_livekit_put_them_out_is_asked_for_again_and_not_said_again() -> None:
    removed = play(active(), BAR)
    again = play(removed, seen(ann()), seen(ann()))
    assert removals(again) == ["ann", "ann"]
    assert again.events == ()


def test_somebody_who_was_never_there_can_be_kept_out() -> None:
    removed = play(in_state(RoomStatus.READY), BAR)
    assert removals(removed) == ["ann"]  # LiveKit may know of one whom we do not know yet
    assert removed.names == ["participant_removed"]


def test_removing_again_is_the_same_and_says_nothing_new() -> None:
    again = play(play(active(), BAR), BAR)
    assert again.session.standings[ANN].number == 1
    assert again.events == ()


def test_with_bar_false_old_tokens_are_useless_and_a_new_one_counts() -> None:
    removed = play(active(), PUT_OUT)
    assert standing_of(removed.session, ANN) == Standing(number=1)
    old = play(removed, seen(ann("PA_2", grant=0)))
    assert (removals(old), old.session.room_status) == (["ann"], RoomStatus.READY)
    new = play(removed, seen(ann("PA_3", grant=1)))
    assert (removals(new), new.session.room_status) == ([], RoomStatus.ACTIVE)


def test_bar_false_lets_a_barred_one_ask_again() -> None:
    pardoned = play(active(), BAR, PUT_OUT)
    assert standing_of(pardoned.session, ANN) == Standing(number=2)
    assert refusal(pardoned.session, ann(grant=1)) is not None
    assert refusal(pardoned.session, ann(grant=2)) is None


def test_others_are_not_touched_by_a_removal() -> None:
    both = play(active(), seen(client("bob", "PA_bob")))
    removed = play(both, BAR)
    assert removed.session.room_status is RoomStatus.ACTIVE
    assert [p.identity for p in removed.session.participants.values()] == ["bob"]


@pytest.mark.parametrize("status", [RoomStatus.TERMINATING, RoomStatus.TERMINATED])
@pytest.mark.parametrize("trigger", [BAR, RoleAsked(identity=ANN, role="operator")])
def test_an_ended_session_has_nobody_to_remove(status: RoomStatus, trigger: RemovalAsked | RoleAsked) -> None:
    with pytest.raises(IllegalTransitionError, match="its room is closed to everybody"):
        decide(in_state(status), trigger)


def test_the_standings_of_a_session_are_bounded_and_a_full_one_says_so() -> None:
    session = in_state(RoomStatus.READY)
    full = {Identity(f"u{n}"): Standing(number=1) for n in range(MAX_STANDINGS)}
    session = replace(session, standings=full)
    with pytest.raises(IllegalTransitionError, match="the limit is 256"):
        decide(session, BAR)
    known = decide(session, RemovalAsked(identity=Identity("u7")))
    assert known.session.standings[Identity("u7")].is_barred


# --- roles ---


def test_another_role_puts_out_the_connection_of_the_earlier_one() -> None:
    changed = play(active(), RoleAsked(identity=ANN, role="operator"))
    assert changed.session.standings == {ANN: Standing(number=1, role="operator")}
    assert removals(changed) == ["ann"]
    assert ParticipantRemoved(session_id="s1", identity="ann", reason="the role changed") in changed.events
    as_operator = replace(ann("PA_2", grant=1), role="operator")
    assert refusal(changed.session, as_operator) is None
    assert refusal(changed.session, ann("PA_3", grant=0)) is not None
    assert refusal(changed.session, ann("PA_4", grant=1)) is not None  # minted as a client by somebody else


def test_the_same_role_changes_nothing() -> None:
    assert decide(active(), RoleAsked(identity=ANN, role="client")).is_empty
    changed = play(active(), RoleAsked(identity=ANN, role="operator"))
    assert decide(changed, RoleAsked(identity=ANN, role="operator")).is_empty


def test_a_barred_one_gets_no_other_role() -> None:
    with pytest.raises(BarredError):
        decide(play(active(), BAR), RoleAsked(identity=ANN, role="operator"))


def test_a_worker_has_no_other_role() -> None:
    served = play(opened("asr"), CREATED, *serve("asr"))
    with pytest.raises(IllegalTransitionError, match="'asr#2' is the name of a service"):
        decide(served, RoleAsked(identity=Identity("asr#2"), role="operator"))


# --- tokens of others ---


def test_a_token_of_another_session_does_not_count_in_a_room_of_the_same_name() -> None:
    intruder = play(in_state(RoomStatus.READY), seen(ann(session_id="s0")))
    assert (removals(intruder), intruder.names) == (["ann"], ["participant_removed"])
    assert intruder.session.room_status is RoomStatus.READY


def test_a_worker_of_another_session_does_not_do_this_ones_job() -> None:
    asked = play(opened("asr"), CREATED, offer())
    stranger = replace(worker("asr"), session_id="s0")
    found = play(asked, seen(stranger))
    assert removals(found) == ["asr"]
    assert found.job("asr").state is JobState.OFFERED
    assert play(asked, seen(replace(worker("asr"), session_id="s1"))).job("asr").state is JobState.JOINED


def test_who_was_let_in_by_somebody_else_counts_as_a_client_until_removed() -> None:
    stranger = client("zoe", "PA_zoe")
    there = play(in_state(RoomStatus.READY), seen(stranger))
    assert there.session.room_status is RoomStatus.ACTIVE
    removed = play(there, RemovalAsked(identity=stranger.identity, is_barred=False))
    back = play(removed, seen(replace(stranger, sid=client("zoe", "PA_zoe2").sid)))
    assert (removals(back), back.session.room_status) == (["zoe"], RoomStatus.READY)


# --- workers and the recorder ---


def test_a_removed_workers_attempt_is_lost_and_its_job_offered_again() -> None:
    removed = play(play(opened("asr"), CREATED, *serve("asr")), RemovalAsked(identity=Identity("asr")))
    assert removed.job("asr").state is JobState.PENDING
    assert removals(removed) == ["asr"]
    assert [c.is_stale for c in removed.commands if isinstance(c, LeaveJob)] == [True]
    assert MicroserviceLeft(session_id="s1", service_id="asr") in removed.events
    assert "job_lost" in removed.names
    assert removed.session.degraded
    assert not removed.session.standings  # the attempt number keeps it out
    healed = play(removed, offer(1, "w2"), seen(worker("asr", 2)))
    assert not healed.session.degraded
    late = play(healed, seen(worker("asr", 1, sid="PA_zombie")))
    assert removals(late) == ["asr"]


def test_an_older_attempt_is_removed_without_touching_the_newer() -> None:
    first = play(opened("asr"), CREATED, *serve("asr"), gone(worker("asr")))
    second = play(play(first, RemovalAsked(identity=Identity("asr"))), offer(1, "w2"), seen(worker("asr", 2)))
    removed = play(second, RemovalAsked(identity=Identity("asr")))
    assert removals(removed) == ["asr"]
    assert removed.job("asr").state is JobState.JOINED


@pytest.mark.parametrize("identity", ["recorder", "recorder#2"])
def test_the_recorder_is_not_removed_like_this(identity: str) -> None:
    recorded = play(opened(record=True), CREATED, *serve("recorder"))
    with pytest.raises(IllegalTransitionError, match="stop the recording, or end the session"):
        decide(recorded, RemovalAsked(identity=Identity(identity)))


# --- while ending ---


def test_while_ending_who_was_there_may_stay_and_nobody_else() -> None:
    ending = play(active(), TerminateAsked()).session
    assert refusal(ending, ann()) is None
    assert refusal(ending, ann("PA_2")) == "the session is ending"
