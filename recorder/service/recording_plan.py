"""What one attempt of a recording is asked to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vault.core.manifest import CaptureMode


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """What is to be recorded, and as which attempt.

    Attributes:
        is_paused: nothing is to be stored until `Recording.resume`.
        op: number of the last control that the plan has in it.
        pauses: those of earlier attempts, as they were reported.
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
