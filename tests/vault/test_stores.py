"""Stores and recordings opened by where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.recordings import RECORDING
from vault.adapters.dir_store import DirChunkStore
from vault.core.store_location import parse_location
from vault.errors import NotARecordingError, StoreSetupError
from vault.stores import open_chunk_store, open_recording, url_of


def test_a_folder_is_the_same_store_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_chunk_store(parse_location("a folder"))
    store.check()
    store.put(RECORDING, "manifest", b"note")
    url = url_of(parse_location("a folder"))
    assert url == (tmp_path / "a folder").as_uri()
    assert open_chunk_store(parse_location(url)).files(RECORDING).read("manifest", max_bytes=9) == b"note"
    for place in (f"a folder/{RECORDING}", f"{url}/{RECORDING}"):
        files, recording_id = open_recording(place)
        assert recording_id == RECORDING
        assert [file.name for file in files.list_files()] == ["manifest"]


def test_a_copy_under_another_name_says_itself_what_it_is(tmp_path: Path) -> None:
    assert open_recording(str(tmp_path))[1] is None


def test_a_folder_that_is_a_file_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreSetupError, match="name another folder"):
        DirChunkStore(tmp_path / "file").check()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", "nowhere is not a folder"),
        ("gs://bucket/x", "'gs' is no kind of chunk store"),
        ("s3://bucket", "'bucket' is no recording"),
        (f"s3://bucket/{RECORDING}/1", "'1' is no recording; write s3://BUCKET/PREFIX/RECORDING_ID"),
    ],
)
def test_what_cannot_be_a_recording_is_one_sentence(place: str, words: str) -> None:
    with pytest.raises(NotARecordingError, match=words):
        open_recording(place)


def test_a_bucket_without_credentials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(StoreSetupError, match="credentials"):
        open_recording(f"s3://bucket/{RECORDING}")
