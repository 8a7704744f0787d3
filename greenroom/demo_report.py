"""What a demo found: fields for programs, checks as sentences, a table for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from greenroom.synthetic_picture import FRAMES_PER_S

if TYPE_CHECKING:
    from rich.table import Table

MAX_AV_OFFSET_MS: Final = 80.0
# Frames sent before the recorder had subscribed and asked for a keyframe are nobody's loss.
_START_FRAMES: Final = FRAMES_PER_S
_MIN_SHARE: Final = 0.9
_END_TOLERANCE_S: Final = 2.0
_CLAIM_TOLERANCE_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRecording:
    """The stored recording.

    ``mode`` is how its media was taken; ``chunks`` are files, ``tree_size`` leaves that
    count; ``root`` is hex.
    """

    id: str
    path: str
    mode: str
    chunks: int
    bytes: int
    tree_size: int
    root: str
    verified: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoExport:
    """The exported file, as the export says it is."""

    path: str
    duration_s: float
    video_frames: int
    audio_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoDecoded:
    """What was found in the exported file by decoding it."""

    duration_s: float
    video_frames: int
    audio_s: float
    unread_frames: int
    first_counter: int
    last_counter: int
    counter_monotonic: bool
    av_offset_ms: float | None


@dataclass(slots=True, kw_only=True)
class DemoReport:
    """Everything that was measured; what did not happen stays None.

    Attributes:
        states: room states in the order in which they were told.
        events: names of all events of the session, in order.
        problems: one sentence for each thing that did not hold.
    """

    seconds: float
    session_id: str = ""
    states: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    time_to_token_ms: float | None = None
    time_to_ready_ms: float | None = None
    pong_ms: float | None = None
    frames_published: int = 0
    frames_skipped: int = 0
    recording_status: str = ""
    recording: DemoRecording | None = None
    export: DemoExport | None = None
    decoded: DemoDecoded | None = None
    total_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all of it held."""
        return not self.problems

    def as_json(self) -> str:
        """One JSON object on one line."""
        decoded = self.decoded
        extra: dict[str, Any] = {
            "ok": self.ok,
            "counter_monotonic": None if decoded is None else decoded.counter_monotonic,
            "av_offset_ms": None if decoded is None else decoded.av_offset_ms,
            "frames_seen": 0 if decoded is None else decoded.video_frames,
        }
        return json.dumps({**asdict(self), **extra})


def check(report: DemoReport) -> list[str]:
    """Say what does not hold, one sentence each; nothing when all does."""
    problems: list[str] = []
    if report.time_to_ready_ms is None:
        problems.append("the session was never told to be ready")
    if report.pong_ms is None:
        problems.append("the pong worker did not answer the ping")
    if not report.states or report.states[-1] != "Terminated":
        problems.append(f"the room's last state was {report.states[-1] if report.states else 'none'}")
    if "gap" in report.events:
        problems.append("the event stream had a gap")
    if report.recording_status != "completed":
        problems.append(f"the recording ended as {report.recording_status or 'nothing'}, not as completed")
    if report.recording is None:
        problems.append("no recording was found")
    elif not report.recording.verified:
        problems.append(f"the recording in {report.recording.path} does not verify")
    if report.export is None or report.decoded is None:
        problems.append("no exported file could be decoded")
        return problems
    return problems + _media_problems(report, report.export, report.decoded)


def _media_problems(report: DemoReport, export: DemoExport, decoded: DemoDecoded) -> list[str]:
    problems: list[str] = []
    if decoded.video_frames != export.video_frames:
        problems.append(
            f"the export says {export.video_frames} video frames, {decoded.video_frames} were decoded"
        )
    for name, claimed, found in (
        ("lasts", export.duration_s, decoded.duration_s),
        ("has sound for", export.audio_s, decoded.audio_s),
    ):
        if abs(claimed - found) > _CLAIM_TOLERANCE_S:
            problems.append(f"the export says it {name} {claimed:.2f} s, decoded are {found:.2f} s")
    least = _MIN_SHARE * (report.frames_published - _START_FRAMES)
    if decoded.video_frames < least:
        problems.append(
            f"of {report.frames_published} published frames {decoded.video_frames} were recorded, fewer than"
            f" {least:.0f}"
        )
    if abs(decoded.duration_s - report.seconds) > _END_TOLERANCE_S:
        problems.append(f"the file lasts {decoded.duration_s:.2f} s, {report.seconds:g} s were published")
    if abs(decoded.audio_s - report.seconds) > _END_TOLERANCE_S:
        problems.append(f"{decoded.audio_s:.2f} s of sound were recorded of {report.seconds:g} s")
    if decoded.unread_frames:
        problems.append(f"the counter of {decoded.unread_frames} frames cannot be read")
    if not decoded.counter_monotonic:
        problems.append("the drawn counter jumps back or stands still")
    if decoded.av_offset_ms is None:
        problems.append("no flash with its beep was found")
    elif abs(decoded.av_offset_ms) > MAX_AV_OFFSET_MS:
        problems.append(
            f"sound and picture are {decoded.av_offset_ms:.0f} ms apart, at most {MAX_AV_OFFSET_MS:g} ms are"
            " allowed"
        )
    return problems


def print_report(report: DemoReport, *, as_json: bool) -> None:
    """Print the report on standard output: one line of JSON, or a table and the problems."""
    if as_json:
        print(report.as_json(), flush=True)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(_table(report))
    for problem in report.problems:
        console.print(Text(f"Not so: {problem}.", style="red"))
    count = len(report.problems)
    verdict = f"{count} thing{'s' if count > 1 else ''} did not hold." if count else "All of it held."
    console.print(Text(verdict, style="bold green" if report.ok else "bold red"))


def _table(report: DemoReport) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title="Demo", title_justify="left", pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, text in _rows(report):
        table.add_row(name, Text(text))  # Text and not markup: a path may hold brackets
    return table


def _rows(report: DemoReport) -> list[tuple[str, str]]:
    rows = [
        ("session", report.session_id),
        ("room", " → ".join(report.states)),
        ("events", str(len(report.events))),
        ("token after", _ms(report.time_to_token_ms)),
        ("ready after", _ms(report.time_to_ready_ms)),
        ("pong after", _ms(report.pong_ms)),
        ("published", f"{report.frames_published} frames, {report.seconds:g} s"),
    ]
    if (recording := report.recording) is not None:
        verdict = "verified" if recording.verified else "NOT verified"
        rows += [
            ("recording", f"{recording.id}, {report.recording_status}, {verdict}"),
            (
                "stored",
                f"{recording.mode}, {recording.chunks} chunks, {recording.bytes:,} bytes in {recording.path}",
            ),
            ("root", recording.root),
        ]
    if (export := report.export) is not None:
        rows.append(("exported", export.path))
    if (decoded := report.decoded) is not None:
        offset = "unknown" if decoded.av_offset_ms is None else f"{decoded.av_offset_ms:+.0f} ms"
        rows += [
            (
                "decoded",
                f"{decoded.duration_s:.2f} s, {decoded.video_frames} frames, {decoded.audio_s:.2f} s sound",
            ),
            (
                "counter",
                f"{decoded.first_counter} to {decoded.last_counter},"
                f" {'always rising' if decoded.counter_monotonic else 'NOT always rising'}",
            ),
            ("sound after picture", offset),
        ]
    rows.append(("all in", f"{report.total_s:.1f} s"))
    return rows


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} ms"
