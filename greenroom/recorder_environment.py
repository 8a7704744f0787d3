"""What `config.toml` says to the recorder, in the variables that it reads instead of the file."""

from __future__ import annotations

from orchestrator.settings import ENVIRONMENT, Settings

# All of them are sections' keys whose variables the recorder knows too (recorder/settings.py).
_KEYS = (
    ("recording", "chunk_store"),
    ("recording", "checkpoint_copies"),
    ("recording", "spool_path"),
    ("recording", "spool_budget"),
    ("encryption", "key_dir"),
    ("encryption", "passphrase_env"),
    ("encryption", "kms"),
)


def recorder_environment(settings: Settings) -> dict[str, str]:
    """Give the variables of everything that is configured, by the file or by themselves; of the rest none."""
    told: dict[str, str] = {}
    for section, key in _KEYS:
        values = getattr(settings, section)
        if key in values.model_fields_set:
            told[ENVIRONMENT[f"{section}.{key}"][0]] = str(getattr(values, key))
    return told
