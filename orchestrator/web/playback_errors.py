"""What reading a recording over HTTP is refused with, and which trouble of the vault becomes which.

EdgeError
├── RecordingNotFoundError    404: no such recording
├── TrackNotFoundError        404: no such track, run or chunk in it
├── NotPlayableError          409: its codec does not go this way; another way is named
├── RecordingShreddedError    410: its keys were destroyed, nobody reads it any more
├── RecordingDamagedError     502: stored bytes are not what was recorded; the file is named, none leaves
├── KeysUnavailableError      503: the key that opens it is not at hand
├── ChunkStoreError           503: the chunk store did not answer
└── PlaybackBusyError         503: too much is being read
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from orchestrator.service.threads import BusyError, StoppedError
from orchestrator.web.errors import EdgeError
from vault.core.ids import RecordingId, is_recording_id
from vault.errors import (
    ExportError,
    FileMissingError,
    IntegrityError,
    KeyFileError,
    KeyServiceError,
    NotARecordingError,
    ShreddedError,
    StoreError,
    WrongKeyError,
)

_SHOWN: Final = 60  # characters of an id that an answer repeats


class RecordingNotFoundError(EdgeError):
    """There is no recording of this id."""

    status = 404
    error = "RecordingNotFound"

    def __init__(self, recording_id: str) -> None:
        super().__init__(f"Recording not found: {recording_id[:_SHOWN]}")


class TrackNotFoundError(EdgeError):
    """The recording has no such track, run or chunk."""

    status = 404
    error = "NotFound"


class NotPlayableError(EdgeError):
    """The recording cannot be had in this form."""

    status = 409
    error = "NotPlayable"


class RecordingShreddedError(EdgeError):
    """The recording's keys were destroyed; its proof is still there."""

    status = 410
    error = "RecordingShredded"


class RecordingDamagedError(EdgeError):
    """What is stored is not what was recorded."""

    status = 502
    error = "RecordingDamaged"


class KeysUnavailableError(EdgeError):
    """The keys at hand do not open this recording."""

    status = 503
    error = "KeysUnavailable"


class ChunkStoreError(EdgeError):
    """The chunk store refused or did not answer."""

    status = 503
    error = "ChunkStoreUnavailable"


class PlaybackBusyError(EdgeError):
    """As much is being read as may be at a time."""

    status = 503
    error = "Unavailable"


def recording_id_of(request: web.Request) -> RecordingId:
    """Give the recording that a path names.

    Raises:
        RecordingNotFoundError: nothing can have this id.
    """
    text = request.match_info["recording_id"]
    if not is_recording_id(text):
        raise RecordingNotFoundError(text)
    return RecordingId(text)


@contextmanager
def translated(recording_id: RecordingId) -> Iterator[None]:
    """Answer the vault's trouble with a recording in HTTP's words."""
    try:
        yield
    except NotARecordingError:
        raise RecordingNotFoundError(recording_id) from None
    except ShreddedError as error:
        raise RecordingShreddedError(str(error)) from error
    except (IntegrityError, FileMissingError) as error:
        sentence = f"recording {recording_id} is damaged, and nothing of it left: {error}"
        raise RecordingDamagedError(sentence) from error
    except (KeyFileError, WrongKeyError) as error:
        sentence = f"the keys of recording {recording_id} are not here: {error}"
        raise KeysUnavailableError(f"{sentence}; [encryption] key_dir must hold them") from error
    except KeyServiceError as error:
        raise KeysUnavailableError(f"[encryption] kms does not answer: {error}") from error
    except StoreError as error:
        raise ChunkStoreError(f"[recording] chunk_store does not answer: {error}") from error
    except ExportError as error:
        raise NotPlayableError(str(error)) from error
    except (BusyError, StoppedError) as error:
        raise PlaybackBusyError(str(error)) from error
