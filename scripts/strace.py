"""Gets strace for the tests that kill the recorder at each of its calls: the system's, as chromium.py does.

Exit 0: it is there; 1: it is not, and one sentence says what to do. The tests that need it are skipped then.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts.system_package import PackageError, find, install

NAMES: Final = ("strace",)
BY_HAND: Final = (
    "install the package strace, or leave it: two of the recorder's kill tests are skipped without it"
)


def main() -> int:
    """Find or install it, print where it is."""
    try:
        print(find(NAMES) or install("strace", NAMES, BY_HAND))
    except PackageError as error:
        print(f"strace.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
