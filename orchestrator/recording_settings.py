"""The sections of the settings that are about recordings: how they are made, where they lie, their keys.

Apart from settings.py, which reads them, because that file is full. Source: contracts §4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationInfo, field_validator

from orchestrator.core.recording import Manner
from vault.core.store_location import DirLocation, parse_location
from vault.opening_keys import KeySettings


class Section(BaseModel):
    """What all sections share: unknown keys are errors, and nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class RecordingSettings(Section):
    """What recorders are asked for, and where recordings lie."""

    auto: bool = Field(default=False, description="record every session that does not say `record: false`")
    quality: Literal["low", "medium", "high", "ultra"] = Field(
        default="high",
        description="when we encode: 360p15 at 0.4 Mb/s, 480p24 at 1, 720p30 at 2.5, 1080p30 at 5 at most",
    )
    format: Literal["mp4", "webm", "mkv"] = Field(
        default="mp4", description="when we encode: H.264 (mp4, mkv) or VP8 (webm); and container of exports"
    )
    mode: Literal["passthrough", "tracks", "composite", "audio"] = Field(
        default="passthrough",
        description="stored as sent; or encoded: each track, one picture and mix of all, the mix alone",
    )
    layout: Literal["grid", "speaker"] = Field(
        default="grid", description="of a composite: all the same size, or who speaks large"
    )
    keyframe_interval_s: float = Field(default=4, ge=0.5, le=60, description="when we encode (s)")
    chunk_store: str = Field(
        default="data/recordings",
        description="where recordings lie, the recorders' too: a folder, or"
        " s3://BUCKET/PREFIX?endpoint=URL&region=NAME with credentials in AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY",
    )
    checkpoint_copies: str = Field(
        default="",
        description="where the last checkpoint of each recording is kept a second time, by which one that was"
        " rolled back is seen: a folder, or s3://… as above; empty: nowhere",
    )
    spool_path: Path = Field(
        default=Path("data/spool"),
        description="folder on the recorder's machine for what the chunk store does not take",
    )
    spool_budget: ByteSize = Field(
        default=ByteSize(2 << 30),
        ge=0,
        description="what the spool may take, in bytes or as 500MB, 2GiB; a recording gets"
        " 1 / RECORDER_CAPACITY of it; 0: no spool",
    )

    retention_days: float | None = Field(
        default=None, gt=0, le=36500, description="ended recordings are deleted after so many days"
    )
    disk_quota: ByteSize | None = Field(
        default=None, gt=0, description="what all recordings may take, in bytes or as 500GiB, 2TB"
    )
    quota_policy: Literal["refuse", "delete_oldest"] = Field(
        default="refuse", description="over the quota: take no new recordings, or delete the oldest completed"
    )

    upload_idle_s: float = Field(
        default=86_400,
        ge=1,
        le=3650 * 86_400,
        description="an upload that got no chunk for so long is closed by itself (s)",
    )

    export_dir: Path | None = Field(
        default=None,
        description="folder of exports, which are not encrypted; unset: `exports` beside the chunk store",
    )
    export_budget: ByteSize = Field(
        default=ByteSize(20 * 1024**3), gt=0, description="what exports may take, in bytes or as 20GiB"
    )

    @property
    def exports_in(self) -> Path:
        """Where exports are kept."""
        place = parse_location(self.chunk_store)
        beside = Path(place.path).parent if isinstance(place, DirLocation) else Path("data")
        return self.export_dir or beside / "exports"

    @property
    def manner(self) -> Manner:
        """How a recording is taken for which nobody says it."""
        return Manner(mode=self.mode, quality=self.quality, format=self.format, layout=self.layout)

    @field_validator("chunk_store", "checkpoint_copies")
    @classmethod
    def _is_location(cls, value: str, field: ValidationInfo) -> str:
        if value or field.field_name == "chunk_store":
            parse_location(value)
        return value


class EncryptionSettings(Section):
    """The keys of recordings. A lost key is a lost recording: keep a copy of the folder elsewhere."""

    key_dir: Path = Field(
        default=Path("data/keys"),
        description="folder of the keys; the recorder makes them at its first start",
    )
    passphrase_env: str = Field(
        default="",
        pattern=r"^([A-Z_][A-Z0-9_]*)?$",
        description="name of the variable with the passphrase that seals the key files; empty: none does",
    )
    kms: str = Field(
        default="",
        description="https://HOST[:PORT]/MOUNT/KEY of a HashiCorp Vault or OpenBao transit key that wraps, "
        "its token in VAULT_TOKEN; empty: key files wrap",
    )
    rotation_days: int = Field(
        default=90,
        ge=1,
        le=3650,
        description="warn when the key that wraps is in use for longer; nothing is rotated unasked",
    )

    @property
    def keys(self) -> KeySettings:
        """The same as the vault takes it."""
        return KeySettings(key_dir=self.key_dir, passphrase_env=self.passphrase_env, kms=self.kms)
