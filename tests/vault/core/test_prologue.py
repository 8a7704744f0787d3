"""The prologue goes before the init part and comes back with it."""

from __future__ import annotations

import pytest

from tests.fakes.recordings import PROLOGUE
from vault.core.prologue import MAX_PROLOGUE_BYTES, TrackPrologue, decode_init, encode_init
from vault.errors import FormatError

PLAINTEXT = encode_init(PROLOGUE, b"ftyp moov")


def test_prologue_and_init_part_are_read_back() -> None:
    assert decode_init(PLAINTEXT) == (PROLOGUE, b"ftyp moov")


def test_the_form_is_length_json_and_init_part() -> None:
    text = (
        b'{"channels":0,"codec":"h264","height":0,"identity":"alice","kind":"video",'
        b'"mime":"video/mp4","name":"camera","sample_rate":0,"width":0}'
    )
    assert len(text).to_bytes(4, "big") + text + b"ftyp moov" == PLAINTEXT


@pytest.mark.parametrize(
    "plaintext",
    [b"", b"\0\0\0\x01", PLAINTEXT[: -len(b"ftyp moov")], b"\xff" * 100, b"\0\0\0\x02\xff\xfe init"],
)
def test_another_form_is_refused(plaintext: bytes) -> None:
    with pytest.raises(FormatError):
        decode_init(plaintext)


def test_what_cannot_be_an_init_chunk_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="init part is empty"):
        encode_init(PROLOGUE, b"")
    long = TrackPrologue(kind="audio", codec="opus", mime="audio/mp4", identity="x" * MAX_PROLOGUE_BYTES)
    with pytest.raises(ValueError, match="a prologue of"):
        encode_init(long, b"init")
