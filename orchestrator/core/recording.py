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
    PAUSED = "paused"  # the recorder is in the room and writes nothing
    STOPPING = "stopping"  # capture is over, sealing goes on
    STOPPED = "stopped"  # the manifest is stored
    PROCESSING = "processing"  # being verified
    COMPLETED = "completed"  # verified
    FAILED = "failed"  # with the reason in `detail`; what is stored stays stored
    DELETED = "deleted"  # its media is gone for good; a caller, retention or the quota wanted it so


_S = RecordingStatus
_ORDER: Final = (
    _S.STARTING,
    _S.RECORDING,
    _S.PAUSED,
    _S.STOPPING,
    _S.STOPPED,
    _S.PROCESSING,
    _S.COMPLETED,
)

# A report may skip states (a frame was lost with its connection) but never goes back, except that another
# attempt of the same recording captures again, and that a pause ends.
TABLE: Final[frozenset[tuple[RecordingStatus, RecordingStatus]]] = frozenset(
    {(_S.IDLE, _S.STARTING), (_S.IDLE, _S.FAILED)}
    | {(_S.RECORDING, _S.STARTING), (_S.PAUSED, _S.STARTING), (_S.PAUSED, _S.RECORDING)}
    | {(a, b) for i, a in enumerate(_ORDER) for b in _ORDER[i + 1 :]}
    | {(a, _S.FAILED) for a in _ORDER if a is not _S.COMPLETED}
    | {(_S.STOPPED, _S.DELETED), (_S.COMPLETED, _S.DELETED), (_S.FAILED, _S.DELETED)}
)
RUNNING: Final = frozenset(_ORDER) - {_S.COMPLETED}
CAPTURING: Final = frozenset({_S.STARTING, _S.RECORDING, _S.PAUSED})  # a recorder is in the room, or is to be
OPEN: Final = CAPTURING | {_S.IDLE}  # it can be paused, resumed and stopped
SEALING: Final = RUNNING - CAPTURING  # capture is over, a recorder still has to complete it
ENDED: Final = frozenset({_S.COMPLETED, _S.FAILED, _S.DELETED})
AGAIN: Final = ENDED | {_S.STOPPED}  # another recording may follow

# How media can be taken, and what can be asked of what is encoded.
MODES: Final = ("passthrough", "tracks", "composite", "audio")
QUALITIES: Final = ("low", "medium", "high", "ultra")
FORMATS: Final = ("mp4", "webm", "mkv")
LAYOUTS: Final = ("grid", "speaker")

Operation = Literal["pause", "resume", "stop"]


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
class Pause:
    """A stretch in which nothing was recorded on purpose, Unix microseconds; ``end_us`` None: it goes on."""

    start_us: int
    end_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An operation asked of the recorder: repeated until a report shows its number."""

    n: int
    op: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a recording is taken, one of MODES, QUALITIES, FORMATS, LAYOUTS each; "" says nothing of it."""

    mode: str = ""
    quality: str = ""
    format: str = ""
    layout: str = ""

    def over(self, other: Manner) -> Manner:
        """Give this one, and ``other`` where it says nothing."""
        return Manner(
            mode=self.mode or other.mode,
            quality=self.quality or other.quality,
            format=self.format or other.format,
            layout=self.layout or other.layout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The facet's record.

    Attributes:
        n: number of the last report of the current attempt that is committed.
        wanted: the last operation asked for; None when none was.
        done_op: number of the last operation that a report showed as carried out.
        store: where the recorder keeps it, as it says.
        pauses: as the recorder said; who goes on with the recording is told of them, for the manifest.
        mode: how it is taken, one of MODES; in records of before also "decoded", now tracks.
        quality: one of QUALITIES; "", as in records of before, for as the setting says.
        format: one of FORMATS; likewise.
        layout: one of LAYOUTS; likewise.
        e2ee: key of the room's end-to-end encryption, sealed; "" without one, and once it is over.
        stats: measured by the recorder of the current attempt (duration_s, chunks, bytes, frames, …).
        earlier_stats: the same of the attempts before it, added up.
    """

    recording_id: RecordingId
    status: RecordingStatus = RecordingStatus.IDLE
    attempt: int = 0
    n: int = 0
    wanted: Control | None = None
    done_op: int = 0
    store: str = ""
    mode: str = ""
    quality: str = ""
    format: str = ""
    layout: str = ""
    e2ee: str = field(default="", repr=False)
    checkpoints: tuple[Checkpoint, ...] = ()
    pauses: tuple[Pause, ...] = ()
    stats: dict[str, float] = field(default_factory=dict)
    earlier_stats: dict[str, float] = field(default_factory=dict)
    detail: str = ""

    @classmethod
    def begin(cls, recording_id: RecordingId, manner: Manner, *, e2ee: str = "") -> Recording:
        """Give the record of one that nobody took up yet."""
        return cls(
            recording_id=recording_id,
            mode=manner.mode,
            quality=manner.quality,
            format=manner.format,
            layout=manner.layout,
            e2ee=e2ee,
        )

    @property
    def manner(self) -> Manner:
        """How it is taken."""
        return Manner(mode=self.mode, quality=self.quality, format=self.format, layout=self.layout)

    @property
    def is_running(self) -> bool:
        """Whether a recorder still has something to do for it."""
        return self.status in RUNNING

    @property
    def pending(self) -> Operation | None:
        """The operation that was asked for and that no report has shown yet; None when there is none."""
        wanted = self.wanted
        is_open = wanted is not None and self.done_op < wanted.n and self.status in OPEN
        return wanted.op if wanted is not None and is_open else None

    @property
    def is_to_be(self) -> Operation:
        """What was asked for last; ``resume`` when nothing was."""
        return self.wanted.op if self.wanted is not None else "resume"

    @property
    def all_stats(self) -> dict[str, float]:
        """What was measured over all attempts."""
        return add_stats(self.earlier_stats, self.stats)


def add_stats(earlier: dict[str, float], later: dict[str, float]) -> dict[str, float]:
    """Add up what two attempts measured; tracks are the same ones again, not more of them."""
    added = {**earlier}
    for name, value in later.items():
        before = added.get(name, 0.0)
        added[name] = max(before, value) if name == "tracks" else before + value
    return added
