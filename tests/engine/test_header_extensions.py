"""Header extensions in both forms, and the one that is passed on."""

from __future__ import annotations

import pytest

from engine.header_extensions import UNHEARD, extensions, only, rename

SHORT = b"\xbe\xde\x00\x02" + b"\x10\x05\x00\x41ab\xf0\x77"
LONG = b"\x10\x00\x00\x03" + b"\x01\x01\x05\x00\x04\x02ab\x07\x00\x00\x00"


def test_both_forms_are_read_and_end_where_they_say() -> None:
    assert list(extensions(SHORT, 0, len(SHORT))) == [(1, b"\x05"), (4, b"ab")]
    assert list(extensions(LONG, 0, len(LONG))) == [(1, b"\x05"), (4, b"ab"), (7, b"")]
    assert list(extensions(b"\x20\x00\x00\x01\x10\x05\x00\x00", 0, 8)) == []  # another form


@pytest.mark.parametrize("said", [SHORT, LONG])
def test_what_is_cut_short_ends_nothing(said: bytes) -> None:
    for size in range(len(said)):
        assert len(list(extensions(said[:size], 0, len(said)))) <= 3


@pytest.mark.parametrize("said", [SHORT, LONG])
@pytest.mark.parametrize("csrcs", [0, 2])
def test_one_is_written_anew_and_has_its_receiver_s_number(said: bytes, csrcs: int) -> None:
    head = bytes((0x90 | csrcs,)) + bytes(11 + 4 * csrcs)
    kept = only(head + said + b"body", len(head), len(head) + len(said), 4)
    packet = bytearray(head + kept + b"body")
    assert list(extensions(bytes(packet), len(head), len(head) + len(kept))) == [(UNHEARD, b"ab")]
    rename(packet, 12)
    assert list(extensions(bytes(packet), len(head), len(head) + len(kept))) == [(12, b"ab")]
    assert packet.endswith(b"body")
    assert len(kept) % 4 == 0


def test_nothing_is_written_of_what_a_packet_has_not() -> None:
    assert only(SHORT, 0, len(SHORT), 5) == b""
