"""docs/EVENTS.md: every event with its data, printed from orchestrator/core/events.py."""

from __future__ import annotations

import inspect
from typing import Final, get_args

from msgspec.structs import fields

from orchestrator.core.events import Event, JobChanged, RecordingChanged

PAGE: Final = "docs/EVENTS.md"

INTRODUCTION: Final = """# Events

Printed from the code by `make docs`: what [event streams](ROUTES.md#event-streams) tell, by the name after
`event:`. The data is one JSON object whose `type` says the same in PascalCase; a field in brackets is left
out when it is empty. Every event of a session has its `session_id`. No event holds a token, a key or what
somebody said.

| `event:` | `type` | data | |
|---|---|---|---|
"""

NOTES: Final = """
A client that is put out is told by `client_left`, when it had been told by `client_joined`, and by
`participant_removed` with the reason. Somebody who comes with a token that no longer counts is told by
`participant_removed` alone: they never were a client. The coming and going of hidden participants
(operators, the recorder) is not told.
"""

# Events that go out under names made of their data.
_NAMES: Final = {
    JobChanged: "`job_offered` `job_refused` `job_accepted` `job_joined` `job_absent` `job_lost` "
    "`job_done` `job_failed` `job_reopened`",
    RecordingChanged: "`recording_started` `recording_status_changed`",
}


def render() -> str:
    """Give the page."""
    rows = []
    for kind in get_args(Event):
        names = _NAMES.get(kind, f"`{kind.name}`")
        data = [f"`{f.name}`" if f.required else f"[`{f.name}`]" for f in fields(kind)]
        data = [name for name in data if name != "`session_id`"]
        purpose = " ".join(inspect.cleandoc(kind.__doc__ or "").split())
        rows.append(f"| {names} | {kind.__struct_config__.tag} | {', '.join(data)} | {purpose} |")
    return INTRODUCTION + "\n".join(rows) + "\n" + NOTES
