"""The sections of the settings that are about recordings: how they are made, where they lie, their keys.

Apart from settings.py, which reads them, because that file is full. Source: contracts §4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """What all sections share: unknown keys are errors, and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class RecordingSettings(Section):
    """What recorders are asked for, and where recordings lie."""

    auto: bool = Field(default=False, description="record every session that does not say `record: false`")
    quality: Literal["low", "medium", "high", "ultra"] = Field(default="high", description="when we encode")
    format: Literal["mp4"] = Field(default="mp4", description="container of segments and exports")
    mode: Literal["passthrough", "decoded"] = Field(
        default="passthrough", description="wanted capture; one that the recorder lacks falls back to decoded"
    )
    keyframe_interval_s: float = Field(default=4, ge=0.5, le=60, description="when we encode (s)")
    chunk_store: str = Field(
        default="data/recordings", min_length=1, description="folder of the recordings; the recorders' too"
    )


class EncryptionSettings(Section):
    """The keys of recordings. A lost key is a lost recording: keep a copy of the folder elsewhere."""

    key_dir: Path = Field(
        default=Path("data/keys"),
        description="folder of the keys; the recorder makes them at its first start",
    )
