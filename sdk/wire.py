"""The JSON that orchestrator, workers and clients exchange: HTTP bodies and the pull protocol's frames.

Source: contracts §1, §7. Unknown fields are ignored, missing or mistyped ones a `msgspec.ValidationError`.
"""

from __future__ import annotations

from typing import Any, Final, Literal, cast, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

MAX_FRAME_BYTES: Final = 64 * 1024  # larger WebSocket frames close the connection with 1009
RECORDER_SERVICE: Final = "recorder"

# The signed attributes of a LiveKit token by which the orchestrator knows whom it minted it for.
ATTRIBUTE_ROLE: Final = "greenroom.role"
ATTRIBUTE_SERVICE: Final = "greenroom.service"
ATTRIBUTE_ATTEMPT: Final = "greenroom.attempt"

Policy = Literal["degrade", "strict"]
RoomStatus = Literal["Creating", "WaitingForServices", "Ready", "Active", "Terminating", "Terminated"]
ServiceStatus = Literal["Registered", "Joining", "Ready", "Disconnected"]
ReportState = Literal["joined", "ready", "done", "failed"]
RecordingState = Literal[
    "starting", "recording", "paused", "stopping", "stopped", "processing", "completed", "failed"
]


class _Shape(Struct, frozen=True, kw_only=True):
    """What all shapes share. A token never shows in a repr, because a repr ends in logs."""

    def __rich_repr__(self) -> Any:
        for name in self.__struct_fields__:
            yield name, "(secret)" if name.endswith(("_token", "_key")) else getattr(self, name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={v!r}' for name, v in self.__rich_repr__())})"


class _Frame(_Shape, frozen=True, kw_only=True, tag_field="t"):
    """A frame of the pull protocol; ``t`` says which."""


class _JobFrame(_Frame, frozen=True, kw_only=True):
    """A frame about one attempt of one job."""

    job_id: str
    attempt: int


# --- HTTP ---


class ServiceOptions(_Shape, frozen=True, kw_only=True):
    """How one service is treated. ``priority``: the higher the earlier; ``capabilities`` must match."""

    required: bool = True
    policy: Policy | None = None
    priority: int = 0
    capabilities: dict[str, str] = {}


class CreateSession(_Shape, frozen=True, kw_only=True):
    """Body of `POST /api/v1/create-session`. ``wait_s``, ``expires_in`` and ``max_duration`` are seconds."""

    user_identity: str
    user_name: str | None = None
    room_name: str | None = None
    metadata: dict[str, str] | None = None
    required_services: list[str] | None = None
    wait_s: float | None = None
    policy: Policy | None = None
    services: dict[str, ServiceOptions] | None = None
    record: bool | None = None
    expires_in: float | None = None
    max_duration: float | None = None


class SessionCreated(_Shape, frozen=True, kw_only=True):
    """Answer of create-session. The token joins the room at ``livekit_url`` as ``user_identity``."""

    session_id: str
    room_name: str
    access_token: str
    livekit_url: str
    status: RoomStatus
    missing_services: list[str] = []


class TokenRequest(_Shape, frozen=True, kw_only=True):
    """Body of `POST /api/v1/sessions/{id}/token`: who wants to join, and in which role."""

    user_identity: str
    user_name: str | None = None
    role: Literal["client", "operator"] = "client"


class TokenGranted(_Shape, frozen=True, kw_only=True):
    """Answer of the token route; ``expires_at`` is RFC 3339 UTC."""

    access_token: str
    expires_at: str
    livekit_url: str
    room_name: str


class ErrorBody(_Shape, frozen=True, kw_only=True, omit_defaults=True):
    """The one error body of every program that listens."""

    error: str
    message: str
    timestamp: str
    code: int = 0
    request_id: str = ""
    details: dict[str, Any] = {}


class Register(_Shape, frozen=True, kw_only=True):
    """Body of `POST /api/v1/microservices/register` (push mode). ``capacity`` None means no limit."""

    service_id: str
    endpoint: str
    metadata: dict[str, str] | None = None
    worker_id: str | None = None
    capacity: int | None = None
    in_default: bool = True
    capabilities: dict[str, str] | None = None


class Registered(_Shape, frozen=True, kw_only=True):
    """Answer of register."""

    success: bool
    service_id: str
    message: str


class Heartbeat(_Shape, frozen=True, kw_only=True):
    """Body of `POST /api/v1/microservices/{service_id}/heartbeat`; 404 when the registration is gone."""

    worker_id: str | None = None
    load: float | None = None
    draining: bool = False


class JoinRoom(_Shape, frozen=True, kw_only=True):
    """Body of `POST {endpoint}/join-room`. ``service_identity`` is the plain service id."""

    room_name: str
    session_id: str
    service_identity: str
    access_token: str
    livekit_url: str
    job_id: str | None = None
    attempt: int | None = None


class JoinedRoom(_Shape, frozen=True, kw_only=True):
    """Answer of join-room."""

    success: bool
    message: str
    session_id: str
    service_id: str


class LeaveRoom(_Shape, frozen=True, kw_only=True):
    """Body of `POST {endpoint}/leave-room`."""

    session_id: str
    room_name: str


class Ready(_Shape, frozen=True, kw_only=True):
    """Body of `POST /api/v1/sessions/{id}/ready`: a service says that it is ready."""

    service_id: str


# --- pull protocol: worker to orchestrator ---


class HeldJob(_Shape, frozen=True, kw_only=True):
    """A job by number and attempt, as ``resuming`` and ``resumed`` list them."""

    job_id: str
    attempt: int


class Hello(_Frame, frozen=True, kw_only=True, tag="hello"):
    """First frame, within 10 s. ``capacity`` None: no limit; ``again``: this process was welcomed before."""

    service_id: str
    worker_id: str
    metadata: dict[str, str] = {}
    capabilities: dict[str, str] = {}
    capacity: int | None = 1
    in_default: bool = True
    sdk_version: str = ""
    again: bool = False
    draining: bool = False
    resuming: list[HeldJob] = []


class Ping(_Frame, frozen=True, kw_only=True, tag="ping"):
    """Heartbeat. ``load`` is 0 to 1, ``jobs`` the number of jobs held."""

    load: float = 0.0
    jobs: int = 0
    draining: bool = False


class Accept(_JobFrame, frozen=True, kw_only=True, tag="accept"):
    """The offer is taken. With ``manual_ready`` presence is not enough: the worker reports ``ready``."""

    manual_ready: bool = False


class Refuse(_JobFrame, frozen=True, kw_only=True, tag="refuse"):
    """The offer is not taken; another worker is asked."""

    reason: str = ""


class Report(_JobFrame, frozen=True, kw_only=True, tag="report"):
    """How the job stands. ``joined`` makes the orchestrator look; ``ready`` counts with ``manual_ready``."""

    state: ReportState
    detail: str = ""


class RecordingReport(_JobFrame, frozen=True, kw_only=True, tag="recording"):
    """Recorder only: where the recording stands, at each change and at least every 10 s.

    ``n`` counts the frames of one attempt from 1; answered by `Ack` of that ``n`` or `Stale`. ``root``: hex.
    ``op`` is the number of the last `Control` that was carried out (0: none yet).
    """

    n: int
    recording_id: str
    state: RecordingState
    store: str = ""
    tree_size: int = 0
    root: str = ""
    checkpoint: str = ""
    stats: dict[str, float] = {}
    gaps: list[dict[str, Any]] = []
    closes: list[dict[str, Any]] = []
    op: int = 0
    detail: str = ""


class TokenWanted(_JobFrame, frozen=True, kw_only=True, tag="token"):
    """Ask for a fresh room token for a job that is held."""


WorkerFrame = Hello | Ping | Accept | Refuse | Report | RecordingReport | TokenWanted


# --- pull protocol: orchestrator to worker ---


class Welcome(_Frame, frozen=True, kw_only=True, tag="welcome"):
    """Registered. ``resumed`` are the jobs that stay with the worker; it drops every other one."""

    worker_id: str
    heartbeat_interval: float
    instance: str
    resumed: list[HeldJob] = []


class Pong(_Frame, frozen=True, kw_only=True, tag="pong"):
    """Answer of `Ping`, with the feed's last position."""

    position: str = ""


class Offer(_JobFrame, frozen=True, kw_only=True, tag="offer"):
    """A job to take or refuse within ``deadline`` seconds."""

    session_id: str
    service_id: str
    room_name: str
    metadata: dict[str, str] = {}
    deadline: float = 5.0


class RecordingTask(_Shape, frozen=True, kw_only=True):
    """What to do: capture a room, the controls up to ``op`` done already, or complete what another left."""

    recording_id: str
    task: Literal["capture", "complete"] = "capture"
    op: int = 0
    paused: bool = False
    gaps: list[dict[str, Any]] = []
    closes: list[dict[str, Any]] = []  # of earlier attempts, as committed
    mode: str = "passthrough"
    quality: str = "high"
    format: str = "mp4"
    layout: str = "grid"
    e2ee_key: str = ""  # sealed
    keyframe_interval_s: float = 4.0


class Assign(_JobFrame, frozen=True, kw_only=True, tag="assign"):
    """Join now. ``expires_at`` (RFC 3339) is the token's end; renew by `TokenWanted`."""

    access_token: str
    livekit_url: str
    expires_at: str
    recording: RecordingTask | UnsetType = UNSET


class Ack(_JobFrame, frozen=True, kw_only=True, tag="ack"):
    """The `RecordingReport` of this ``n`` is committed."""

    n: int


class Control(_JobFrame, frozen=True, kw_only=True, tag="control"):
    """A recording operation, idempotent by ``n``, repeated until a `RecordingReport` shows it."""

    n: int
    op: Literal["pause", "resume", "stop"]


class TokenRenewed(_JobFrame, frozen=True, kw_only=True, tag="token"):
    """Answer of `TokenWanted`. A recorder's ``second_token`` joins beside the first connection."""

    access_token: str
    expires_at: str
    second_token: str = ""


class Leave(_JobFrame, frozen=True, kw_only=True, tag="leave"):
    """Leave the room within ``deadline`` seconds; report ``done`` when all is put away."""

    reason: str = ""
    deadline: float = 5.0


class Stale(_JobFrame, frozen=True, kw_only=True, tag="stale"):
    """You are no longer the holder of this job: stop at once, what you write is not part of it."""


class Drain(_Frame, frozen=True, kw_only=True, tag="drain"):
    """Take nothing new and finish what runs within ``deadline`` seconds."""

    deadline: float = 30.0


class Reconnect(_Frame, frozen=True, kw_only=True, tag="reconnect"):
    """This instance goes away: connect again (to another one) with ``resuming``."""

    deadline: float = 5.0


OrchestratorFrame = (
    Welcome | Pong | Offer | Assign | Ack | Control | TokenRenewed | Leave | Stale | Drain | Reconnect
)

_encoder = msgspec.json.Encoder()
_worker_frames = msgspec.json.Decoder(WorkerFrame)
_orchestrator_frames = msgspec.json.Decoder(OrchestratorFrame)
_WORKER_TAGS: Final = frozenset(shape.__struct_config__.tag for shape in get_args(WorkerFrame))
_ORCHESTRATOR_TAGS: Final = frozenset(shape.__struct_config__.tag for shape in get_args(OrchestratorFrame))


def encode_frame(frame: WorkerFrame | OrchestratorFrame) -> str:
    """Give the JSON text of a frame."""
    return _encoder.encode(frame).decode()


def decode_worker_frame(text: str | bytes) -> WorkerFrame | None:
    """Read what a worker sent.

    Returns:
        The frame, or None for a frame of a kind this version does not know (to be ignored).

    Raises:
        msgspec.ValidationError: a known frame with a wrong or missing field (the worker's fault).
        msgspec.DecodeError: not JSON (the worker's fault).
    """
    return cast(WorkerFrame | None, _known(text, _worker_frames, _WORKER_TAGS))


def decode_orchestrator_frame(text: str | bytes) -> OrchestratorFrame | None:
    """Read what the orchestrator sent; the mirror of `decode_worker_frame`."""
    return cast(OrchestratorFrame | None, _known(text, _orchestrator_frames, _ORCHESTRATOR_TAGS))


def _known(text: str | bytes, decoder: msgspec.json.Decoder[Any], tags: frozenset[str]) -> object:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        value = msgspec.json.decode(text)
        if isinstance(value, dict) and isinstance(value.get("t"), str) and value["t"] not in tags:
            return None
        raise
