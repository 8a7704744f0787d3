"""Numbers in query strings: taken within their limits, refused with them."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from orchestrator.web.errors import FieldsError
from orchestrator.web.query_numbers import query_number


def test_an_absent_number_is_the_default() -> None:
    assert query_number(make_mocked_request("GET", "/"), "limit", 7, most=9) == 7


@pytest.mark.parametrize("text", ["0", "10", "-1", "x", "", "1.5", "٣", "9" * 30])
def test_what_is_no_number_within_the_limits_is_refused(text: str) -> None:
    request = make_mocked_request("GET", f"/?limit={text}")
    with pytest.raises(FieldsError, match="is no number from 1 to 9"):
        query_number(request, "limit", 7, most=9)
    assert query_number(make_mocked_request("GET", "/?cursor=0"), "cursor", 7, least=0, most=9) == 0
