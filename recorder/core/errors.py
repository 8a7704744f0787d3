"""What can go wrong while recording, one class per thing the caller does about it.

RecorderError
├── CaptureError            media cannot be captured or encoded: the track is left out, the rest goes on
├── PassthroughUnfitError   this room or network needs decoded capture: take that
├── E2eeKeyMissingError     the room is end-to-end encrypted and there is no key: the recording fails
├── RemovedFromRoomError    the media server put the recorder out: another attempt has to be made
├── StaleAttemptError       another attempt holds the recording: stop at once
├── StoreLostError          nothing more can be stored: the recording fails, what is stored stays
└── SettingsError           the settings cannot work: say so and end with exit code 2
"""

from __future__ import annotations


class RecorderError(Exception):
    """Something about recording; the message is one sentence for the person who reads the log."""


class CaptureError(RecorderError):
    """The media of one track cannot be captured or encoded."""


class PassthroughUnfitError(RecorderError):
    """The room (encryption, codecs) or the network (no UDP) cannot be recorded without decoding."""


class E2eeKeyMissingError(RecorderError):
    """A track is end-to-end encrypted, and the key that opens it was not given or is not at hand."""


class RemovedFromRoomError(RecorderError):
    """The media server put the recorder out of the room, or somebody joined under its identity."""


class StaleAttemptError(RecorderError):
    """Another attempt holds the recording; nothing that this one writes is part of it."""


class StoreLostError(RecorderError):
    """The chunk store takes no more; what was acknowledged before stays verifiable."""


class SettingsError(RecorderError):
    """A setting cannot work."""
