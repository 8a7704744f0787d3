"""The keys of recordings as the command line opens them: where the options say, as the settings say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenroom.errors import CommandError

if TYPE_CHECKING:
    from vault.ports import KekRing


def open_keys(key_dir: Path) -> KekRing:
    """Open the ring on this key directory, with the passphrase or the key service of `[encryption]`.

    Raises:
        CommandError: a setting is wrong, or the keys cannot be opened.
    """
    from orchestrator.core.errors import SettingsError
    from orchestrator.settings import load_settings
    from vault.errors import KeyFileError
    from vault.opening_keys import open_key_ring

    try:
        return open_key_ring(replace(load_settings().encryption.keys, key_dir=key_dir))
    except SettingsError as error:
        raise CommandError(str(error)) from error
    except KeyFileError as error:
        raise CommandError(f"{error}; name the folder of the keys: --key-dir DIR") from error
