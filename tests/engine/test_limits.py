"""What is too long is refused with the size and the limit."""

from __future__ import annotations

import pytest

from engine.limits import LONGEST_NAME, MOST_TEXT, TooLongError, check_lengths


def test_what_just_fits_is_taken() -> None:
    check_lengths(name="n" * LONGEST_NAME, metadata="m" * MOST_TEXT, attributes={"a": "b" * (MOST_TEXT - 1)})


def test_one_more_is_refused_with_the_limit() -> None:
    with pytest.raises(TooLongError, match="257 characters; 256"):
        check_lengths(name="n" * 257)
    with pytest.raises(TooLongError, match="metadata of 262145 bytes; 262144"):
        check_lengths(metadata="m" * 262_145)
    with pytest.raises(TooLongError, match="attributes of 262146 bytes; 262144"):
        check_lengths(attributes={"ä": "b" * MOST_TEXT})
