"""Chunks before sealing: media bytes stay out of what is printed."""

from __future__ import annotations

from fractions import Fraction

from recorder.core.chunking import InitChunk, MediaChunk, TrackFormat
from recorder.core.segmenting import Fragment


def test_a_chunk_prints_without_its_media() -> None:
    form = TrackFormat(
        kind="audio", codec="opus", mime="audio/mp4", time_base=Fraction(1, 48_000), init_part=b"PRIVATE"
    )
    fragment = Fragment(data=b"PRIVATE", first_pts=0, duration_pts=1, has_keyframe=True, packets=1)
    chunks = [
        InitChunk(track=1, identity="alice", name="microphone", format=form),
        MediaChunk(track=1, fragment=fragment),
    ]
    assert "PRIVATE" not in repr(chunks)
