"""The key directory: `kek-<id>.key`, `signing.key` and `signing.pub`, one line each.

Whichever program starts first makes the files; a lock on the directory lets one program look and make at a
time, and O_EXCL refuses to write over a key whatever happens. Source: docs/RECORDING.md §9.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.adapters.durable_files import create_durably, make_directories
from vault.core.ids import KekId, VerifyKey
from vault.core.public_key import decode_public_key, encode_public_key
from vault.core.sealing import KEY_BYTES, NONCE_BYTES, AttemptScope, derive_kek_id, unwrap_key, wrap_key
from vault.errors import FormatError, KeyFileError, WrongKeyError

SIGNING_KEY_NAME: Final = "signing.key"
PUBLIC_KEY_NAME: Final = "signing.pub"

_KEK_FILE: Final = re.compile(r"kek-([0-9a-f]{16})\.key\Z")
_KEK_LABEL: Final = "greenroom-kek-1"
_SIGNING_LABEL: Final = "greenroom-signing-key-1"
_MAX_FILE_BYTES: Final = 1024
_MIN_DISTINCT_BYTES: Final = 8  # 32 random bytes have fewer with a chance below 2^-100


class KeyFiles:
    """A KeyRing on a directory of key files. Its repr shows ids only."""

    def __init__(
        self,
        directory: Path,
        *,
        keks: dict[KekId, bytes],
        signing_key: Ed25519PrivateKey | None,
        public_key: VerifyKey,
    ) -> None:
        self._directory = directory
        self._keks = keks
        self._signing_key = signing_key
        self._public_key = public_key

    @classmethod
    def open(cls, directory: Path) -> KeyFiles:
        """Read the keys that are there. `signing.key` may be absent: then nothing can be signed.

        Raises:
            KeyFileError: `signing.pub` is missing, or a file is weak, corrupt or open to others.
        """
        keks = {
            KekId(match[1]): _read_kek(directory / name, KekId(match[1]))
            for name in _list_names(directory)
            if (match := _KEK_FILE.match(name))
        }
        public_key = read_public_key(directory / PUBLIC_KEY_NAME)
        signing_key: Ed25519PrivateKey | None = None
        path = directory / SIGNING_KEY_NAME
        if path.exists():
            signing_key = Ed25519PrivateKey.from_private_bytes(_read_secret(path, _SIGNING_LABEL))
            if signing_key.public_key().public_bytes_raw() != public_key:
                raise KeyFileError(f"{path} and {PUBLIC_KEY_NAME} are not halves of one key")
        return cls(directory, keks=keks, signing_key=signing_key, public_key=public_key)

    @classmethod
    def create_or_open(cls, directory: Path) -> KeyFiles:
        """Read the keys, after making what a first start has to make.

        A lost key is never replaced by a new one unseen: beside `signing.key` or `signing.pub` a missing
        secret is an error. What a first start that was killed left behind is completed.

        Raises:
            KeyFileError: a secret is missing, weak, corrupt or open to others, or cannot be made.
        """
        try:
            make_directories(directory)
            with _locked(directory):
                _complete_keys(directory, _list_names(directory))
        except OSError as error:
            raise KeyFileError(f"{directory} cannot be used for keys: {error.strerror}") from error
        return cls.open(directory)

    def __repr__(self) -> str:
        return f"KeyFiles({str(self._directory)!r}, keks={sorted(self._keks)})"

    @property
    def kek_id(self) -> KekId:
        """See `KeyRing.kek_id`."""
        if len(self._keks) != 1:
            raise KeyFileError(
                f"{self._directory} holds {len(self._keks)} key-encryption keys; one wraps new recordings"
            )
        return next(iter(self._keks))

    @property
    def public_key(self) -> VerifyKey:
        """See `KeyRing.public_key`."""
        return self._public_key

    def wrap(self, data_key: bytes, scope: AttemptScope) -> bytes:
        """See `KeyRing.wrap`."""
        kek, nonce = self._keks[self.kek_id], secrets.token_bytes(NONCE_BYTES)
        return wrap_key(data_key, kek=kek, nonce=nonce, scope=scope)

    def unwrap(self, wrapped_key: bytes, *, kek_id: KekId, scope: AttemptScope) -> bytes:
        """See `KeyRing.unwrap`."""
        kek = self._keks.get(kek_id)
        if kek is None:
            held = ", ".join(sorted(self._keks)) or "none"
            raise WrongKeyError(f"key-encryption key {kek_id} is not in {self._directory} (there: {held})")
        return unwrap_key(wrapped_key, kek=kek, scope=scope)

    def sign(self, message: bytes) -> bytes:
        """See `KeyRing.sign`."""
        if self._signing_key is None:
            raise KeyFileError(f"{self._directory / SIGNING_KEY_NAME} is missing: nothing can be signed")
        return self._signing_key.sign(message)


def read_public_key(path: Path) -> VerifyKey:
    """Read a `signing.pub`, the key that a verifier is given out of band.

    Raises:
        KeyFileError: missing, unreadable or not a public key.
    """
    text = _read_line(path)
    try:
        return decode_public_key(text)
    except FormatError as error:
        raise KeyFileError(f"{path} is not a usable public key: {error}") from error


def _complete_keys(directory: Path, names: list[str]) -> None:
    # The order kek, signing.key, signing.pub lets every half-made directory be told from a lost key.
    has_kek = any(_KEK_FILE.match(name) for name in names)
    has_signing, has_public = SIGNING_KEY_NAME in names, PUBLIC_KEY_NAME in names
    if has_signing or has_public:
        if not has_kek:
            raise KeyFileError(f"{directory} has signing keys but no kek-<id>.key: restore it from a backup")
        if not has_signing:
            raise KeyFileError(f"{directory / SIGNING_KEY_NAME} is missing: restore it from a backup")
    if not has_kek:
        kek = secrets.token_bytes(KEY_BYTES)
        _create(directory / f"kek-{derive_kek_id(kek)}.key", f"{_KEK_LABEL} {_encode(kek)}\n")
    if not has_signing:
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        _create(directory / SIGNING_KEY_NAME, f"{_SIGNING_LABEL} {_encode(seed)}\n")
    if not has_public:
        seed = _read_secret(directory / SIGNING_KEY_NAME, _SIGNING_LABEL)
        public_key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        _create(directory / PUBLIC_KEY_NAME, encode_public_key(VerifyKey(public_key)) + "\n")


def _create(path: Path, line: str) -> None:
    create_durably(path, line.encode())


def _read_kek(path: Path, kek_id: KekId) -> bytes:
    kek = _read_secret(path, _KEK_LABEL)
    if derive_kek_id(kek) != kek_id:
        raise KeyFileError(f"{path} is corrupt: it holds another key than its name says")
    return kek


def _read_secret(path: Path, label: str) -> bytes:
    text = _read_line(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KeyFileError(f"{path} is open to others (mode {mode:04o}): chmod 600 it")
    found_label, _, encoded = text.partition(" ")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if found_label != label or len(key) != KEY_BYTES or _encode(key) != encoded:
        raise KeyFileError(f"{path} is corrupt: it is not {label!r} and {KEY_BYTES} bytes in base64")
    if len(set(key)) < _MIN_DISTINCT_BYTES:
        raise KeyFileError(f"{path} is weak: its bytes are not random")
    return key


def _read_line(path: Path) -> str:
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


def _list_names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError as error:
        raise KeyFileError(f"{directory} cannot be read: {error.strerror}") from error


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # let go by the kernel when this process dies
        yield
    finally:
        os.close(descriptor)
