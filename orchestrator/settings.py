"""What can be set, with defaults and limits: `config.toml`, overridden by the environment.

Unknown keys are errors. `docs/SETTINGS.md` is printed from these models. Source: contracts §4.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestrator.core.errors import SettingsError
from orchestrator.recording_settings import EncryptionSettings, RecordingSettings, Section

DEFAULT_FILE: Final = Path("config.toml")
# Somebody may have put a password into the URL, or the passphrase where the name of its variable belongs.
_MAY_HOLD_A_PASSWORD: Final = frozenset(
    {"recording.chunk_store", "recording.checkpoint_copies", "encryption.passphrase_env", "encryption.kms"}
)
MIN_SECRET: Final = 32  # characters; livekit-server refuses less

# Which variable sets which key; of several for one key the first that is set counts. Empty means not set.
ENVIRONMENT: Final[dict[str, tuple[str, ...]]] = {
    "engine": ("ENGINE",),
    "server.host": ("SERVER_HOST",),
    "server.port": ("SERVER_PORT",),
    "server.cors_origins": ("CORS_ORIGINS",),
    "livekit.server_url": ("LIVEKIT_SERVER_URL", "LIVEKIT_URL"),
    "livekit.api_key": ("LIVEKIT_API_KEY",),
    "livekit.api_secret": ("LIVEKIT_API_SECRET",),
    "sessions.default_ttl": ("DEFAULT_SESSION_TTL",),
    "logging.level": ("LOG_LEVEL",),
    "service.name": ("SERVICE_NAME",),
    "service.version": ("SERVICE_VERSION",),
    "service.environment": ("ENVIRONMENT",),
    "store.url": ("STORE_URL",),
    "recording.quality": ("RECORDING_QUALITY",),
    "recording.format": ("RECORDING_FORMAT",),
    "recording.mode": ("RECORDING_MODE",),
    "recording.layout": ("RECORDING_LAYOUT",),
    "recording.chunk_store": ("CHUNK_STORAGE_PATH",),
    "recording.checkpoint_copies": ("MERKLE_STORAGE_PATH",),
    "recording.spool_path": ("SPOOL_PATH",),
    "recording.spool_budget": ("SPOOL_BUDGET",),
    "encryption.key_dir": ("GREENROOM_KEY_DIR",),
    "encryption.passphrase_env": ("GREENROOM_PASSPHRASE_ENV",),
    "encryption.kms": ("GREENROOM_KMS",),
}


def _seconds(default: float, what: str, *, at_most: float = 10 * 365 * 86400.0) -> Any:
    return Field(default, gt=0, le=at_most, description=f"{what} (s)")


class ServerSettings(Section):
    """Where the orchestrator listens."""

    host: str = Field(default="127.0.0.1", description="address to listen on; loopback only")
    port: int = Field(default=8080, ge=1, le=65535, description="TCP port")
    workers: int = Field(default=1, ge=1, le=1, description="processes; more than one needs a shared store")
    cors_origins: tuple[str, ...] = Field(
        default=(),
        description="origins whose pages may call the API; in the environment a comma list or JSON",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="names that callers use for this server besides its address and localhost"
    )
    shutdown_timeout: float = _seconds(30, "running requests are given this long at the end")

    @field_validator("host")
    @classmethod
    def _is_loopback(cls, value: str) -> str:
        if not is_loopback(value):
            raise ValueError("only loopback may be bound while there is no authentication; use 127.0.0.1")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[a-z0-9_][a-z0-9._-]*", name):
                raise ValueError(f"{name!r} is no name; write host.example in lower case, without a port")
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                return msgspec.json.decode(value)
            except msgspec.DecodeError:
                raise ValueError("is no JSON list; write origins separated by commas") from None
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise ValueError(f"{origin!r} is no origin; write scheme://host[:port] without a path")
        return value


class LivekitSettings(Section):
    """The media server. `greenroom up` fills in url, key and secret of the one that it starts."""

    server_url: str | None = Field(default=None, description="ws:// or wss:// address")
    api_key: str | None = Field(default=None, min_length=1, description="name of the API key")
    api_secret: SecretStr | None = Field(default=None, description=f"at least {MIN_SECRET} characters")
    max_participants: int = Field(default=50, ge=1, le=10_000, description="participants in one room")
    token_ttl: float = Field(default=300, ge=10, le=86400, description="life of a join token (s)")

    @field_validator("server_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in ("ws", "wss", "http", "https") or not parts.hostname:
                raise ValueError("is no address of a LiveKit server; write ws://HOST:PORT or wss://HOST")
            if parts.username or parts.password or parts.query or parts.fragment:
                raise ValueError("holds more than an address; write ws://HOST:PORT or wss://HOST")
        return value

    @field_validator("api_secret")
    @classmethod
    def _is_strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SECRET:
            raise ValueError(
                f"has {len(value.get_secret_value())} characters and LiveKit needs {MIN_SECRET};"
                " make one with: openssl rand -hex 32"
            )
        return value


class MicroservicesSettings(Section):
    """How long workers may take."""

    registration_timeout: float = _seconds(30, "a registered worker not heard for this long is Disconnected")
    join_timeout: float = _seconds(60, "all required services must be in the room within")
    service_timeout: float = _seconds(60, "`strict` ends a session whose service is absent for this long")
    retry_interval: float = _seconds(30, "an absent service's job is offered again at the latest after")
    client_timeout: float = _seconds(300, "a Ready room without a client ends after")
    notify_timeout: float = _seconds(10, "deadline of a call to a push worker", at_most=300)
    heartbeat_interval: float = _seconds(2, "between heartbeats; three missed mean dead", at_most=60)


class SessionsSettings(Section):
    """How long sessions may live."""

    create_timeout: float = _seconds(15, "LiveKit must have made the room within", at_most=300)
    termination_timeout: float = _seconds(30, "hard limit of an ending", at_most=600)
    default_ttl: float = _seconds(86400, "life of a session without a client, when the caller names none")
    max_duration: float | None = Field(default=None, gt=0, description="hard limit of a session's life (s)")


class ReconcileSettings(Section):
    """How often LiveKit is asked for the truth."""

    rooms_interval: float = _seconds(1, "between lists of all rooms", at_most=60)
    participants_interval: float = _seconds(5, "between lists of a live room's participants", at_most=300)


class NetworkSettings(Section):
    """Where workers and webhooks may be called."""

    allow_private_endpoints: bool | None = Field(
        default=None,
        description="call private and loopback addresses; unset: only while bound to loopback",
    )


class EventsSettings(Section):
    """The feed."""

    keep_alive: float = _seconds(15, "between keep-alive comments on an event stream", at_most=300)
    retention: float = _seconds(7 * 86400, "events older than this are forgotten")
    lease: float = _seconds(10, "a command not finished in this time may be taken by another", at_most=300)


class WebhooksSettings(Section):
    """Outgoing webhooks."""

    timeout: float = _seconds(15, "a receiver must have answered within", at_most=60)
    first_retry: float = _seconds(5, "pause after a first failure; doubles up to 600", at_most=600)
    give_up: float = _seconds(86400, "a session whose deliveries fail this long gets dead letters")
    max_targets: int = Field(default=20, ge=1, le=100, description="registrations at most")


class LoggingSettings(Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least shown")
    format: Literal["console", "json"] | None = Field(default=None, description="unset: by the terminal")

    @field_validator("level", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value


class ServiceSettings(Section):
    """What this installation calls itself."""

    name: str = Field(default="greenroom", min_length=1, description="name in logs")
    version: str = Field(
        default=package_version("greenroom"), min_length=1, description="unset: the package's"
    )
    environment: str = Field(default="development", min_length=1, description="name in logs")


class StoreSettings(Section):
    """Where sessions, events and registrations are kept."""

    url: str = Field(default="sqlite:///data/greenroom.db", description="sqlite:///PATH or memory://")

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: str) -> str:
        is_sqlite = value.startswith("sqlite:///") and len(value) > len("sqlite:///")
        if value != "memory://" and not (is_sqlite and "?" not in value and "#" not in value):
            scheme = value.split(":", 1)[0][:20]
            raise ValueError(
                f"{scheme!r} is no store; write sqlite:///PATH (a file) or memory:// (for tests)"
            )
        return value

    @property
    def path(self) -> Path | None:
        """The database file; None for the memory store."""
        return Path(self.url.removeprefix("sqlite:///")) if self.url.startswith("sqlite:") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaServer:
    """The media server once it is certain that it is configured."""

    server_url: str
    api_key: str
    api_secret: str = field(repr=False)
    max_participants: int
    token_ttl_s: float


class Settings(BaseSettings):
    """All of it. Made by `load_settings`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    engine: Literal["auto", "livekit", "embedded"] = Field(
        default="auto", description="which media server `greenroom up` starts"
    )
    server: ServerSettings = ServerSettings()
    livekit: LivekitSettings = LivekitSettings()
    microservices: MicroservicesSettings = MicroservicesSettings()
    sessions: SessionsSettings = SessionsSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    network: NetworkSettings = NetworkSettings()
    events: EventsSettings = EventsSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    logging: LoggingSettings = LoggingSettings()
    service: ServiceSettings = ServiceSettings()
    store: StoreSettings = StoreSettings()
    recording: RecordingSettings = RecordingSettings()
    encryption: EncryptionSettings = EncryptionSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values only from `load_settings`: the names of variables are ours, not made from fields."""
        return (init_settings,)

    @property
    def allow_private_endpoints(self) -> bool:
        """Whether push workers may have private addresses."""
        chosen = self.network.allow_private_endpoints
        return is_loopback(self.server.host) if chosen is None else chosen

    def media_server(self) -> MediaServer:
        """Give the media server that is configured.

        Raises:
            SettingsError: url, key or secret is not set.
        """
        livekit = self.livekit
        if livekit.server_url is None or livekit.api_key is None or livekit.api_secret is None:
            missing = next(n for n in ("server_url", "api_key", "api_secret") if getattr(livekit, n) is None)
            place = _place(f"livekit.{missing}", {})
            raise SettingsError(f"{place} is not set; set it, or start everything with `greenroom up`")
        return MediaServer(
            server_url=livekit.server_url,
            api_key=livekit.api_key,
            api_secret=livekit.api_secret.get_secret_value(),
            max_participants=livekit.max_participants,
            token_ttl_s=livekit.token_ttl,
        )


def load_settings(config: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the file, lay the environment over it, check everything.

    Args:
        config: the file named by `--config`; None: `CONFIG_PATH`, else `./config.toml` when present.
        environment: variables; None: those of the process.

    Raises:
        SettingsError: one sentence about the first mistake: the setting, its value, the fix.
    """
    variables = os.environ if environment is None else environment
    if config is None and variables.get("CONFIG_PATH"):
        config = Path(variables["CONFIG_PATH"])
    path = config or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    values = {} if path is None else _read_file(path)
    for key, names in ENVIRONMENT.items():
        name = next((name for name in names if variables.get(name)), None)
        if name is not None:
            section, _, leaf = key.rpartition(".")
            target = values.setdefault(section, {}) if section else values
            if isinstance(target, dict):
                target[leaf] = variables[name]
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_sentence(error.errors()[0], values, variables)) from None


def is_loopback(host: str) -> bool:
    """Whether an address to bind is this machine only. Odd spellings of addresses are not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"configuration file {path} does not exist; name another or leave it out"
        ) from None
    except OSError as error:
        raise SettingsError(f"configuration file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, not TOML
        raise SettingsError(f"configuration file {path} is not valid TOML: {error}") from None


def _sentence(error: ErrorDetails, values: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    """Say what is wrong with the first bad setting; a secret's value is never in it."""
    key = ".".join(str(part) for part in error["loc"])
    place = _place(key, variables)
    if error["type"] == "extra_forbidden":
        return f"{place} is no setting of this version; see docs/SETTINGS.md for the names"
    cause = error.get("ctx", {}).get("error")
    phrase = error["msg"][:1].lower() + error["msg"][1:]
    reason = str(cause) if error["type"] == "value_error" and cause else phrase
    if error["type"].startswith("byte_size"):
        reason = "no size; write bytes or a unit, such as 500MB or 2GiB"
    if "secret" in key or key in _MAY_HOLD_A_PASSWORD:
        return f"{place} {reason}"
    value: Any = values
    for part in error["loc"]:
        value = value[part] if isinstance(value, Mapping) and part in value else None
    return f"{place} = {value!r}: {reason}"


def _place(key: str, variables: Mapping[str, str]) -> str:
    """Name a setting as its reader finds it: the variable that set it, or its place in the file."""
    names = ENVIRONMENT.get(key, ())
    used = next((name for name in names if variables.get(name)), None)
    if used is not None:
        return used
    return f"{key} ({names[0]})" if names else key
