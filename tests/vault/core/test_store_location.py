"""Locations of chunk stores: what is read, its one spelling, and what is refused."""

from __future__ import annotations

import pytest

from vault.core.store_location import DirLocation, S3Location, folder_url, parse_location, recording_place


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("data/recordings", "data/recordings"),
        ("/srv/with space", "/srv/with space"),
        ("file:///srv/with%20space", "/srv/with space"),
        ("file://localhost/srv", "/srv"),
        ("file:/srv", "/srv"),
        ("odd:name", "odd:name"),
    ],
)
def test_folders(text: str, path: str) -> None:
    assert parse_location(text) == DirLocation(path)


def test_a_folders_url_is_read_back() -> None:
    assert parse_location(folder_url("/srv/ä%/x")) == DirLocation("/srv/ä%/x")


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("s3://bucket", S3Location(bucket="bucket")),
        ("s3://bucket/", S3Location(bucket="bucket")),
        ("s3://my.bucket-1/a/b_c", S3Location(bucket="my.bucket-1", prefix="a/b_c")),
        (
            "s3://bucket/p?endpoint=http://127.0.0.1:9000&region=eu-central-1",
            S3Location(bucket="bucket", prefix="p", endpoint="http://127.0.0.1:9000", region="eu-central-1"),
        ),
        (
            "s3://bucket?endpoint=https%3A%2F%2F%5B::1%5D%3A9000%2F",
            S3Location(bucket="bucket", endpoint="https://[::1]:9000"),
        ),
    ],
)
def test_buckets_and_their_one_spelling(text: str, location: S3Location) -> None:
    assert parse_location(text) == location
    assert parse_location(location.url) == location


def test_the_spelling_is_easy_to_read() -> None:
    url = "s3://bucket/p?endpoint=http://127.0.0.1:9000&region=us-east-1"
    location = parse_location(url)
    assert isinstance(location, S3Location)
    assert location.url == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write a folder"),
        ("gs://bucket", "'gs' is no kind of chunk store"),
        ("https://bucket.s3.amazonaws.com/x", "'https' is no kind"),
        ("file://host/srv", "write file:///FOLDER"),
        ("file:///srv?x=hunter2", "write file:///FOLDER"),
        ("s3://", "is no bucket"),
        ("s3://Bucket", "'Bucket' is no bucket"),
        ("s3://me:hunter2@bucket", "AWS_ACCESS_KEY_ID"),
        ("s3://bucket/a//b", "is no prefix"),
        ("s3://bucket/../b", "is no prefix"),
        ("s3://bucket?secret_access_key=hunter2", "'secret_access_key' is no option"),
        ("s3://bucket?region=a&region=b", "twice"),
        ("s3://bucket?endpoint=http://me:hunter2@host", "http(s)://HOST[:PORT]"),
        ("s3://bucket?endpoint=127.0.0.1:9000", "http(s)://HOST[:PORT]"),
        ("s3://bucket?region=EU Central", "is no region"),
    ],
)
def test_what_is_no_location_is_one_sentence_without_secrets(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_location(text)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("store", "place"),
    [
        ("/srv/recordings/", "/srv/recordings/ID"),
        ("file:///srv/my%20recordings", "/srv/my recordings/ID"),
        ("s3://bucket", "s3://bucket/ID"),
        ("s3://bucket/p?endpoint=http://h:1&region=eu-1", "s3://bucket/p/ID?endpoint=http://h:1&region=eu-1"),
    ],
)
def test_a_recording_lies_below_its_store(store: str, place: str) -> None:
    assert recording_place(parse_location(store), "ID") == place
