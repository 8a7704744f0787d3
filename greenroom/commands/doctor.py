"""`greenroom doctor`: what is found on this machine, what is missing, the fix."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from greenroom.commands.options import DataOption, JsonOption, PortOption

if TYPE_CHECKING:
    from greenroom.doctor import Finding


def doctor(port: PortOption = 8080, data: DataOption = Path("data"), as_json: JsonOption = False) -> None:
    """Look at this machine: what Greenroom finds, what is missing, and the fix. Changes nothing.

    Exit code 0: nothing is missing. 1: something is.
    """
    from greenroom.doctor import examine

    findings = examine(data, port)
    missing = [finding for finding in findings if finding.state == "missing"]
    if as_json:
        import json

        typer.echo(json.dumps({"ok": not missing, "findings": [asdict(finding) for finding in findings]}))
    else:
        _print_table(findings)
        typer.echo(f"{len(missing)} of {len(findings)} missing" if missing else "Nothing is missing.")
    raise typer.Exit(1 if missing else 0)


def _print_table(findings: list[Finding]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "what", "found", "fix"):
        table.add_column(column, overflow="fold")
    colours = {"ok": "green", "missing": "red", "info": "dim"}
    for one in findings:
        # Text and not markup: what was found may hold brackets.
        table.add_row(Text(one.state, style=colours[one.state]), one.name, Text(one.found), Text(one.fix))
    Console().print(table)
