"""Prints the pages that are made from code, or with --check tells which of them are stale.

A page has a module `scripts/NAME_page.py` beside this file with `PAGE`, its path in the repository, and
`render()`, its text.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def main() -> int:
    """Write every page that differs from its code; with --check write nothing and exit 1 if one does."""
    parser = argparse.ArgumentParser(description="Print the pages that are made from code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    stale = [(path, text) for path, text in pages() if not path.is_file() or path.read_text("utf-8") != text]
    for path, text in stale:
        name = path.relative_to(ROOT)
        if check:
            print(f"{name} does not say what the code does; run: make docs", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"{name} printed again")
    return 1 if check and stale else 0


def pages() -> Iterator[tuple[Path, str]]:
    """Give the path and the text of every page, in order of their names."""
    for source in sorted(Path(__file__).parent.glob("*_page.py")):
        module = importlib.import_module(f"scripts.{source.stem}")
        yield ROOT / module.PAGE, module.render()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # for pages that use one another
    sys.exit(main())
