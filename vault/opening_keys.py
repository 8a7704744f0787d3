"""Opening the key ring from the settings: one way in for recorders, orchestrator and command line.

    ring = open_key_ring(KeySettings(key_dir=Path("data/keys")))

Blocks, and under a passphrase takes a good fraction of a second. Asks no key service yet.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vault.adapters.key_files import KeyFiles
from vault.adapters.secret_files import DEFAULT_COST, Passphrase, ScryptCost
from vault.errors import KeyFileError
from vault.ports import Kek, KekRing
from vault.retried_keys import RetriedKeys

SERVICE_TIMEOUT_S: Final = 5.0  # for one answer of a key service
SERVICE_PATIENCE_S: Final = 20.0  # for all tries of one call
DEFAULT_ROTATION_DAYS: Final = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """What `[encryption]` says.

    Attributes:
        key_dir: folder of the key files.
        passphrase_env: name of the variable with the passphrase that the files are sealed with; empty when
            they stand in clear.
        kms: ``https://HOST[:PORT]/MOUNT/KEY`` of a HashiCorp Vault or OpenBao transit key; empty without.
            Its token is `VAULT_TOKEN`.
        cost: of a passphrase that begins now.
        patience_s: how long a key service that does not answer is asked again.
    """

    key_dir: Path
    passphrase_env: str = ""
    kms: str = ""
    cost: ScryptCost = DEFAULT_COST
    patience_s: float = SERVICE_PATIENCE_S


def open_key_ring(settings: KeySettings, *, create: bool = False) -> KekRing:
    """Open the ring.

    Args:
        settings: where the keys are.
        create: make at a first start what is missing, as a recorder and the orchestrator do.

    Raises:
        KeyFileError: a key is missing, weak, corrupt or open to others, or a setting is wrong; one sentence.
    """
    passphrase = _passphrase(settings.passphrase_env)
    if create:
        files = KeyFiles.create_or_open(
            settings.key_dir, passphrase=passphrase, cost=settings.cost, needs_kek=not settings.kms
        )
    else:
        files = KeyFiles.open(settings.key_dir, passphrase=passphrase)
    if not settings.kms:
        return files
    try:
        from vault.adapters.transit_keys import open_transit  # hvac is an extra
    except ModuleNotFoundError as error:
        raise KeyFileError(
            f"[encryption] kms needs {error.name}, which is not installed: pip install 'greenroom[kms]'"
        ) from error
    ring = open_transit(settings.kms, files, timeout_s=SERVICE_TIMEOUT_S)
    return RetriedKeys(ring, settings.patience_s)


class SharedKeys:
    """Opens the ring once for a program that needs it often; may be called from several threads.

    What fails is tried again at the next call; what is open sees new key-encryption keys by itself.
    """

    def __init__(self, settings: KeySettings, *, create: bool = False) -> None:
        self._settings = settings
        self._create = create
        self._lock = threading.Lock()
        self._ring: KekRing | None = None

    def __call__(self) -> KekRing:
        """Give the ring; raises as `open_key_ring`."""
        with self._lock:
            if self._ring is None:
                self._ring = open_key_ring(self._settings, create=self._create)
            return self._ring


def age_days(keks: Sequence[Kek], *, now_s: float) -> float | None:
    """For how many days the active key has been in use; None without one."""
    active = next((kek for kek in keks if kek.is_active), None)
    return None if active is None else max(0.0, (now_s - active.since_s) / 86400)


def age_warning(keks: Sequence[Kek], *, rotation_days: int, now_s: float) -> str:
    """Say when the active key is older than it shall get. Nothing is rotated unasked.

    Returns:
        One sentence; empty when it is young enough.
    """
    days = age_days(keks, now_s=now_s)
    if days is None or days < rotation_days:
        return ""
    active = next(kek for kek in keks if kek.is_active)
    return (
        f"key-encryption key {active.kek_id} has been in use for {int(days)} days, longer than the "
        f"{rotation_days} of [encryption] rotation_days: run `greenroom keys rotate`, then `greenroom keys "
        "rewrap --all`"
    )


def _passphrase(variable: str) -> Passphrase | None:
    if not variable:
        return None
    text = os.environ.get(variable, "")
    if not text:
        raise KeyFileError(f"[encryption] passphrase_env names {variable}, which is not set or empty")
    return Passphrase(text, variable)
