"""Every cell of state × trigger of a session, and what is repeated."""

from __future__ import annotations

from typing import get_args

import pytest

from orchestrator.core.draft import Decision
from orchestrator.core.errors import IllegalTransitionError, StaleAttemptError
from orchestrator.core.ids import Identity, JobId, RecordingId, RoomSid
from orchestrator.core.recording import RecordingStatus
from orchestrator.core.states import RoomStatus
from orchestrator.core.triggers import (
    DeadlineReached,
    JobAccepted,
    JobDone,
    JobLost,
    JobOffered,
    JobReady,
    JobRefused,
    ParticipantsSeen,
    RecordingControlAsked,
    RecordingDeletionDone,
    RecordingReported,
    RecordingStartAsked,
    RemovalAsked,
    RoleAsked,
    RoomCreated,
    RoomCreateFailed,
    RoomDeleted,
    RoomFinished,
    RoomLost,
    TerminateAsked,
    Trigger,
)
from tests.orchestrator.core.playing import (
    NOW,
    ROOM,
    Played,
    accept,
    client,
    decide,
    in_state,
    offer,
    report,
    seen,
)

LOST = RoomLost(sid=ROOM)
AGAIN = RoomCreated(sid=RoomSid("RM_2"))

EXAMPLES: dict[type[Trigger], Trigger] = {
    RoomCreated: AGAIN,
    RoomCreateFailed: RoomCreateFailed(detail="no"),
    RoomLost: LOST,
    RoomFinished: RoomFinished(sid=ROOM),
    RoomDeleted: RoomDeleted(),
    ParticipantsSeen: seen(client("bob", "PA_bob")),
    JobOffered: offer(),
    JobAccepted: accept(),
    JobRefused: JobRefused(job_id=JobId("s1-1"), attempt=1, detail="no"),
    JobReady: JobReady(job_id=JobId("s1-1"), attempt=1),
    JobDone: JobDone(job_id=JobId("s1-1"), attempt=1),
    JobLost: JobLost(job_id=JobId("s1-1"), attempt=1, detail="no"),
    TerminateAsked: TerminateAsked(),
    RemovalAsked: RemovalAsked(identity=Identity("bob")),
    RoleAsked: RoleAsked(identity=Identity("bob"), role="operator"),
    DeadlineReached: DeadlineReached(name="expires", arming=2),
    RecordingReported: report(RecordingStatus.RECORDING, n=1),
    RecordingStartAsked: RecordingStartAsked(recording_id=RecordingId("rec1")),
    RecordingControlAsked: RecordingControlAsked(op="pause"),
    RecordingDeletionDone: RecordingDeletionDone(recording_id=RecordingId("rec1"), cause="asked"),
}
# How the status looks after each trigger, in the states of a session that asked for one service.
_C, _W, _R, _A, _T, _X = "Creating", "WaitingForServices", "Ready", "Active", "Terminating", "Terminated"
AFTER: dict[type[Trigger], tuple[str, ...]] = {
    #                  Creating  Waiting  Ready  Active  Terminating  Terminated
    RoomCreated: (_W, _W, _R, _A, _T, _X),
    RoomCreateFailed: (_T, _W, _R, _A, _T, _X),
    RoomLost: (_C, _W, _R, _A, _T, _X),
    RoomFinished: (_C, _T, _T, _T, _T, _X),
    RoomDeleted: (_C, _W, _R, _A, _T, _X),
    ParticipantsSeen: (_C, _W, _A, _A, _T, _X),
    JobOffered: ("illegal", _W, "illegal", "illegal", "illegal", "illegal"),
    JobAccepted: ("stale", "stale", _R, _A, _T, "stale"),
    JobRefused: ("stale", "stale", _R, _A, _T, "stale"),
    JobReady: ("stale", "stale", _R, _A, _T, "stale"),
    JobDone: ("stale", "stale", _R, _A, _T, "stale"),
    JobLost: ("stale", "stale", _R, _A, _T, "stale"),
    TerminateAsked: (_T, _T, _T, _T, _T, _X),
    RemovalAsked: (_C, _W, _R, _A, "illegal", "illegal"),
    RoleAsked: (_C, _W, _R, _A, "illegal", "illegal"),
    DeadlineReached: (_T, _T, _T, _A, _T, _X),
    RecordingReported: ("stale", "stale", "illegal", "illegal", "illegal", "stale"),
    RecordingStartAsked: (_C, _W, _R, _A, "illegal", "illegal"),
    RecordingControlAsked: ("illegal",) * 6,
    RecordingDeletionDone: (_C, _W, _R, _A, _T, _X),
}


@pytest.mark.parametrize("kind", get_args(Trigger), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("status", RoomStatus)
def test_every_cell_of_state_and_trigger(status: RoomStatus, kind: type[Trigger]) -> None:
    session = in_state(status, "asr")
    expected = AFTER[kind][list(RoomStatus).index(status)]
    if expected == "illegal":
        with pytest.raises(IllegalTransitionError):
            decide(session, EXAMPLES[kind])
    elif expected == "stale":
        with pytest.raises(StaleAttemptError):
            decide(session, EXAMPLES[kind])
    else:
        assert decide(session, EXAMPLES[kind]).session.room_status.value == expected


@pytest.mark.parametrize("status", RoomStatus)
@pytest.mark.parametrize("kind", [RoomCreated, RoomLost, RoomFinished, ParticipantsSeen, TerminateAsked])
def test_what_is_repeated_decides_nothing_the_second_time(status: RoomStatus, kind: type[Trigger]) -> None:
    once: Decision = decide(in_state(status, "asr"), EXAMPLES[kind])
    twice = decide(Played(session=once.session, events=(), commands=(), now=NOW), EXAMPLES[kind])
    # A room that came too late, and who comes into an ending one, are sent away each time.
    assert twice.is_empty or (twice.commands and not once.session.is_live)
