"""What a verification found: for programs as fields, for people as sentences, for shells as an exit code.

Source: docs/RECORDING.md §10.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from vault.core.custody_record import CustodyRecord
from vault.core.ids import RecordingId
from vault.core.manifest import CaptureMode

Status = Literal["complete", "incomplete", "bad", "shredded", "shredding"]

_EXIT_CODES: Final[dict[Status, int]] = {
    "complete": 0,
    "shredded": 0,
    "bad": 1,
    "incomplete": 3,
    "shredding": 3,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not what was recorded, and why, as the rest of a sentence."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptReport:
    """One attempt.

    Attributes:
        size: leaves that count: the closed size, without a manifest the last checkpoint's.
        root: hex, over ``size`` leaves; empty when some of them are bad or missing.
        unacknowledged: good leaves after ``size`` that no checkpoint covers yet; they do not count.
        closed: ``own`` or ``recovered`` as the manifest says; empty without one.
    """

    attempt: int
    size: int
    root: str
    unacknowledged: int
    closed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackReport:
    """Coverage of one track of one attempt, in seconds.

    Attributes:
        cut: the track has no final chunk: its recorder was stopped from outside, or still runs.
    """

    attempt: int
    track: int
    expected_s: float
    recorded_s: float
    gaps: int
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """The result of a verification.

    Attributes:
        status: ``shredded``: good, and its keys are destroyed; ``shredding``: good and under a tombstone,
            but files that may hold a wrapped key are left.
        root: hex, over all attempts; empty unless complete or shredded.
        problems: the bad files, first bad one first; at most `MAX_PROBLEMS` are listed.
        ignored: files that are no part of the recording, and why.
        capture: how the media was taken, as the manifest says; empty unless complete.
        custody: the decree in force: a hold, a release or the tombstone.
        keys_left: of a shredded recording, the files that shredding has still to destroy.
    """

    status: Status
    recording_id: RecordingId
    attempts: tuple[AttemptReport, ...]
    tracks: tuple[TrackReport, ...]
    root: str
    problems: tuple[Problem, ...]
    ignored: tuple[Problem, ...]
    capture: CaptureMode | Literal[""] = ""
    custody: CustodyRecord | None = None
    keys_left: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 complete and good, or shredded and good; 3 good but incomplete, or not yet shredded; 1 bad."""
        return _EXIT_CODES[self.status]

    @property
    def is_empty(self) -> bool:
        """Whether it holds no media: nobody published, or nothing of it is good and counts."""
        return not any(track.recorded_s for track in self.tracks)

    @property
    def first_bad(self) -> Problem | None:
        """The first bad file; None when all is good."""
        return self.problems[0] if self.problems else None

    def sentences(self) -> list[str]:
        """The report for a person, one sentence a line."""
        return list(self._sentences())

    def _sentences(self) -> Iterator[str]:
        leaves = sum(attempt.size for attempt in self.attempts)
        match self.status:
            case "complete" if self.is_empty:
                yield (
                    f"Recording {self.recording_id} is complete but empty: no media was recorded "
                    f"(nobody published while it ran); {leaves} chunks, root {self.root}."
                )
            case "complete":
                yield (
                    f"Recording {self.recording_id} is complete and good: {leaves} chunks, root {self.root}."
                )
            case "incomplete":
                yield (
                    f"Recording {self.recording_id} is good but incomplete at {leaves} chunks: "
                    "it has no manifest yet."
                )
            case "bad":
                yield f"Recording {self.recording_id} is bad."
            case "shredded":
                yield (
                    f"Recording {self.recording_id} is shredded and its proof is good: {leaves} chunks, "
                    f"root {self.root}."
                )
            case "shredding":
                yield (
                    f"Recording {self.recording_id} is good, but its shredding is not finished: "
                    f"{len(self.keys_left)} key files are left; shred it again."
                )
        if self.custody is not None and self.status != "bad":
            yield _custody_sentence(self.custody)
        for problem in self.problems:
            yield f"{problem.file}: {problem.reason}."
        if self.status != "bad":
            for attempt in self.attempts:
                yield _attempt_sentence(attempt)
            for track in self.tracks:
                if self.capture == "upload":
                    yield _upload_sentence(track)
                else:
                    yield _track_sentence(track)
        for ignored in self.ignored:
            yield f"Ignored {ignored.file}: {ignored.reason}."


def _custody_sentence(custody: CustodyRecord) -> str:
    seconds, micros = divmod(custody.at_us, 1_000_000)
    at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros).isoformat(timespec="seconds")
    done = {"hold": "Under legal hold", "release": "Released from legal hold", "shred": "Shredded"}
    return f"{done[custody.action]} since {at} by {custody.by!r}: {custody.reason!r}."


def _attempt_sentence(attempt: AttemptReport) -> str:
    text = f"Attempt {attempt.attempt}: {attempt.size} chunks, root {attempt.root}"
    if attempt.closed == "recovered":
        text += ", closed by a successor"
    if attempt.unacknowledged:
        text += f"; {attempt.unacknowledged} more are good but not acknowledged"
    return text + "."


def _upload_sentence(track: TrackReport) -> str:
    """A chunk of an upload lies at its index and lasts for one; docs/RECORDING.md §15."""
    return (
        f"Upload of attempt {track.attempt}: {track.recorded_s:.0f} chunks of {track.expected_s:.0f} from the"
        " first index to the last."
    )


def _track_sentence(track: TrackReport) -> str:
    text = (
        f"Track {track.track} of attempt {track.attempt}: {track.recorded_s:.3f} s recorded of "
        f"{track.expected_s:.3f} s expected"
    )
    if track.gaps:
        text += f", {track.gaps} gap{'s' if track.gaps > 1 else ''}"
    return f"{text}{', cut at the end' if track.cut else ''}."
