"""What an attempt's statistics say of what it stored."""

from __future__ import annotations

from recorder.service.store_path import StorePath


def stored_statistics(path: StorePath, *, took_us: int, paused_us: int, gaps: int) -> dict[str, float]:
    """Count what one attempt recorded.

    Args:
        path: its store path.
        took_us: from its beginning to now or its end, microseconds.
        paused_us: of these.
        gaps: holes in what was sealed, pauses left out.
    """
    return {
        "duration_s": round((took_us - paused_us) / 1_000_000, 3),
        "paused_s": round(paused_us / 1_000_000, 3),
        "chunks": float(path.chunks),
        "bytes": float(path.plaintext_bytes),
        "spooled_bytes": float(path.spooled_bytes),
        "gaps": float(gaps),
    }
