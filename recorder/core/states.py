"""The life of one recording as its recorder sees it: one table.

Source: architecture §4 (the recording facet), contracts §7 (`recording`, `control`, `leave`).
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class RecordingState(Enum):
    """Where a recording stands; the values are the wire's."""

    STARTING = "starting"  # the attempt is being opened
    RECORDING = "recording"  # media is captured and stored
    PAUSED = "paused"  # in the room, and nothing is stored of what comes
    STOPPING = "stopping"  # capture is over, sealing goes on
    STOPPED = "stopped"  # the manifest is stored
    PROCESSING = "processing"  # the recorder verifies what it stored
    COMPLETED = "completed"  # verified
    FAILED = "failed"  # it cannot go on; what is stored stays stored


class Step(Enum):
    """What can happen to a recording."""

    OPENED = "opened"  # the attempt's key record is stored, capture begins
    PAUSED = "paused"  # told to pause
    RESUMED = "resumed"  # told to go on
    CUT = "cut"  # told to stop, the room ended, or the recorder shuts down
    MANIFEST_STORED = "manifest_stored"
    VERIFYING = "verifying"
    VERIFIED = "verified"
    BROKEN = "broken"  # the store takes no more, or what was stored does not verify


class IllegalStepError(Exception):
    """The table has no such pair: a bug of the recorder, or a late signal that the caller drops."""


_R = RecordingState
_S = Step
ENDED: Final = frozenset({_R.COMPLETED, _R.FAILED})
CAPTURING: Final = frozenset({_R.STARTING, _R.RECORDING, _R.PAUSED})

TABLE: Final[dict[tuple[RecordingState, Step], RecordingState]] = {
    (_R.STARTING, _S.OPENED): _R.RECORDING,
    (_R.STARTING, _S.CUT): _R.STOPPING,  # stopped before any media, or task `complete`: nothing to capture
    (_R.STARTING, _S.BROKEN): _R.FAILED,
    (_R.RECORDING, _S.PAUSED): _R.PAUSED,
    (_R.RECORDING, _S.CUT): _R.STOPPING,
    (_R.RECORDING, _S.BROKEN): _R.FAILED,
    (_R.PAUSED, _S.RESUMED): _R.RECORDING,
    (_R.PAUSED, _S.CUT): _R.STOPPING,
    (_R.PAUSED, _S.BROKEN): _R.FAILED,
    (_R.STOPPING, _S.MANIFEST_STORED): _R.STOPPED,
    (_R.STOPPING, _S.BROKEN): _R.FAILED,
    (_R.STOPPED, _S.VERIFYING): _R.PROCESSING,
    (_R.STOPPED, _S.BROKEN): _R.FAILED,
    (_R.PROCESSING, _S.VERIFIED): _R.COMPLETED,
    (_R.PROCESSING, _S.BROKEN): _R.FAILED,
}


def next_state(state: RecordingState, step: Step) -> RecordingState:
    """Look up where a recording goes.

    Raises:
        IllegalStepError: the table has no such pair.
    """
    try:
        return TABLE[state, step]
    except KeyError:
        raise IllegalStepError(f"a recording that is {state.value} does not know {step.value!r}") from None
