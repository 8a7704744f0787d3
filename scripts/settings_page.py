"""docs/SETTINGS.md: every setting of the orchestrator, printed from its settings models."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ByteSize
from pydantic.fields import FieldInfo

from orchestrator.settings import ENVIRONMENT, Settings
from recorder.settings import RecorderSettings
from scripts.config_page import human_size

PAGE: Final = "docs/SETTINGS.md"

INTRODUCTION: Final = """# Settings

Printed from the settings models by `make docs`. The orchestrator reads `config.toml` (`./config.toml` when
present, or the file that `CONFIG_PATH` or `--config` names); a variable of the environment wins over the
file. An unknown key is an error. A wrong value ends the program with one sentence and exit code 2.

`python -m recorder` and the workers are set by variables alone; theirs are at the end of this page.
`greenroom recorder` and `greenroom up` read for the recorder what `config.toml` says of the same variables.
"""


def render() -> str:
    """Give the page."""
    parts = [
        INTRODUCTION,
        "## At the top of the file\n\n" + _table({"engine": Settings.model_fields["engine"]}, ""),
    ]
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            purpose = (section.__doc__ or "").strip()
            parts.append(f"## [{name}]\n\n{purpose}\n\n{_table(section.model_fields, f'{name}.')}")
    parts.append(f"## The recorder\n\n{_recorder_table()}")
    parts.append("## Workers\n\n`GREENROOM_URL` is the orchestrator's address; the rest is in their code.\n")
    return "\n".join(parts)


def _recorder_table() -> str:
    rows = ["| environment | default | meaning |", "|---|---|---|"]
    for field in RecorderSettings.model_fields.values():
        default = _default("", field.default)
        rows.append(f"| `{field.validation_alias}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _table(fields: dict[str, FieldInfo], prefix: str) -> str:
    rows = ["| key | environment | default | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        variables = ", ".join(f"`{variable}`" for variable in ENVIRONMENT.get(prefix + name, ()))
        default, meaning = _default(prefix + name, field.default), field.description or ""
        rows.append(f"| `{name}` | {variables} | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(key: str, value: Any) -> str:
    if key == "service.version":
        return "the package's"  # would make the page stale at every release
    if value in (None, (), ""):
        return "unset"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, ByteSize):
        return f"`{human_size(value)}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"
