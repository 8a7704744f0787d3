"""Recordings in a bucket: stores that cannot be used are named at the start, and nothing secret is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from greenroom.free_ports import LOOPBACK, free_port
from tests.fakes.odd_s3_server import closing_s3_server, odd_s3_server
from tests.fakes.recordings import (
    RECORDING,
    complete,
    make_key_ring,
    open_writer,
    write_recording,
    write_seconds,
)
from tests.integration.s3_servers import SECRET_KEY, S3Server
from vault.adapters.s3_store import S3ChunkStore
from vault.core.store_location import S3Location
from vault.errors import ChunkExistsError, FileMissingError, StoreError, StoreSetupError
from vault.ports import StoredFile
from vault.stores import open_recording
from vault.verification import check_recording

NAME = "1/chunk-0000000000"
RING = make_key_ring()


@pytest.fixture(autouse=True)
def _credentials(s3_credentials: None) -> None:
    """Every test here has credentials."""


def test_a_store_that_ignores_the_condition_is_refused() -> None:
    with odd_s3_server(200) as location, pytest.raises(StoreSetupError, match="replaces objects although"):
        S3ChunkStore(location).check()


def test_and_takes_no_put_either_when_nobody_checked_it() -> None:
    with odd_s3_server(200) as location, pytest.raises(StoreSetupError, match="If-None-Match"):
        S3ChunkStore(location).put(RECORDING, NAME, b"sealed")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (501, "NotImplemented", "does not know puts with If-None-Match"),
        (404, "NoSuchBucket", r"a bucket that is not there \(NoSuchBucket\); make it first"),
        (403, "AccessDenied", r"refuses these credentials or this region \(AccessDenied\)"),
        (403, "SignatureDoesNotMatch", "check AWS_ACCESS_KEY_ID"),
        (400, "AuthorizationHeaderMalformed", "and the region"),
        (403, "", r"\(403\)"),
    ],
)
def test_what_cannot_work_is_one_sentence(status: int, code: str, words: str) -> None:
    said = f"StringToSign {SECRET_KEY}"
    with odd_s3_server(status, code, said) as location, pytest.raises(StoreSetupError, match=words) as caught:
        S3ChunkStore(location).check()
    assert SECRET_KEY not in str(caught.value)
    assert caught.value.__cause__ is None, "the client's own text would be in a traceback"


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (429, "")])
def test_what_may_work_later_is_worth_another_try(status: int, code: str) -> None:
    with odd_s3_server(status, code) as location, pytest.raises(StoreError, match=code or str(status)):
        S3ChunkStore(location).check()


def test_a_server_that_is_not_there_is_worth_another_try() -> None:
    location = S3Location(bucket="bucket", endpoint=f"http://{LOOPBACK}:{free_port()}", region="us-east-1")
    store = S3ChunkStore(location)
    began = time.monotonic()
    with pytest.raises(StoreError, match="no answer"):
        store.put(RECORDING, NAME, b"sealed")
    with pytest.raises(StoreError, match="no answer"):
        store.files(RECORDING).list_files()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_reader_is_told_what_to_look_at(status: int) -> None:
    told = pytest.raises(StoreError, match=r"SignatureDoesNotMatch; check AWS_ACCESS_KEY_ID")
    with odd_s3_server(status, "SignatureDoesNotMatch") as location, told as caught:
        S3ChunkStore(location).files(RECORDING).list_files()
    assert SECRET_KEY not in str(caught.value)


def test_a_404_that_means_the_bucket_is_no_missing_file() -> None:
    with odd_s3_server(404, "NoSuchBucket") as location, pytest.raises(StoreError, match="NoSuchBucket"):
        S3ChunkStore(location).files(RECORDING).read(NAME, max_bytes=9)
    with odd_s3_server(404) as location, pytest.raises(FileMissingError):
        S3ChunkStore(location).files(RECORDING).read(NAME, max_bytes=9)


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_without_credentials_nobody_is_asked_for_them(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    with pytest.raises(StoreSetupError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        S3ChunkStore(S3Location(bucket="bucket"))


@pytest.mark.integration
def test_the_real_server_says_what_is_wrong(
    shared_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = shared_s3_server.location(shared_s3_server.make_bucket())
    with pytest.raises(StoreSetupError, match="NoSuchBucket"):
        S3ChunkStore(replace(location, bucket="there-is-none")).check()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreSetupError, match=r"credentials .*SignatureDoesNotMatch"):
        S3ChunkStore(location).check()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(StoreSetupError, match="credentials"):
        S3ChunkStore(location).check()


@pytest.mark.integration
def test_a_recording_is_written_verified_and_opened_by_its_url(shared_s3_server: S3Server) -> None:
    location = shared_s3_server.location(shared_s3_server.make_bucket(), prefix="a/b")
    store = S3ChunkStore(location)
    write_recording(store, RING)
    files, recording_id = open_recording(replace(location, prefix=f"a/b/{RECORDING}").url)
    assert recording_id == RECORDING
    assert check_recording(files, RING.public_key, recording_id=recording_id).report.exit_code == 0
    place = shared_s3_server.path_of(location.bucket) / "a" / "b" / RECORDING / NAME
    data = bytearray(place.read_bytes())
    data[-1] ^= 1
    place.write_bytes(data)
    report = check_recording(files, RING.public_key, recording_id=recording_id).report
    assert report.exit_code == 1
    assert report.first_bad is not None
    assert report.first_bad.file == NAME


@pytest.mark.integration
def test_a_long_recording_is_listed_whole_and_in_order(shared_s3_server: S3Server) -> None:
    store = S3ChunkStore(shared_s3_server.location(shared_s3_server.make_bucket()))
    names = [f"1/chunk-{leaf:010}" for leaf in range(1_050)]  # a page has 1,000
    for name in reversed(names):
        store.put(RECORDING, name, name.encode())
    assert store.files(RECORDING).list_files() == [StoredFile(name, 18) for name in names]


@pytest.mark.integration
def test_a_large_chunk_is_put_again_though_the_refusal_comes_before_all_of_it_is_sent(
    shared_s3_server: S3Server,
) -> None:
    store = S3ChunkStore(shared_s3_server.location(shared_s3_server.make_bucket()))
    data = bytes(16 << 20)
    for _ in range(10):
        store.put(RECORDING, NAME, data)
    with pytest.raises(ChunkExistsError):
        store.put(RECORDING, NAME, data[:-1] + b"1")


def test_a_refusal_that_never_arrives_is_found_by_looking() -> None:
    with closing_s3_server(stored=b"sealed" * 1_000) as location:
        store = S3ChunkStore(location)
        store.put(RECORDING, NAME, b"sealed" * 1_000)
        with pytest.raises(ChunkExistsError):
            store.put(RECORDING, NAME, b"SEALED" * 1_000)


@pytest.mark.integration
def test_a_writer_killed_while_it_puts_leaves_whole_objects_and_no_upload_in_parts(
    shared_s3_server: S3Server,
) -> None:
    location = shared_s3_server.location(shared_s3_server.make_bucket())
    code = (
        "from vault.stores import open_chunk_store\n"
        "from vault.core.store_location import parse_location\n"
        f"store = open_chunk_store(parse_location({location.url!r}))\n"
        f"for leaf in range(10_000): store.put({RECORDING!r}, f'1/chunk-{{leaf:010}}', bytes(8 << 20))\n"
    )
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
        store = S3ChunkStore(location)
        before = len(store.files(RECORDING).list_files())
        deadline = time.monotonic() + 20
        while len(store.files(RECORDING).list_files()) <= before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=10)
        files = store.files(RECORDING).list_files()
        assert files
        assert all(file.size_bytes == 8 << 20 for file in files)
    # Where versitygw keeps the parts of an upload that was not finished.
    parts = list((shared_s3_server.path_of(location.bucket) / ".sgwtmp" / "multipart").rglob("*"))
    assert [part for part in parts if part.is_file()] == []


@pytest.mark.integration
def test_an_attempt_goes_on_after_the_server_was_killed(tmp_path: Path, fresh_s3_server: S3Server) -> None:
    store = S3ChunkStore(fresh_s3_server.location(fresh_s3_server.make_bucket()))
    writer = open_writer(store, RING)
    write_seconds(writer, tracks=(1,), seconds=2)
    sealed = writer.seal(1, b"more", first_pts=2_000, duration_pts=1_000, has_keyframe=False)
    fresh_s3_server.kill()
    with pytest.raises(StoreError):
        writer.put(sealed)
    fresh_s3_server.start()
    writer.put(sealed)
    complete(store, RING, writer.close())
    assert check_recording(store.files(RECORDING), RING.public_key).report.exit_code == 0
