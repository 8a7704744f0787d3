"""Writes HLS playlists of a recording: which tracks there are, and which parts of a few seconds each has.

A part is some segments of one run. Once it is in a playlist it stays as it is while the recording grows.

Source: RFC 8216; RFC 8216bis for EXT-X-PLAYLIST-TYPE, EXT-X-MAP in version 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from orchestrator.web.errors import rfc3339
from orchestrator.web.playback_errors import NotPlayableError
from vault.core.coverage import MIN_GAP_US
from vault.open_recording import OpenRecording, PlayRun, PlayTrack

SHORT_US: Final = 2_000_000  # a part may end before a keyframe from here on
LONG_US: Final = 6_000_000  # and does here
TARGET_S: Final = 8  # at least: the last segment of a part may be long
_CODECS: Final = frozenset({"h264", "opus"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Segments ``first`` to ``last`` (inclusive) of a run; times on the recording's timeline."""

    run: PlayRun
    first: int
    last: int

    @property
    def name(self) -> str:
        """Its address below its track's."""
        return f"{self.run.number}/{self.first}-{self.last}.m4s"

    @property
    def start_us(self) -> int:
        """When its first picture or sound is due."""
        return self.run.time_us(self.run.segments[self.first].first_pts)

    @property
    def end_us(self) -> int:
        """When its last one is over."""
        last = self.run.segments[self.last]
        return self.run.time_us(last.first_pts + last.duration_pts)

    @property
    def size_bytes(self) -> int:
        """Of its media."""
        return sum(one.size_bytes for one in self.run.segments[self.first : self.last + 1])


def check_playable(recording: OpenRecording) -> None:
    """Refuse what HLS does not take.

    Raises:
        NotPlayableError: a track has another codec or container; the sentence names it and the other ways.
    """
    for track in recording.tracks:
        for run in track.runs:
            about = run.prologue
            if about.codec not in _CODECS or not about.mime.startswith(f"{about.kind}/mp4"):
                raise NotPlayableError(
                    f"track {track.number} ({track.identity[:40]!r}) is {about.codec} ({about.mime[:40]}), "
                    "and HLS takes H.264 and Opus in MP4 only; play it at /recordings/ID/play, or export it"
                )


def list_parts(track: PlayTrack, *, is_complete: bool) -> list[Part]:
    """Divide a track; of one that grows what is not over yet is left out."""
    parts: list[Part] = []
    for run in track.runs:
        mine = list(_divide(run, is_video=track.kind == "video"))
        if not is_complete and run is track.runs[-1]:
            mine = mine[:-1]
        parts += mine
    return parts


def _divide(run: PlayRun, *, is_video: bool) -> Iterator[Part]:
    first, segments = 0, list(run.segments)
    for number, segment in enumerate(segments):
        if number == first:
            continue
        before = segments[number - 1]
        long_us = run.time_us(segment.first_pts) - run.time_us(segments[first].first_pts)
        gap_us = run.time_us(segment.first_pts) - run.time_us(before.first_pts + before.duration_pts)
        may_end = segment.has_keyframe if is_video else long_us >= LONG_US
        if gap_us > MIN_GAP_US or long_us >= LONG_US or (may_end and long_us >= SHORT_US):
            yield Part(run=run, first=first, last=number - 1)
            first = number
    if segments:
        yield Part(run=run, first=first, last=len(segments) - 1)


def track_playlist(recording: OpenRecording, track: PlayTrack) -> str:
    """Write the playlist of one track."""
    is_complete = recording.manifest is not None
    parts = list_parts(track, is_complete=is_complete)
    longest_s = max((part.end_us - part.start_us for part in parts), default=0) / 1e6
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{max(TARGET_S, math.ceil(longest_s))}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        f"#EXT-X-PLAYLIST-TYPE:{'VOD' if is_complete else 'EVENT'}",
    ]
    before: Part | None = None
    for part in parts:
        is_new_run = before is None or before.run is not part.run
        if before is not None and (is_new_run or part.start_us - before.end_us > MIN_GAP_US):
            lines.append("#EXT-X-DISCONTINUITY")
        if is_new_run:
            lines.append(f'#EXT-X-MAP:URI="{track.number}/{part.run.number}/init.mp4"')
        if is_new_run or lines[-1] == "#EXT-X-DISCONTINUITY":
            lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_moment(recording, part.start_us)}")
        lines.append(f"#EXTINF:{max(part.end_us - part.start_us, 1) / 1e6:.6f},")
        lines.append(f"{track.number}/{part.name}")
        before = part
    if is_complete:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def master_playlist(recording: OpenRecording) -> str:
    """Write the playlist of all tracks: videos as renditions to choose from, sounds likewise."""
    kinds = {"video": "VIDEO", "audio": "AUDIO"}
    lines = ["#EXTM3U", "#EXT-X-VERSION:7"]
    for kind, word in kinds.items():
        tracks = [track for track in recording.tracks if track.kind == kind]
        for track in tracks:
            is_default = "YES" if track is tracks[0] else "NO"
            lines.append(
                f'#EXT-X-MEDIA:TYPE={word},GROUP-ID="{kind}",NAME="{_quoted(track)}",DEFAULT={is_default},'
                f'AUTOSELECT=YES,URI="{track.number}.m3u8"'
            )
    main = next(iter(sorted(recording.tracks, key=lambda track: track.kind != "video")), None)
    if main is not None:
        codecs = sorted({_codec(run) for track in recording.tracks for run in track.runs})
        known = {track.kind for track in recording.tracks}
        said = [f"BANDWIDTH={sum(map(_peak_bps, recording.tracks))}", f'CODECS="{",".join(codecs)}"']
        about = main.runs[0].prologue
        if about.kind == "video":
            said.append(f"RESOLUTION={about.width}x{about.height}")
        said += [f'{kinds[kind]}="{kind}"' for kind in sorted(known, reverse=True)]
        lines += [f"#EXT-X-STREAM-INF:{','.join(said)}", f"{main.number}.m3u8"]
    return "\n".join(lines) + "\n"


def shift_ticks(run: PlayRun) -> int:
    """How far a run's times lie before the recording's, in ticks of its time base."""
    base = run.indexed.time_base
    return round(run.offset_us * base.denominator / (base.numerator * 1_000_000))


def _codec(run: PlayRun) -> str:
    _, _, codecs = run.prologue.mime.partition('codecs="')
    return codecs.rstrip('"')


def _peak_bps(track: PlayTrack) -> int:
    rates = [
        8e6 * part.size_bytes / max(part.end_us - part.start_us, 1)
        for part in list_parts(track, is_complete=True)
        if part.end_us - part.start_us >= SHORT_US // 2
    ]
    return math.ceil(max(rates, default=64_000))


def _quoted(track: PlayTrack) -> str:
    # A quoted string has no quotes, and no line ends (RFC 8216 section 4.2); a name of somebody's may.
    text = f"{track.number} {track.identity} {track.name}".strip()
    return "".join(letter for letter in text if letter.isprintable() and letter != '"')[:200]


def _moment(recording: OpenRecording, time_us: int) -> str:
    start = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=recording.media_start_us + time_us)
    return rfc3339(start)
