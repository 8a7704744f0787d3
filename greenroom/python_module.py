"""The command that runs a module of this installation, whatever folder it is run in."""

from __future__ import annotations

import sys


def python_module(name: str, *arguments: str) -> tuple[str, ...]:
    """Give the command of a module.

    -P keeps the present folder out of the search: a folder `examples` or `recorder` of somebody else's
    project would be taken for ours.
    """
    return (sys.executable, "-P", "-m", name, *arguments)
