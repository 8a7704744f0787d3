"""What can go wrong with a stored recording, one class per thing the caller does about it.

VaultError
├── StoreError              the store refused or did not answer: try again
│   └── StoreFullError      no space left: stop, close what is sealed
├── StoreSetupError         the store cannot be used as it is set: repair the setting, bucket or credentials
├── FileMissingError        the store answered: there is no such file
├── ChunkExistsError        the place holds other bytes: another writer was here, stop
├── IntegrityError          the bytes are not what was written: refuse them
│   ├── FormatError         they do not follow docs/RECORDING.md
│   ├── SignatureError      they are not signed by the key in use
│   │   └── OtherSignerError  they are signed by another key: bring the right public key
│   └── ProofError          they do not lead to the signed root
├── KeyFileError            the keys cannot be used as they are: repair the key directory or its settings
├── KeyServiceError         the key service did not answer, or is sealed: try again
├── WrongKeyError           the keys at hand do not open this recording: bring the right ones
├── HeldError               it is under legal hold: release it first
├── ShreddedError           its keys were destroyed: nobody reads it any more
├── UploadConflictError     the index of an upload holds other bytes: send these under another
├── UploadClosedError       the upload takes no more chunks: begin another
├── NotARecordingError      there is no recording at this place: misuse
└── ExportError             this recording cannot be written as the file that was asked for
"""

from __future__ import annotations


class VaultError(Exception):
    """Something about a stored recording; the message is one sentence for the person who reads the log."""


class StoreError(VaultError):
    """The chunk store refused or did not answer; the same call may be repeated."""


class StoreFullError(StoreError):
    """The chunk store has no space left."""


class StoreSetupError(VaultError):
    """The chunk store cannot be used as it is set; trying again does not help."""


class FileMissingError(VaultError):
    """The chunk store has no file of this name."""


class ChunkExistsError(VaultError):
    """A file of this name holds other bytes, and what is stored is never changed."""


class IntegrityError(VaultError):
    """Stored bytes are not what a recorder of ours wrote there."""


class FormatError(IntegrityError):
    """Stored bytes do not follow docs/RECORDING.md."""


class SignatureError(IntegrityError):
    """A signature is not by the key in use, or not over these bytes."""


class OtherSignerError(SignatureError):
    """A signature names another key than the one in use."""


class ProofError(IntegrityError):
    """Hashes do not lead to the root hash that was signed."""


class KeyFileError(VaultError):
    """A key file is missing, weak, corrupt or open to others, or a key service refuses us."""


class KeyServiceError(VaultError):
    """The key service did not answer or is sealed; the same call may be repeated."""


class WrongKeyError(VaultError):
    """The key-encryption keys at hand do not open this recording."""


class HeldError(VaultError):
    """The recording is under legal hold: nothing of it is shredded or deleted until it is released."""


class ShreddedError(VaultError):
    """The recording was shredded: its keys are destroyed, its proof remains."""


class UploadConflictError(VaultError):
    """An index of an upload holds other bytes, and what is stored is never changed."""


class UploadClosedError(VaultError):
    """An upload has its manifest; nothing may be added to it."""


class NotARecordingError(VaultError):
    """This place holds no recording."""


class ExportError(VaultError):
    """The recording cannot be written as one MP4 file at the place asked for."""
