"""What one attempt of a recording is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vault.core.manifest import AttemptClose, CaptureMode


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """What is to be recorded, and as which attempt.

    Attributes:
        is_paused: nothing is to be stored until `Recording.resume`.
        op: number of the last control that the plan has in it.
        pauses: those of earlier attempts, as they were reported.
        closes: of earlier attempts, as they are committed; what is stored beyond them does not count.
        mode: how the media is to be taken; a capture that had to take it otherwise says so in the manifest.
    """

    recording_id: str
    session_id: str
    attempt: int
    keyframe_interval_s: float = 4.0
    mode: CaptureMode = "passthrough"
    is_paused: bool = False
    op: int = 0
    pauses: Sequence[dict[str, Any]] = ()
    closes: Sequence[AttemptClose] = ()


def committed_closes(stated: Sequence[dict[str, Any]]) -> list[AttemptClose]:
    """Read the closes that came with a job; the inverse is the recorder's report.

    Raises:
        ValueError: an entry has no whole-numbered attempt and tree_size, or no root (the sender's fault).
    """
    closes = []
    for entry in stated:
        attempt, size, root = entry.get("attempt"), entry.get("tree_size"), entry.get("root")
        if not isinstance(attempt, int) or not isinstance(size, int) or not isinstance(root, str):
            raise ValueError("a close lacks a whole-numbered attempt or tree_size, or a root")
        closes.append(AttemptClose(attempt=attempt, size=size, root=root, closed="recovered"))
    return closes
