"""Files that hold one secret each: a line of text, for its owner only, in clear or sealed with a passphrase.

Source: docs/RECORDING.md §9.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.adapters.durable_files import create_durably
from vault.core.sealing import KEY_BYTES, NONCE_BYTES
from vault.errors import KeyFileError

PASSPHRASE_NAME: Final = "passphrase.scrypt"  # noqa: S105 - a file name
MIN_PASSPHRASE_CHARS: Final = 16
MIN_PASSPHRASE_DISTINCT: Final = 6

_PASSPHRASE_LABEL: Final = "greenroom-passphrase-1"  # noqa: S105 - the first word of that file
_SEALED_SUFFIX: Final = "-sealed"
_SEAL_CONTEXT: Final = b"greenroom key file v1\x00"
_SALT_BYTES: Final = 16
_CHECK_BYTES: Final = 16
_MAX_FILE_BYTES: Final = 1024
_MIN_DISTINCT_BYTES: Final = 8  # 32 random bytes have fewer with a chance below 2^-100
_MAX_SCRYPT_BYTES: Final = 2**30  # what a cost file may ask for
_MOST_MEMORY: Final = 2**31 - 2  # what OpenSSL may take for that


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """What one guess at the passphrase costs: 128 · n · r bytes of memory and a fraction of a second."""

    n: int = 2**17
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        is_power = self.n >= 2**10 and self.n & (self.n - 1) == 0
        if not (is_power and 1 <= self.r <= 64 and 1 <= self.p <= 16):
            raise ValueError(f"scrypt cost {self.n} {self.r} {self.p} is out of range")
        if 128 * self.n * self.r > _MAX_SCRYPT_BYTES:
            raise ValueError(f"scrypt cost {self.n} {self.r} {self.p} takes more than 1 GiB")


DEFAULT_COST: Final = ScryptCost()


@dataclass(frozen=True, slots=True)
class Passphrase:
    """A passphrase and the variable that it stands in; only the variable is ever shown."""

    text: str = field(repr=False)
    variable: str

    def check_strength(self) -> None:
        """Refuse one that can be guessed.

        Raises:
            KeyFileError: too short, or too few different characters.
        """
        if len(self.text) < MIN_PASSPHRASE_CHARS or len(set(self.text)) < MIN_PASSPHRASE_DISTINCT:
            raise KeyFileError(
                f"the passphrase in {self.variable} is too weak: take at least {MIN_PASSPHRASE_CHARS} "
                f"characters, {MIN_PASSPHRASE_DISTINCT} of them different, such as six random words"
            )


class SecretFiles:
    """Reads and makes the secrets of one key directory; made by `open`."""

    def __init__(self, directory: Path, sealing_key: bytes | None) -> None:
        self._directory = directory
        self._sealing_key = sealing_key

    @classmethod
    def open(cls, directory: Path, passphrase: Passphrase | None) -> SecretFiles:
        """Derive what the secrets are sealed with; without a passphrase they stand in clear.

        Raises:
            KeyFileError: a passphrase is needed and missing, or wrong, or not expected here.
        """
        path = directory / PASSPHRASE_NAME
        if passphrase is None:
            if path.exists():
                raise KeyFileError(
                    f"the keys in {directory} are sealed with a passphrase: name the variable that holds it "
                    "([encryption] passphrase_env, GREENROOM_PASSPHRASE_ENV)"
                )
            return cls(directory, None)
        if not path.exists():
            raise KeyFileError(
                f"the keys in {directory} are not sealed with a passphrase ({PASSPHRASE_NAME} is missing): "
                "set no passphrase_env, or begin with an empty folder"
            )
        return cls(directory, _open_passphrase(path, passphrase))

    @classmethod
    def create(cls, directory: Path, passphrase: Passphrase, cost: ScryptCost) -> None:
        """Begin a key directory whose secrets are sealed with this passphrase.

        Raises:
            KeyFileError: it is too weak.
            FileExistsError: there is a passphrase already.
        """
        passphrase.check_strength()
        salt = secrets.token_bytes(_SALT_BYTES)
        check = _derive(passphrase, salt, cost)[KEY_BYTES:]
        line = f"{_PASSPHRASE_LABEL} {cost.n} {cost.r} {cost.p} {_encode(salt)} {_encode(check)}\n"
        create_durably(directory / PASSPHRASE_NAME, line.encode())

    def read(self, name: str, label: str) -> bytes:
        """One secret of 32 bytes.

        Raises:
            KeyFileError: missing, weak, corrupt, open to others, or not sealed as the directory is.
        """
        path = self._directory / name
        line = read_line(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise KeyFileError(f"{path} is open to others (mode {mode:04o}): chmod 600 it")
        found_label, _, encoded = line.partition(" ")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        key = data
        if self._sealing_key is not None:
            label += _SEALED_SUFFIX
            try:
                key = AESGCM(self._sealing_key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _aad(name))
            except (InvalidTag, ValueError):
                key = b""
        if found_label != label or len(key) != KEY_BYTES or _encode(data) != encoded:
            what = f"{KEY_BYTES} bytes" if self._sealing_key is None else f"{KEY_BYTES} sealed bytes"
            raise KeyFileError(f"{path} is corrupt: it is not {label!r} and {what} in base64")
        if len(set(key)) < _MIN_DISTINCT_BYTES:
            raise KeyFileError(f"{path} is weak: its bytes are not random")
        return key

    def write(self, name: str, label: str, key: bytes) -> None:
        """Make the file of one secret; one that is there is never written over.

        Raises:
            OSError: it is there, or the file system refused.
        """
        data = key
        if self._sealing_key is not None:
            label += _SEALED_SUFFIX
            nonce = secrets.token_bytes(NONCE_BYTES)
            data = nonce + AESGCM(self._sealing_key).encrypt(nonce, key, _aad(name))
        create_durably(self._directory / name, f"{label} {_encode(data)}\n".encode())


def read_line(path: Path) -> str:
    """The one line of a small file, without its end.

    Raises:
        KeyFileError: missing, unreadable, or not one line of ASCII text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        text = data.decode("ascii")
    except FileNotFoundError:
        raise KeyFileError(f"{path} is missing") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise KeyFileError(f"{path} is corrupt: it is not one line of ASCII text") from None
    if len(data) > _MAX_FILE_BYTES or text.count("\n") != 1 or not text.endswith("\n"):
        raise KeyFileError(f"{path} is corrupt: it is not one line of ASCII text")
    return text[:-1]


def _open_passphrase(path: Path, passphrase: Passphrase) -> bytes:
    try:
        label, n, r, p, salt, check = read_line(path).split(" ")
        cost = ScryptCost(int(n), int(r), int(p))
        salt_bytes, check_bytes = (
            base64.b64decode(salt, validate=True),
            base64.b64decode(check, validate=True),
        )
    except ValueError as error:
        raise KeyFileError(f"{path} is corrupt: {error}") from None
    if label != _PASSPHRASE_LABEL or (len(salt_bytes), len(check_bytes)) != (_SALT_BYTES, _CHECK_BYTES):
        raise KeyFileError(f"{path} is corrupt: it is not {_PASSPHRASE_LABEL!r} with cost, salt and check")
    derived = _derive(passphrase, salt_bytes, cost)
    if not hmac.compare_digest(derived[KEY_BYTES:], check_bytes):
        raise KeyFileError(
            f"the passphrase in {passphrase.variable} is not the one of {path}; nothing was changed"
        )
    return derived[:KEY_BYTES]


def _derive(passphrase: Passphrase, salt: bytes, cost: ScryptCost) -> bytes:
    return hashlib.scrypt(
        passphrase.text.encode(),
        salt=salt,
        n=cost.n,
        r=cost.r,
        p=cost.p,
        maxmem=_MOST_MEMORY,
        dklen=KEY_BYTES + _CHECK_BYTES,
    )


def _aad(name: str) -> bytes:
    return _SEAL_CONTEXT + name.encode()  # the name holds the key's id, so no file stands for another


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode()
