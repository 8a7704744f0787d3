"""The remuxer puts runs on one timeline without touching a packet's bytes."""

from __future__ import annotations

import io
from pathlib import Path

import av
import msgspec
import pytest

from tests.fakes.media import Track, make_audio, make_video
from vault.adapters.pyav_remuxer import MediaRun, containers_for, remux
from vault.errors import ExportError, IntegrityError


def run_of(track: Track, *, start_us: int = 0) -> MediaRun:
    whole = track.init_part + b"".join(fragment.data for fragment in track.fragments)
    return MediaRun(
        prologue=track.prologue, zero_us=start_us, first_us=start_us, open=lambda: io.BytesIO(whole)
    )


def packets(source: str | io.BytesIO, kind: str) -> list[bytes]:
    with av.open(source, "r") as container:
        return [bytes(packet) for packet in container.demux() if packet.size and packet.stream.type == kind]


def test_no_packet_is_encoded_again(tmp_path: Path) -> None:
    video, audio = make_video(2), make_audio(2)
    path = tmp_path / "out"
    written = remux([run_of(audio, start_us=70_000), run_of(video)], path, "mp4")
    assert written.streams == ("h264", "opus")
    for track, kind in ((video, "video"), (audio, "audio")):
        whole = track.init_part + b"".join(fragment.data for fragment in track.fragments)
        assert packets(str(path), kind) == packets(io.BytesIO(whole), kind)


def test_mp4_is_taken_where_it_can_be() -> None:
    h264, vp8, opus = (
        track.prologue for track in (make_video(0.1), make_video(0.1, codec="vp8"), make_audio(0.1))
    )
    assert containers_for([h264, opus]) == ["mp4", "mkv"]
    assert containers_for([opus]) == ["mp4", "webm", "mkv"]
    assert containers_for([vp8, opus]) == ["webm", "mkv"]
    unknown = msgspec.structs.replace(opus, codec="pcmu")
    with pytest.raises(ExportError, match="no one file takes h264, pcmu"):
        containers_for([h264, unknown])


def test_what_a_reader_raises_comes_out(tmp_path: Path) -> None:
    track = make_video(2)

    class Broken:
        def __init__(self) -> None:
            self.parts = [track.init_part, track.fragments[0].data]

        def read(self, size: int) -> bytes:
            if not self.parts:
                raise IntegrityError("1/chunk-0000000002: it is bad")
            return self.parts.pop(0)

    run = MediaRun(prologue=track.prologue, zero_us=0, first_us=0, open=Broken)
    with pytest.raises(IntegrityError, match="1/chunk-0000000002"):
        remux([run], tmp_path / "out", "mp4")
