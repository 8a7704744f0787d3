"""Which part of a file a request asks for, table by table."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from orchestrator.web.byte_ranges import ByteRange, is_known, range_of

WHOLE = ByteRange(0, 100, 100, is_part=False)


def asked(**headers: str) -> ByteRange | None:
    request = make_mocked_request("GET", "/", headers={k.replace("_", "-"): v for k, v in headers.items()})
    return range_of(request, size=100, etag='"e"')


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=90-", 90, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-1000", 0, 100),
        ("BYTES=0-99", 0, 100),
    ],
)
def test_a_range_is_a_part(text: str, start: int, end: int) -> None:
    assert asked(Range=text) == ByteRange(start, end, 100, is_part=True)


@pytest.mark.parametrize(
    "text", ["", "bytes=", "bytes=-", "bytes=9-1", "bytes=0-1,5-6", "items=0-1", "bytes=a-b", "bytes=0x1-2"]
)
def test_what_is_no_single_range_means_the_whole(text: str) -> None:
    assert asked(Range=text) == WHOLE
    assert asked() == WHOLE


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=999999999999999999-"])
def test_what_begins_behind_the_end_cannot_be_given(text: str) -> None:
    assert asked(Range=text) is None


def test_a_range_of_a_version_that_is_gone_means_the_whole() -> None:
    assert asked(Range="bytes=1-2", If_Range='"e"') == ByteRange(1, 3, 100, is_part=True)
    assert asked(Range="bytes=1-2", If_Range='"older"') == WHOLE
    assert asked(Range="bytes=1-2", If_Range='W/"e"') == WHOLE, "a weak tag never matches"


def test_the_headers_say_which_part_of_how_much() -> None:
    part = asked(Range="bytes=10-19")
    assert part is not None
    assert part.headers == {
        "Accept-Ranges": "bytes",
        "Content-Length": "10",
        "Content-Range": "bytes 10-19/100",
    }
    assert "Content-Range" not in WHOLE.headers


@pytest.mark.parametrize(
    ("given", "known"), [('"e"', True), ('"a", W/"e"', True), ('"a"', False), ("", False), ("e", False)]
)
def test_a_version_that_the_caller_holds_is_known(given: str, known: bool) -> None:
    request = make_mocked_request("GET", "/", headers={"If-None-Match": given})
    assert is_known(request, '"e"') is known
