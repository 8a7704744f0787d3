"""A report reads as sentences and ends as an exit code."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes.recordings import RECORDING
from vault.core.custody_record import CustodyRecord, ShreddedAttempt
from vault.verification_report import AttemptReport, Problem, TrackReport, VerificationReport

GOOD = VerificationReport(
    status="complete",
    recording_id=RECORDING,
    attempts=(AttemptReport(attempt=1, size=8, root="ab", unacknowledged=0, closed="own"),),
    tracks=(TrackReport(attempt=1, track=2, expected_s=10, recorded_s=9.5, gaps=2, cut=False),),
    root="cd",
    problems=(),
    ignored=(Problem("1/x.tmp", "a leftover"),),
)


def test_a_complete_recording() -> None:
    assert GOOD.exit_code == 0
    assert GOOD.first_bad is None
    assert GOOD.sentences() == [
        f"Recording {RECORDING} is complete and good: 8 chunks, root cd.",
        "Attempt 1: 8 chunks, root ab.",
        "Track 2 of attempt 1: 9.500 s recorded of 10.000 s expected, 2 gaps.",
        "Ignored 1/x.tmp: a leftover.",
    ]


def test_a_complete_recording_of_nothing_is_said_to_be_empty() -> None:
    attempt = AttemptReport(attempt=1, size=0, root="ab", unacknowledged=0, closed="own")
    silent = replace(GOOD, attempts=(attempt,), tracks=(), ignored=())
    assert silent.is_empty
    assert silent.exit_code == 0, "all of it is there"
    assert silent.sentences() == [
        f"Recording {RECORDING} is complete but empty: no media was recorded "
        "(nobody published while it ran); 0 chunks, root cd.",
        "Attempt 1: 0 chunks, root ab.",
    ]
    assert replace(GOOD, tracks=(replace(GOOD.tracks[0], expected_s=0, recorded_s=0, gaps=0),)).is_empty
    assert not GOOD.is_empty


def test_an_incomplete_recording() -> None:
    attempt = AttemptReport(attempt=1, size=8, root="ab", unacknowledged=3, closed="")
    track = replace(GOOD.tracks[0], gaps=1, cut=True)
    report = replace(GOOD, status="incomplete", root="", attempts=(attempt,), tracks=(track,), ignored=())
    assert report.exit_code == 3
    assert report.sentences() == [
        f"Recording {RECORDING} is good but incomplete at 8 chunks: it has no manifest yet.",
        "Attempt 1: 8 chunks, root ab; 3 more are good but not acknowledged.",
        "Track 2 of attempt 1: 9.500 s recorded of 10.000 s expected, 1 gap, cut at the end.",
    ]


def test_a_bad_recording_names_its_files_and_claims_nothing() -> None:
    problems = (Problem("1/chunk-0000000003", "it is missing"), Problem("manifest", "it is bad"))
    report = replace(GOOD, status="bad", problems=problems, ignored=())
    assert report.exit_code == 1
    assert report.first_bad == problems[0]
    assert report.sentences() == [
        f"Recording {RECORDING} is bad.",
        "1/chunk-0000000003: it is missing.",
        "manifest: it is bad.",
    ]


def test_a_recovered_attempt_is_said_so() -> None:
    attempt = AttemptReport(attempt=1, size=8, root="ab", unacknowledged=0, closed="recovered")
    assert (
        "Attempt 1: 8 chunks, root ab, closed by a successor."
        in replace(GOOD, attempts=(attempt,)).sentences()
    )


def test_a_shredded_recording_says_by_whom_and_is_good() -> None:
    attempt = ShreddedAttempt(attempt=1, size=8, root="ab" * 32, tenant="00" * 16, wall_start_us=0)
    tombstone = CustodyRecord(
        recording=RECORDING, number=1, action="shred", at_us=0, by="ann", reason="asked", attempts=[attempt]
    )
    report = replace(GOOD, status="shredded", custody=tombstone)
    assert report.exit_code == 0
    assert report.sentences()[:2] == [
        f"Recording {RECORDING} is shredded and its proof is good: 8 chunks, root cd.",
        "Shredded since 1970-01-01T00:00:00+00:00 by 'ann': 'asked'.",
    ]
    left = replace(report, status="shredding", keys_left=("1/key-record-0000000001",))
    assert left.exit_code == 3
    assert left.sentences()[0] == (
        f"Recording {RECORDING} is good, but its shredding is not finished: 1 key files are left; "
        "shred it again."
    )


def test_an_upload_has_chunks_and_no_seconds() -> None:
    track = TrackReport(attempt=1, track=1, expected_s=5.0, recorded_s=3.0, gaps=1, cut=False)
    sentences = replace(GOOD, capture="upload", tracks=(track,), ignored=()).sentences()
    assert sentences[-1] == "Upload of attempt 1: 3 chunks of 5 from the first index to the last."
    assert not any(" s " in sentence for sentence in sentences)
