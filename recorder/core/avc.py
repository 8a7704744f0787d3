"""H.264's two byte forms: from start codes (Annex B) to the lengths that MP4 holds, and its codec string.

Source: ISO/IEC 14496-10 Annex B; ISO/IEC 14496-15, 5.3.3; RFC 6381 section 3.3.
"""

from __future__ import annotations

_START_CODE = b"\x00\x00\x01"  # emulation prevention keeps these bytes out of a NAL unit
_SEQUENCE_PARAMETERS = 7
_IN_INIT_PART = frozenset({7, 8})  # parameter sets stand in the avcC box
_DELIMITER = 9


def length_prefixed(annex_b: bytes) -> bytes:
    """Turn an access unit with start codes into NAL units with 4-byte lengths, without parameter sets."""
    return b"".join(
        len(unit).to_bytes(4, "big") + unit
        for unit in _units(annex_b)
        if unit[0] & 0x1F not in _IN_INIT_PART and unit[0] & 0x1F != _DELIMITER
    )


def codec_string(annex_b_parameters: bytes) -> str:
    """Name profile and level, such as ``avc1.640020``, from the encoder's parameter sets.

    Raises:
        ValueError: there is no sequence parameter set in them.
    """
    for unit in _units(annex_b_parameters):
        if unit[0] & 0x1F == _SEQUENCE_PARAMETERS and len(unit) >= 4:
            return f"avc1.{unit[1:4].hex()}"
    raise ValueError("no sequence parameter set among the encoder's parameters")


def _units(annex_b: bytes) -> list[bytes]:
    # A zero before a start code belongs to the code; a unit itself never ends with a zero byte (7.4.1).
    return [unit for part in annex_b.split(_START_CODE)[1:] if (unit := part.rstrip(b"\x00"))]
