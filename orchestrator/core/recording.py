"""The recording facet of a session: its states, one table, and the record that moves along it.

Source: architecture §4 (the recording facet), contracts §7 (`recording`, `control`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from orchestrator.core.errors import IllegalTransitionError
from orchestrator.core.ids import RecordingId, ServiceId

RECORDER: Final = ServiceId("recorder")  # the service that records


class RecordingStatus(Enum):
    """Where the recording of a session stands."""

    IDLE = "idle"  # nobody asked for one
    STARTING = "starting"  # a recorder is being found
    RECORDING = "recording"  # media is captured and stored
    STOPPING = "stopping"  # capture is over, sealing goes on
    STOPPED = "stopped"  # the manifest is stored
    PROCESSING = "processing"  # being verified
    COMPLETED = "completed"  # verified
    FAILED = "failed"  # with the reason in `detail`; what is stored stays stored


_S = RecordingStatus
_ORDER: Final = (_S.STARTING, _S.RECORDING, _S.STOPPING, _S.STOPPED, _S.PROCESSING, _S.COMPLETED)

# A report may skip states (a frame was lost with its connection) but never goes back, except that another
# attempt of the same recording captures again.
TABLE: Final[frozenset[tuple[RecordingStatus, RecordingStatus]]] = frozenset(
    {(_S.IDLE, _S.STARTING), (_S.RECORDING, _S.STARTING)}
    | {(a, b) for i, a in enumerate(_ORDER) for b in _ORDER[i + 1 :]}
    | {(a, _S.FAILED) for a in _ORDER if a is not _S.COMPLETED}
)
RUNNING: Final = frozenset(_ORDER) - {_S.COMPLETED}
CAPTURING: Final = frozenset({_S.STARTING, _S.RECORDING})  # a recorder is, or is to be, in the room


def check_move(old: RecordingStatus, new: RecordingStatus) -> None:
    """Refuse an illegal move of the facet.

    Raises:
        IllegalTransitionError: the table has no such pair.
    """
    if (old, new) not in TABLE:
        raise IllegalTransitionError(f"a recording that is {old.value} cannot become {new.value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The last tree head that one attempt reported: what `verify --against` compares. ``root`` is hex.

    Attributes:
        note: the signed checkpoint; "" when a successor closed the attempt at another size than reported.
        is_closed: a successor closed the attempt at this size; the first close holds.
    """

    attempt: int
    size: int
    root: str
    note: str = ""
    is_closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An operation asked of the recorder: repeated until a report shows its number."""

    n: int
    op: Literal["pause", "resume", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The facet's record.

    Attributes:
        n: number of the last report of the current attempt that is committed.
        wanted: the last operation asked for; None when none was.
        done_op: number of the last operation that a report showed as carried out.
        store: where the recorder keeps it, as it says.
        stats: measured by the recorder (duration_s, chunks, bytes, frames, dropped, …).
    """

    recording_id: RecordingId
    status: RecordingStatus = RecordingStatus.IDLE
    attempt: int = 0
    n: int = 0
    wanted: Control | None = None
    done_op: int = 0
    store: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()
    stats: dict[str, float] = field(default_factory=dict)
    detail: str = ""

    @property
    def is_running(self) -> bool:
        """Whether a recorder still has something to do for it."""
        return self.status in RUNNING
