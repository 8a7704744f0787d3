"""Gets livekit-server into `.tools/`: taken from PATH or from there, else built from its Go module.

Standard library only, any Python from 3.11 on. Prints the program's path on the last line of standard output;
everything else goes to standard error. Exit 0: it is there; 1: it is not, and one sentence says what to do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from greenroom.media_binary import (
    BINARY_NAME,
    LIVEKIT_VERSION,
    TOOLS_DIR,
    find_livekit_server,
    read_version,
)
from scripts.go_tool import GoTool, get

LIVEKIT: Final = GoTool(
    script="livekit_server.py",
    name=BINARY_NAME,
    built_name="server",
    package="github.com/livekit/livekit-server/cmd/server",
    version=LIVEKIT_VERSION,
    go_needed=(1, 26),
    find=find_livekit_server,
    read_version=read_version,
    modules_seen=119,
    packages_seen=805,
)

if __name__ == "__main__":
    sys.exit(get(LIVEKIT, into=TOOLS_DIR))
