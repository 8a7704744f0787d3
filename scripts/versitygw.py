"""Gets versitygw, an S3 server on a folder, into `.tools/` for the tests: from PATH, from there, or built.

Standard library only, any Python from 3.11 on. Prints the program's path on the last line of standard output;
everything else goes to standard error. Exit 0: it is there; 1: it is not, and one sentence says what to do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from greenroom.media_binary import TOOLS_DIR
from scripts.go_tool import GoTool, get

NAME: Final = "versitygw"
VERSION: Final = "1.8.0"


def find_versitygw() -> Path | None:
    """Give the versitygw to start: PATH first, then `.tools/`; only the tested version counts."""
    on_path = shutil.which(NAME)
    places = [*([Path(on_path)] if on_path else []), TOOLS_DIR / NAME]
    return next((place for place in places if read_version(place) == VERSION), None)


def read_version(binary: Path) -> str | None:
    """Ask a program for its version, which our build has put into it."""
    if not os.access(binary, os.X_OK):
        return None
    try:
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^Version *: v?(\S+)$", answer.stdout, re.MULTILINE)
    return match[1] if match else None


VERSITYGW: Final = GoTool(
    script="versitygw.py",
    name=NAME,
    built_name=NAME,
    package="github.com/versity/versitygw/cmd/versitygw",
    version=VERSION,
    go_needed=(1, 25),
    find=find_versitygw,
    read_version=read_version,
    modules_seen=62,
    packages_seen=360,
    ldflags=f"-X=main.Version={VERSION}",
)

if __name__ == "__main__":
    sys.exit(get(VERSITYGW, into=TOOLS_DIR))
