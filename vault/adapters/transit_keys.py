"""Keys that never leave a HashiCorp Vault or OpenBao: its transit engine wraps, the key directory signs.

The key is made by whoever runs the service (`vault write -f transit/keys/NAME`), never here: a mistyped name
is to be an error. Data keys that key files wrapped before still open, so that a ring can move over.

Source: docs/RECORDING.md §4.3; the transit engine's HTTP API.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import hvac
import hvac.exceptions
import requests

from vault.adapters.key_files import KeyFiles
from vault.core.ids import KekId, VerifyKey
from vault.core.sealing import KEY_BYTES, AttemptScope, WrappedKey
from vault.errors import KeyFileError, KeyServiceError, VaultError, WrongKeyError
from vault.ports import Kek

TOKEN_VARIABLE: Final = "VAULT_TOKEN"  # noqa: S105 - the name of the variable
NAMESPACE_VARIABLE: Final = "VAULT_NAMESPACE"

_CIPHERTEXT: Final = re.compile(r"vault:v([1-9][0-9]{0,9}):[A-Za-z0-9+/=]{40,800}\Z")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")
_WRAP_CONTEXT: Final = b"greenroom transit wrap v1\x00"
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class TransitPlace:
    """Where the key is: ``https://HOST[:PORT]/MOUNT/KEY``."""

    address: str
    mount: str
    key: str

    @classmethod
    def parse(cls, url: str) -> TransitPlace:
        """Read the setting.

        Raises:
            KeyFileError: not of this form, or without TLS to another machine.
        """
        parts = urlsplit(url)
        *mount, key = parts.path.strip("/").split("/")
        if parts.scheme not in ("http", "https") or not parts.hostname or not mount or parts.query:
            raise KeyFileError(f"[encryption] kms {_shown(url)!r} is not https://HOST[:PORT]/MOUNT/KEY")
        if parts.username or parts.password:
            raise KeyFileError(f"[encryption] kms must not hold a password; the token is {TOKEN_VARIABLE}")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise KeyFileError(f"[encryption] kms {url!r} would send its token in clear: use https://")
        if not _KEY_NAME.match(key):
            raise KeyFileError(f"[encryption] kms key {key!r} is not 1..128 letters, digits, '_', '.' or '-'")
        return cls(f"{parts.scheme}://{parts.netloc}", "/".join(mount), key)


class TransitKeys:
    """A KekRing on a transit key; its versions are the key-encryption keys. One request per call."""

    def __init__(self, place: TransitPlace, files: KeyFiles, *, token: str, timeout_s: float) -> None:
        self._place = place
        self._files = files
        self._client = hvac.Client(
            url=place.address,
            token=token,
            timeout=timeout_s,
            allow_redirects=False,  # a token is never carried elsewhere
            namespace=os.environ.get(NAMESPACE_VARIABLE) or None,
        )

    def __repr__(self) -> str:
        return f"TransitKeys({self._place.key!r} at {self._place.address}, {self._files!r})"

    @property
    def kek_id(self) -> KekId:
        """See `KeyRing.kek_id`; asks the service."""
        (active,) = (kek.kek_id for kek in self.keks() if kek.is_active)
        return active

    @property
    def public_key(self) -> VerifyKey:
        """See `KeyRing.public_key`."""
        return self._files.public_key

    def wrap(self, data_key: bytes, scope: AttemptScope) -> WrappedKey:
        """See `KeyRing.wrap`."""
        answer = self._ask(
            lambda: self._client.secrets.transit.encrypt_data(
                name=self._place.key,
                plaintext=_encode(data_key),
                associated_data=_encode(self._aad(self._place.key, scope)),
                mount_point=self._place.mount,
            )
        )
        ciphertext = answer.get("ciphertext")
        match = _CIPHERTEXT.match(ciphertext) if isinstance(ciphertext, str) else None
        if match is None:
            raise KeyServiceError(f"{self._where} did not answer with a ciphertext")
        kek_id = KekId(f"{self._place.key}:{match[1]}")
        return WrappedKey(kek_id=kek_id, data=match[0].encode(), wrap="vault-transit")

    def unwrap(self, wrapped: WrappedKey, scope: AttemptScope) -> bytes:
        """See `KeyRing.unwrap`."""
        if wrapped.wrap != "vault-transit":
            return self._files.unwrap(wrapped, scope)
        key, _, version = wrapped.kek_id.rpartition(":")
        match = _CIPHERTEXT.match(wrapped.data.decode("ascii", "replace"))
        if match is None or match[1] != version:
            raise WrongKeyError(f"what {wrapped.kek_id} is said to have wrapped is no ciphertext of it")
        if key != self._place.key:
            raise WrongKeyError(
                f"it was wrapped by {wrapped.kek_id}, and the key in use is {self._place.key}"
            )
        answer = self._ask(
            lambda: self._client.secrets.transit.decrypt_data(
                name=key,
                ciphertext=match[0],
                associated_data=_encode(self._aad(key, scope)),
                mount_point=self._place.mount,
            ),
            refused=WrongKeyError,
        )
        try:
            data_key = base64.b64decode(answer.get("plaintext", ""), validate=True)
        except (ValueError, TypeError):
            raise KeyServiceError(f"{self._where} did not answer with a plaintext") from None
        if len(data_key) != KEY_BYTES:
            raise WrongKeyError(
                f"{wrapped.kek_id} unwraps to {len(data_key)} bytes, a data key has {KEY_BYTES}"
            )
        return data_key

    def has_kek(self, kek_id: KekId) -> bool:
        """See `KeyRing.has_kek`; asks nobody: the service keeps every version that it has not trimmed."""
        return kek_id.rpartition(":")[0] == self._place.key or self._files.has_kek(kek_id)

    def sign(self, message: bytes) -> bytes:
        """See `KeyRing.sign`."""
        return self._files.sign(message)

    def keks(self) -> list[Kek]:
        """See `KekRing.keks`; key files of before are listed too."""
        answer = self._ask(
            lambda: self._client.secrets.transit.read_key(name=self._place.key, mount_point=self._place.mount)
        )
        versions = answer.get("keys")
        if not isinstance(versions, dict) or not answer.get("supports_encryption", True) or not versions:
            raise KeyFileError(f"{self._where} is no key that encrypts")
        if any(not isinstance(made_s, int) for made_s in versions.values()):
            raise KeyFileError(f"{self._where} is an asymmetric key; take one of type aes256-gcm96")
        latest = max(map(int, versions))
        own = [
            Kek(
                kek_id=KekId(f"{self._place.key}:{version}"),
                is_active=int(version) == latest,
                since_s=versions[version],
            )
            for version in sorted(versions, key=int)
        ]
        older = [Kek(kek_id=kek.kek_id, is_active=False, since_s=kek.since_s) for kek in self._file_keks()]
        return older + own

    def rotate(self, now_s: int) -> KekId:
        """See `KekRing.rotate`; the service keeps the time itself."""
        self._ask(
            lambda: self._client.secrets.transit.rotate_key(
                name=self._place.key, mount_point=self._place.mount
            )
        )
        return self.kek_id

    def destroy(self, kek_id: KekId) -> None:
        """See `KekRing.destroy`; versions of the service are trimmed there, by whoever may."""
        key, _, version = kek_id.rpartition(":")
        if key != self._place.key:
            self._files.destroy(kek_id)
            return
        if kek_id == self.kek_id:
            raise ValueError(f"key-encryption key {kek_id} wraps new recordings: rotate first")
        path = f"{self._place.mount}/keys/{key}"
        least = int(version) + 1
        raise KeyFileError(
            f"{kek_id} is destroyed in the key service, with the right to do so: "
            f"vault write {path}/config min_decryption_version={least} min_encryption_version={least}; "
            f"vault write {path}/trim min_available_version={least}"
        )

    @property
    def _where(self) -> str:
        return f"{self._place.mount}/keys/{self._place.key} at {self._place.address}"

    def _file_keks(self) -> list[Kek]:
        return self._files.keks() if self._files.has_any_kek else []

    def _aad(self, key: str, scope: AttemptScope) -> bytes:
        return _WRAP_CONTEXT + scope.encode() + key.encode()

    def _ask(self, call: Callable[[], Any], *, refused: type[VaultError] = KeyFileError) -> dict[str, Any]:
        """Make one request.

        Args:
            call: makes it.
            refused: what 400 means: of what is to be unwrapped, that it is not of this key and place.

        Raises:
            KeyFileError: the token, the policy or the key is not right.
            KeyServiceError: no answer, or sealed, or too busy.
        """
        try:
            answer = call()
        except hvac.exceptions.InvalidRequest as error:
            raise refused(f"{self._where} refuses: {_said(error)}") from None
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized):
            raise KeyFileError(
                f"{self._where}: permission denied; see to {TOKEN_VARIABLE} and the policy behind it"
            ) from None
        except (hvac.exceptions.InvalidPath, hvac.exceptions.UnsupportedOperation):
            raise KeyFileError(f"{self._where} does not exist; make it there first") from None
        except hvac.exceptions.VaultError as error:
            raise KeyServiceError(f"{self._where} did not answer: {_said(error)}") from None
        except requests.RequestException as error:
            raise KeyServiceError(f"{self._where} did not answer: {type(error).__name__}") from None
        data = answer.get("data") if isinstance(answer, dict) else None
        return data if isinstance(data, dict) else {}


def open_transit(url: str, files: KeyFiles, *, timeout_s: float) -> TransitKeys:
    """Make the ring, without asking the service yet.

    Args:
        url: `TransitPlace`.
        files: the key directory, which signs.
        timeout_s: in which the service answers each request.

    Raises:
        KeyFileError: the setting is malformed, or there is no token in the environment.
    """
    place = TransitPlace.parse(url)
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise KeyFileError(f"[encryption] kms is set, but {TOKEN_VARIABLE} is not: it holds the token")
    return TransitKeys(place, files, token=token, timeout_s=timeout_s)


def _said(error: hvac.exceptions.VaultError) -> str:
    texts = [" ".join(str(text).split()) for text in error.errors or ()]
    return "; ".join(texts)[:200] or type(error).__name__


def _shown(url: str) -> str:
    return url if "@" not in url else "(with a password)"


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
