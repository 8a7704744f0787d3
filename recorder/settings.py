"""What can be set for the recorder, all by environment variables. Source: contracts §4."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import ByteSize, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from recorder.core.errors import SettingsError
from vault.core.store_location import parse_location

_VARIABLES: Final = {
    "url": "GREENROOM_URL",
    "chunk_store": "CHUNK_STORAGE_PATH",
    "checkpoint_copies": "MERKLE_STORAGE_PATH",
    "key_dir": "GREENROOM_KEY_DIR",
    "passphrase_env": "GREENROOM_PASSPHRASE_ENV",
    "kms": "GREENROOM_KMS",
    "spool_path": "SPOOL_PATH",
    "spool_budget": "SPOOL_BUDGET",
    "capacity": "RECORDER_CAPACITY",
    "log_level": "LOG_LEVEL",
}
_MAY_HOLD_A_PASSWORD: Final = tuple(
    _VARIABLES[name] for name in ("url", "chunk_store", "checkpoint_copies", "passphrase_env", "kms")
)


class RecorderSettings(BaseSettings):
    """The recorder's settings; an empty variable counts as not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="ignore")

    url: str = Field(
        default="http://127.0.0.1:8080",
        validation_alias=_VARIABLES["url"],
        description="the orchestrator, http(s)://HOST[:PORT]",
    )
    chunk_store: str = Field(
        default="data/recordings",
        validation_alias=_VARIABLES["chunk_store"],
        description="where recordings are written: a folder, or s3://BUCKET/PREFIX?endpoint=URL&region=NAME",
    )
    checkpoint_copies: str = Field(
        default="",
        validation_alias=_VARIABLES["checkpoint_copies"],
        description="where the last checkpoint of each attempt is kept a second time; likewise",
    )
    key_dir: Path = Field(
        default=Path("data/keys"),
        validation_alias=_VARIABLES["key_dir"],
        description="folder of the keys, made at the first start",
    )
    passphrase_env: str = Field(
        default="",
        pattern=r"^([A-Z_][A-Z0-9_]*)?$",
        validation_alias=_VARIABLES["passphrase_env"],
        description="name of the variable with the passphrase that seals the key files",
    )
    kms: str = Field(
        default="",
        validation_alias=_VARIABLES["kms"],
        description="https://HOST[:PORT]/MOUNT/KEY of a transit key that wraps, its token in VAULT_TOKEN",
    )
    spool_path: Path = Field(
        default=Path("data/spool"),
        validation_alias=_VARIABLES["spool_path"],
        description="folder on this machine for what the chunk store does not take; ciphertext only",
    )
    spool_budget: ByteSize = Field(
        default=ByteSize(2 << 30),
        ge=0,
        validation_alias=_VARIABLES["spool_budget"],
        description="bytes of the spool, such as `2GiB`, in equal shares for each session; 0: no spool",
    )
    capacity: int = Field(
        default=4,
        ge=1,
        le=100,
        validation_alias=_VARIABLES["capacity"],
        description="sessions recorded at the same time; decoded capture of one camera takes about 0.4 cores",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", validation_alias=_VARIABLES["log_level"], description="least level in the log"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("chunk_store", "checkpoint_copies")
    @classmethod
    def _check_location(cls, value: str, field: ValidationInfo) -> str:
        if value or field.field_name == "chunk_store":
            parse_location(value)
        return value

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be http(s)://HOST[:PORT]")
        if parts.username or parts.password:
            raise ValueError("must not hold a user or a password")
        return value.rstrip("/")


def load_settings() -> RecorderSettings:
    """Read the environment.

    Raises:
        SettingsError: one sentence that names the variable, its value and what it must be.
    """
    try:
        return RecorderSettings()
    except ValidationError as error:
        raise SettingsError(_sentence(dict(error.errors()[0]))) from None


def _sentence(error: dict[str, Any]) -> str:
    variable = str(error["loc"][0]) if error["loc"] else "the environment"
    reason = str(error["msg"]).removeprefix("Value error, ").lower()
    if str(error["type"]).startswith("byte_size"):
        reason = "it is no size; write bytes or a unit, such as 500MB or 2GiB"
    shown = "" if variable in _MAY_HOLD_A_PASSWORD else f"={error['input']!r}"
    return f"{variable}{shown} cannot be used: {reason}"
