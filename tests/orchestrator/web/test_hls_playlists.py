"""Where a track is divided into parts: at keyframes, at gaps, and after six seconds whatever comes."""

from __future__ import annotations

from fractions import Fraction

import pytest

from orchestrator.web.errors import EdgeError
from orchestrator.web.hls_playlists import (
    check_playable,
    list_parts,
    master_playlist,
    shift_ticks,
    track_playlist,
)
from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.media import Fragment, Track
from tests.fakes.recordings import RECORDING, complete, make_key_ring, open_writer, write_media
from vault.core.prologue import TrackPrologue
from vault.open_recording import OpenRecording

RING = make_key_ring()
SECOND = 1_000


def track(
    keyframes: list[int], *, seconds: int = 20, kind: str = "video", hole_at: int | None = None
) -> Track:
    """Invented media, a fragment a second, with a hole of two seconds before one of them."""
    about = TrackPrologue(
        kind="video" if kind == "video" else "audio",
        codec="h264" if kind == "video" else "opus",
        mime='video/mp4; codecs="avc1.42e01f"' if kind == "video" else 'audio/mp4; codecs="opus"',
        identity="alice",
    )
    times = [second + (2 if hole_at is not None and second >= hole_at else 0) for second in range(seconds)]
    fragments = [
        Fragment(b"x" * 1000, time * SECOND, SECOND, number in keyframes or kind == "audio")
        for number, time in enumerate(times)
    ]
    return Track(about, b"head", Fraction(1, SECOND), fragments)


def opened(*tracks: Track, is_complete: bool = True) -> OpenRecording:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_media(writer, [(number + 1, 1_500_000, one) for number, one in enumerate(tracks)])
    if is_complete:
        complete(store, RING, writer.close())
    else:
        writer.checkpoint()
    return OpenRecording.open(MemoryRecording(store.recordings[RECORDING]), RING, recording_id=RECORDING)


def divided(recording: OpenRecording) -> list[tuple[int, int]]:
    parts = list_parts(recording.tracks[0], is_complete=recording.manifest is not None)
    return [(part.first, part.last) for part in parts]


def test_a_part_begins_with_a_keyframe() -> None:
    assert divided(opened(track([0, 4, 8, 9, 12, 16]))) == [(0, 3), (4, 7), (8, 11), (12, 15), (16, 19)]


def test_without_keyframes_six_seconds_are_enough() -> None:
    assert divided(opened(track([0]))) == [(0, 5), (6, 11), (12, 17), (18, 19)]


def test_sound_is_divided_every_six_seconds() -> None:
    assert divided(opened(track([], kind="audio"))) == [(0, 5), (6, 11), (12, 17), (18, 19)]


def test_a_gap_ends_a_part_and_is_a_discontinuity_with_its_time() -> None:
    recording = opened(track([0, 4], seconds=8, hole_at=2))
    assert divided(recording) == [(0, 1), (2, 3), (4, 7)]
    lines = track_playlist(recording, recording.tracks[0]).split("\n")
    at = lines.index("#EXT-X-DISCONTINUITY")
    assert lines[at + 1] == "#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:05.500Z"
    assert lines[at + 2 : at + 4] == ["#EXTINF:2.000000,", "1/0/2-3.m4s"]


def test_of_what_grows_the_last_part_is_left_out() -> None:
    assert divided(opened(track([0, 4, 8]), is_complete=False)) == [(0, 3), (4, 7), (8, 13)]


def test_a_run_is_moved_to_where_it_lies() -> None:
    assert shift_ticks(opened(track([0])).tracks[0].runs[0]) == 1_500


def test_one_main_playlist_and_everything_as_a_rendition() -> None:
    recording = opened(track([0]), track([], kind="audio"))
    check_playable(recording)
    text = master_playlist(recording)
    assert (
        '#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="video",NAME="1 alice",DEFAULT=YES,AUTOSELECT=YES,URI="1.m3u8"'
        in text
    )
    assert 'TYPE=AUDIO,GROUP-ID="audio",NAME="2 alice"' in text
    assert text.count("#EXT-X-STREAM-INF") == 1
    assert 'BANDWIDTH=16000,CODECS="avc1.42e01f,opus"' in text
    assert text.endswith('VIDEO="video",AUDIO="audio"\n1.m3u8\n')


def test_sound_alone_is_the_main_playlist() -> None:
    assert master_playlist(opened(track([], kind="audio"))).endswith('AUDIO="audio"\n1.m3u8\n')


def test_another_codec_is_refused_by_name() -> None:
    vp8 = track([0])
    other = Track(
        TrackPrologue(kind="video", codec="vp8", mime='video/webm; codecs="vp8"', identity="bob"),
        vp8.init_part,
        vp8.time_base,
        vp8.fragments,
    )
    with pytest.raises(EdgeError, match=r"track 2 \('bob'\) is vp8"):
        check_playable(opened(track([0]), other))
