"""The prologue of an init run: what the track is and whose. It is sealed; no part of it is ever in clear.

Source: docs/RECORDING.md §4.4.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from vault.core.canonical_json import decode_json, encode_json
from vault.errors import FormatError

MAX_PROLOGUE_BYTES: Final = 16 * 1024

_LENGTH_BYTES: Final = 4


class TrackPrologue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one init run carries.

    Attributes:
        kind: audio or video; data of an upload.
        codec: FFmpeg's name, such as ``h264`` or ``opus``; empty for data.
        mime: container and codec as Media Source Extensions take them, such as
            ``video/mp4; codecs="avc1.42e01f"``.
        identity: the participant who published the track.
        name: the publication's name; may be empty. Runs of one identity, name and kind are one track.
        width: pixels, 0 for audio.
        height: pixels, 0 for audio.
        sample_rate: hertz, 0 for video.
        channels: 0 for video.
    """

    kind: Literal["audio", "video", "data"]
    codec: str
    mime: str
    identity: str
    name: str = ""
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0


def encode_init(prologue: TrackPrologue, init_part: bytes) -> bytes:
    """Plaintext of an init chunk: length of the prologue, prologue, init part of the container.

    Raises:
        ValueError: the prologue is too long or the init part is empty (the caller's mistake).
    """
    text = encode_json(prologue).encode()
    if len(text) > MAX_PROLOGUE_BYTES:
        raise ValueError(f"a prologue of {len(text)} bytes, at most {MAX_PROLOGUE_BYTES} are allowed")
    if not init_part:
        raise ValueError("the init part is empty")
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text + init_part


def decode_init(plaintext: bytes) -> tuple[TrackPrologue, bytes]:
    """Read prologue and init part from the plaintext of an init chunk.

    Raises:
        FormatError: the plaintext has another form.
    """
    length = int.from_bytes(plaintext[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + length
    if length > MAX_PROLOGUE_BYTES or len(plaintext) <= end:
        raise FormatError("its plaintext is not a prologue and an init part")
    try:
        text = plaintext[_LENGTH_BYTES:end].decode()
    except UnicodeDecodeError:
        raise FormatError("its prologue is not UTF-8") from None
    return decode_json(text, TrackPrologue), plaintext[end:]
