"""The key directory: `kek-<id>.key`, `active-kek`, `signing.key` and `signing.pub`, one line each.

Whichever program starts first makes the files; a lock on the directory lets one program look and make at a
time, and O_EXCL refuses to write over a key whatever happens. Source: docs/RECORDING.md §9.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.adapters.durable_files import create_durably, destroy_durably, make_directories, replace_durably
from vault.adapters.secret_files import (
    DEFAULT_COST,
    Passphrase,
    ScryptCost,
    SecretFiles,
    read_line,
)
from vault.core.ids import KekId, VerifyKey, is_kek_id
from vault.core.layout import TEMPORARY_SUFFIX
from vault.core.public_key import decode_public_key, encode_public_key
from vault.core.sealing import (
    KEY_BYTES,
    NONCE_BYTES,
    AttemptScope,
    WrappedKey,
    derive_kek_id,
    unwrap_key,
    wrap_key,
)
from vault.errors import FormatError, KeyFileError, WrongKeyError
from vault.ports import Kek

SIGNING_KEY_NAME: Final = "signing.key"
PUBLIC_KEY_NAME: Final = "signing.pub"
ACTIVE_NAME: Final = "active-kek"

_KEK_FILE: Final = re.compile(r"kek-([0-9a-f]{16})\.key\Z")
_KEK_LABEL: Final = "greenroom-kek-1"
_SIGNING_LABEL: Final = "greenroom-signing-key-1"
_ACTIVE_LABEL: Final = "greenroom-active-kek-1"


class KeyFiles:
    """A KekRing on a directory of key files. Its repr shows ids only.

    What another program does to the directory meanwhile is seen: a new key-encryption key wraps from the
    next attempt on, and opens what was wrapped with it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keks: dict[KekId, bytes],
        signing_key: Ed25519PrivateKey | None,
        public_key: VerifyKey,
        secret_files: SecretFiles | None = None,
    ) -> None:
        self._directory = directory
        self._keks = keks
        self._signing_key = signing_key
        self._public_key = public_key
        self._secret_files = secret_files or SecretFiles(directory, None)

    @classmethod
    def open(cls, directory: Path, *, passphrase: Passphrase | None = None) -> KeyFiles:
        """Read the keys that are there. `signing.key` may be absent: then nothing can be signed.

        Args:
            directory: the key directory.
            passphrase: what its secrets are sealed with; None when they stand in clear.

        Raises:
            KeyFileError: `signing.pub` is missing, or a file is weak, corrupt or open to others, or the
                passphrase is not the right one.
        """
        _list_names(directory)
        return cls._read(directory, SecretFiles.open(directory, passphrase))

    @classmethod
    def _read(cls, directory: Path, secret_files: SecretFiles) -> KeyFiles:
        keks = {
            KekId(match[1]): _read_kek(directory, secret_files, KekId(match[1]))
            for name in _list_names(directory)
            if (match := _KEK_FILE.match(name))
        }
        public_key = read_public_key(directory / PUBLIC_KEY_NAME)
        signing_key: Ed25519PrivateKey | None = None
        path = directory / SIGNING_KEY_NAME
        if path.exists():
            signing_key = Ed25519PrivateKey.from_private_bytes(
                secret_files.read(SIGNING_KEY_NAME, _SIGNING_LABEL)
            )
            if signing_key.public_key().public_bytes_raw() != public_key:
                raise KeyFileError(f"{path} and {PUBLIC_KEY_NAME} are not halves of one key")
        return cls(
            directory,
            keks=keks,
            signing_key=signing_key,
            public_key=public_key,
            secret_files=secret_files,
        )

    @classmethod
    def create_or_open(
        cls,
        directory: Path,
        *,
        passphrase: Passphrase | None = None,
        now_s: int | None = None,
        cost: ScryptCost = DEFAULT_COST,
        needs_kek: bool = True,
    ) -> KeyFiles:
        """Read the keys, after making what a first start has to make.

        A lost key is never replaced by a new one unseen: beside `signing.key` or `signing.pub` a missing
        secret is an error. What a first start that was killed left behind is completed.

        Args:
            directory: the key directory; made when missing.
            passphrase: what the secrets are, or shall be, sealed with.
            now_s: Unix seconds, kept as the time from which a new key-encryption key is in use; None asks
                the clock.
            cost: of guessing at the passphrase, for a directory that begins now.
            needs_kek: False when a key service wraps and the files only sign.

        Raises:
            KeyFileError: a secret is missing, weak, corrupt or open to others, or cannot be made.
        """
        since_s = int(time.time()) if now_s is None else now_s
        try:
            make_directories(directory)
            with _locked(directory):
                names = _list_names(directory)
                if passphrase is not None and all(name.endswith(TEMPORARY_SUFFIX) for name in names):
                    SecretFiles.create(directory, passphrase, cost)
                secret_files = SecretFiles.open(directory, passphrase)
                _complete_keys(directory, names, secret_files, since_s=since_s, needs_kek=needs_kek)
        except OSError as error:
            raise KeyFileError(f"{directory} cannot be used for keys: {error.strerror}") from error
        return cls._read(directory, secret_files)

    def __repr__(self) -> str:
        return f"KeyFiles({str(self._directory)!r}, keks={sorted(self._keks)})"

    @property
    def kek_id(self) -> KekId:
        """See `KeyRing.kek_id`."""
        active = _read_active(self._directory)
        if active is not None:
            if self._find_kek(active[0]) is None:
                raise KeyFileError(
                    f"{self._directory} has no kek-{active[0]}.key, which {ACTIVE_NAME} names: "
                    "restore it from a backup"
                )
            return active[0]
        if len(self._keks) != 1:
            raise KeyFileError(
                f"{self._directory} holds {len(self._keks)} key-encryption keys and no {ACTIVE_NAME}, which "
                "says the one that wraps new recordings"
            )
        return next(iter(self._keks))

    @property
    def has_any_kek(self) -> bool:
        """Whether a key-encryption key is here; none need be where a key service wraps."""
        return bool(self._keks)

    @property
    def public_key(self) -> VerifyKey:
        """See `KeyRing.public_key`."""
        return self._public_key

    def wrap(self, data_key: bytes, scope: AttemptScope) -> WrappedKey:
        """See `KeyRing.wrap`."""
        kek_id = self.kek_id
        data = wrap_key(data_key, kek=self._keks[kek_id], nonce=secrets.token_bytes(NONCE_BYTES), scope=scope)
        return WrappedKey(kek_id=kek_id, data=data)

    def unwrap(self, wrapped: WrappedKey, scope: AttemptScope) -> bytes:
        """See `KeyRing.unwrap`."""
        kek = self._find_kek(wrapped.kek_id)
        if kek is None:
            held = ", ".join(sorted(self._keks)) or "none"
            raise WrongKeyError(
                f"key-encryption key {wrapped.kek_id} is not in {self._directory} (there: {held})"
            )
        return unwrap_key(wrapped.data, kek=kek, scope=scope)

    def has_kek(self, kek_id: KekId) -> bool:
        """See `KeyRing.has_kek`."""
        return self._find_kek(kek_id) is not None

    def sign(self, message: bytes) -> bytes:
        """See `KeyRing.sign`."""
        if self._signing_key is None:
            raise KeyFileError(f"{self._directory / SIGNING_KEY_NAME} is missing: nothing can be signed")
        return self._signing_key.sign(message)

    def keks(self) -> list[Kek]:
        """See `KekRing.keks`."""
        active = _read_active(self._directory)
        found = []
        for name in _list_names(self._directory):
            if (match := _KEK_FILE.match(name)) is not None:
                kek_id = KekId(match[1])
                made_s = int((self._directory / name).stat().st_mtime)
                is_active = kek_id == self.kek_id
                since_s = active[1] if is_active and active is not None else made_s
                found.append(Kek(kek_id=kek_id, is_active=is_active, since_s=since_s))
        return found

    def rotate(self, now_s: int) -> KekId:
        """See `KekRing.rotate`."""
        try:
            with _locked(self._directory):
                # While there is no word of which is active, a second key would leave it unclear.
                if _read_active(self._directory) is None:
                    for before in self.keks():
                        if before.is_active:
                            _write_active(self._directory, before.kek_id, before.since_s)
                kek_id = _make_kek(self._secret_files)
                _write_active(self._directory, kek_id, now_s)
        except OSError as error:
            raise KeyFileError(f"{self._directory} cannot be written: {error.strerror}") from error
        return self.kek_id

    def destroy(self, kek_id: KekId) -> None:
        """See `KekRing.destroy`."""
        if kek_id == self.kek_id:
            raise ValueError(f"key-encryption key {kek_id} wraps new recordings: rotate first")
        try:
            with _locked(self._directory):
                destroy_durably(self._directory / f"kek-{kek_id}.key")
        except OSError as error:
            raise KeyFileError(f"kek-{kek_id}.key cannot be destroyed: {error.strerror}") from error
        self._keks.pop(kek_id, None)

    def _find_kek(self, kek_id: KekId) -> bytes | None:
        kek = self._keks.get(kek_id)
        if kek is None and is_kek_id(kek_id) and (self._directory / f"kek-{kek_id}.key").exists():
            kek = self._keks[kek_id] = _read_kek(self._directory, self._secret_files, kek_id)
        return kek


def read_public_key(path: Path) -> VerifyKey:
    """Read a `signing.pub`, the key that a verifier is given out of band.

    Raises:
        KeyFileError: missing, unreadable or not a public key.
    """
    text = read_line(path)
    try:
        return decode_public_key(text)
    except FormatError as error:
        raise KeyFileError(f"{path} is not a usable public key: {error}") from error


def _complete_keys(
    directory: Path, names: list[str], secret_files: SecretFiles, *, since_s: int, needs_kek: bool
) -> None:
    # The order kek, active-kek, signing.key, signing.pub lets every half-made directory be told from a lost
    # key. A directory of before active-kek gets none here: its only key is the active one.
    has_kek = any(_KEK_FILE.match(name) for name in names)
    has_signing, has_public = SIGNING_KEY_NAME in names, PUBLIC_KEY_NAME in names
    if has_signing or has_public:
        if needs_kek and not has_kek:
            raise KeyFileError(f"{directory} has signing keys but no kek-<id>.key: restore it from a backup")
        if not has_signing:
            raise KeyFileError(f"{directory / SIGNING_KEY_NAME} is missing: restore it from a backup")
    if needs_kek and not has_kek:
        _write_active(directory, _make_kek(secret_files), since_s)
    elif needs_kek and not has_signing and ACTIVE_NAME not in names:  # a first start was killed in between
        (kek_id,) = (KekId(match[1]) for name in names if (match := _KEK_FILE.match(name)))
        _write_active(directory, kek_id, since_s)
    if not has_signing:
        seed = Ed25519PrivateKey.generate().private_bytes_raw()
        secret_files.write(SIGNING_KEY_NAME, _SIGNING_LABEL, seed)
    if not has_public:
        seed = secret_files.read(SIGNING_KEY_NAME, _SIGNING_LABEL)
        public_key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        line = encode_public_key(VerifyKey(public_key)) + "\n"
        create_durably(directory / PUBLIC_KEY_NAME, line.encode())


def _make_kek(secret_files: SecretFiles) -> KekId:
    kek = secrets.token_bytes(KEY_BYTES)
    kek_id = derive_kek_id(kek)
    secret_files.write(f"kek-{kek_id}.key", _KEK_LABEL, kek)
    return kek_id


def _read_kek(directory: Path, secret_files: SecretFiles, kek_id: KekId) -> bytes:
    name = f"kek-{kek_id}.key"
    kek = secret_files.read(name, _KEK_LABEL)
    if derive_kek_id(kek) != kek_id:
        raise KeyFileError(f"{directory / name} is corrupt: it holds another key than its name says")
    return kek


def _write_active(directory: Path, kek_id: KekId, since_s: int) -> None:
    replace_durably(directory / ACTIVE_NAME, f"{_ACTIVE_LABEL} {kek_id} {since_s}\n".encode())


def _read_active(directory: Path) -> tuple[KekId, int] | None:
    path = directory / ACTIVE_NAME
    if not path.exists():
        return None
    label, _, rest = read_line(path).partition(" ")
    kek_id, _, since_s = rest.partition(" ")
    if label != _ACTIVE_LABEL or not is_kek_id(kek_id) or not re.fullmatch("[0-9]{1,12}", since_s):
        raise KeyFileError(f"{path} is corrupt: it is not {_ACTIVE_LABEL!r}, a key id and a Unix time")
    return KekId(kek_id), int(since_s)


def _list_names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError as error:
        raise KeyFileError(f"{directory} cannot be read: {error.strerror}") from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # let go by the kernel when this process dies
        yield
    finally:
        os.close(descriptor)
