"""Recordings of format version 1 are read for ever: they verify, open to the same bytes and export."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import av
import pytest

from vault.adapters.dir_store import DirRecording
from vault.adapters.key_files import KeyFiles, read_public_key
from vault.core.ids import RecordingId
from vault.core.layout import ChunkFile, parse_name
from vault.export import export_recording
from vault.reading import RecordingReader
from vault.verification import verify_recording

GOLDEN = Path(__file__).parents[1] / "vectors" / "recording-v1"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture
def key_ring(tmp_path: Path) -> KeyFiles:
    shutil.copytree(GOLDEN / "keys", tmp_path / "keys")
    for path in (tmp_path / "keys").iterdir():
        path.chmod(0o600)  # version control keeps no modes
    return KeyFiles.open(tmp_path / "keys")


@pytest.mark.parametrize("name", EXPECTED)
def test_it_verifies_with_its_public_key(name: str) -> None:
    expected = EXPECTED[name]
    report = verify_recording(GOLDEN / name, read_public_key(GOLDEN / "keys" / "signing.pub"))
    assert (report.exit_code, report.problems) == (expected["exit_code"], ())
    assert (report.recording_id, report.root) == (expected["recording"], expected["root"])
    for found, wanted in zip(report.attempts, expected["attempts"], strict=True):
        assert {key: getattr(found, key) for key in wanted} == wanted
    for track, wanted in zip(report.tracks, expected["tracks"], strict=True):
        assert {key: getattr(track, key) for key in wanted} == wanted
    assert [ignored.file for ignored in report.ignored] == expected["ignored"]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_chunk_opens_to_the_same_bytes(name: str, key_ring: KeyFiles) -> None:
    recording_id = RecordingId(EXPECTED[name]["recording"])
    reader = RecordingReader.open(DirRecording(GOLDEN / name), key_ring, recording_id=recording_id)
    for file, digest in EXPECTED[name]["plaintext_sha256"].items():
        place = parse_name(file)
        assert isinstance(place, ChunkFile)
        _, plaintext = reader.read_chunk(place.attempt, place.leaf)
        assert hashlib.sha256(plaintext).hexdigest() == digest


@pytest.mark.parametrize("name", EXPECTED)
def test_it_exports_and_decodes(name: str, key_ring: KeyFiles, tmp_path: Path) -> None:
    expected = EXPECTED[name]["export"]
    out = tmp_path / "golden.mp4"
    report = export_recording(GOLDEN / name, key_ring, out)
    assert list(report.streams) == expected["streams"]
    assert (report.video_frames, report.dropped_packets) == (
        expected["video_frames"],
        expected["dropped_packets"],
    )
    assert report.duration_s == pytest.approx(expected["duration_s"], abs=0.01)
    assert report.audio_s == pytest.approx(expected["audio_s"], abs=0.01)
    decoded = 0
    for index, codec in enumerate(report.streams):
        with av.open(str(out)) as container:
            frames = sum(1 for _ in container.decode(container.streams[index]))
            decoded += frames if codec == "h264" else 0
            assert frames > 0
    assert decoded == report.video_frames


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) <= 300_000
