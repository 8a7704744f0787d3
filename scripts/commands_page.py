"""docs/COMMANDS.md: what each command says of itself, printed from the command line's own help."""

from __future__ import annotations

from typing import Any, Final

import typer.main

from greenroom.commands.application import build

PAGE: Final = "docs/COMMANDS.md"
WIDTH: Final = 100

INTRODUCTION: Final = """# Commands

Printed from the command line's help by `make docs`. `greenroom` is `.venv/bin/greenroom` after `make setup`.

A command that cannot be carried out as asked says why and how to mend it in one sentence on standard error,
and ends with exit code 2. Results go to standard output, everything else to standard error; with `--json` the
last line of standard output is one JSON object.

Everything that `up` and `demo` write stands in their data folder: `greenroom.db` (sessions, events),
`recordings/`, `keys/` (back it up: a lost key is a lost recording), `logs/`, and `livekit.secret`. One
process holds the folder at a time.
"""


def render() -> str:
    """Give the page."""
    group = typer.main.get_command(build())
    commands = getattr(group, "commands", {})
    context = group.make_context("greenroom", [], resilient_parsing=True, terminal_width=WIDTH)
    parts = [INTRODUCTION]
    for name, command in commands.items():
        parts.append(_section(name, command, context))
        for inner_name, inner in getattr(command, "commands", {}).items():
            parts.append(_section(f"{name} {inner_name}", inner, context))
    return "\n".join(parts)


def _section(name: str, command: Any, parent: Any) -> str:
    context = command.make_context(
        name, [], parent=parent, resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH
    )
    return f"## greenroom {name}\n\n```text\n{command.get_help(context).strip()}\n```\n"
