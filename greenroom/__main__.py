"""The command line: `greenroom COMMAND`, or `python -m greenroom COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from greenroom.errors import CommandError

MISUSE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; what cannot be done is one sentence and exit code 2, here and nowhere else."""
    try:
        from greenroom.commands.application import build
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(_refuse(f"{error.name} is not installed; run: pip install 'greenroom[all]'"))
    try:
        build()(args=arguments, prog_name="greenroom")
    except CommandError as error:
        sys.exit(_refuse(str(error)))


def _refuse(sentence: str) -> int:
    print(f"greenroom: {sentence}", file=sys.stderr)
    return MISUSE


if __name__ == "__main__":
    main()
