"""Gets a Chromium for the player's tests: the system's, installed by its package manager when we are root.

Standard library only, any Python from 3.11 on. Prints the program's path on the last line of standard output.
Exit 0: it is there; 1: it is not, and one sentence says what to do. The tests that need it are skipped then.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts.system_package import PackageError, find, install

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
BY_HAND: Final = "install the package chromium, or leave it: the player's tests are skipped without a browser"


def main() -> int:
    """Find or install it, print where it is."""
    try:
        print(find(NAMES) or install("chromium", NAMES, BY_HAND))
    except PackageError as error:
        print(f"chromium.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
