"""docs/STATES.md: every state machine of the project, printed from its transition table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final, TypeVar

from orchestrator.core import jobs, recording, states
from recorder.core import states as recorder_states
from sdk import lifecycle

State = TypeVar("State", bound=Enum)
Cause = TypeVar("Cause", bound=Enum)

PAGE: Final = "docs/STATES.md"


def render() -> str:
    """Give the page."""
    parts = [
        "# States\n\nPrinted from the transition tables by `make docs`; a pair that is not listed is illegal."
        " HTTP answers it with 409; a late or repeated hint from outside is logged and dropped.\n",
        _section("Room life of a session", "orchestrator/core/states.py", _by_pair(states.TABLE)),
        _section("Job: one worker serving one session", "orchestrator/core/jobs.py", _by_pair(jobs.TABLE)),
        _section(
            "Recording facet of a session",
            "orchestrator/core/recording.py",
            [(old.value, "reported", new.value) for old, new in _in_order(recording.TABLE)]
            + [
                (old.value, "started again (a new recording)", "starting")
                for old in _by_rank(recording.AGAIN)
            ],
        ),
        _section("Recording in the recorder", "recorder/core/states.py", _by_pair(recorder_states.TABLE)),
        _section("Job in the worker", "sdk/lifecycle.py", _by_pair(lifecycle.JOB_TABLE)),
        _section("Connection of a pull worker", "sdk/lifecycle.py", _by_pair(lifecycle.CONNECTION_TABLE)),
    ]
    return "\n".join(parts)


def _section(title: str, source: str, rows: Iterable[tuple[str, str, str]]) -> str:
    lines = [
        f"## {title}",
        "",
        f"Source: [`{source}`](../{source})",
        "",
        "| from | when | to |",
        "|---|---|---|",
    ]
    lines += [f"| {old} | {when} | {'stays' if old == new else new} |" for old, when, new in rows]
    return "\n".join(lines) + "\n"


def _by_pair(table: Mapping[tuple[State, Cause], State]) -> list[tuple[str, str, str]]:
    ordered = sorted(table.items(), key=lambda row: (_rank(row[0][0]), _rank(row[0][1])))
    return [(str(old.value), str(cause.value), str(new.value)) for (old, cause), new in ordered]


def _in_order(pairs: Iterable[tuple[State, State]]) -> list[tuple[State, State]]:
    return sorted(pairs, key=lambda pair: (_rank(pair[0]), _rank(pair[1])))


def _by_rank(members: Iterable[State]) -> list[State]:
    return sorted(members, key=_rank)


def _rank(member: Enum) -> int:
    """Give the place of a member in its class: tables read in the order of life."""
    return list(type(member)).index(member)
