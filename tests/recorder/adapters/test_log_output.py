"""The log is JSON where nobody watches, with our own levels and libraries' warnings only."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import logging
from recorder.adapters.log_output import configure
configure("info")
logging.getLogger("greenroom.recorder").info("track %d begins", 3)
logging.getLogger("greenroom.recorder").debug("not shown")
logging.getLogger("livekit").info("not shown")
logging.getLogger("livekit").warning("shown")
"""


def test_lines_are_json_with_event_level_and_logger() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=30
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"], line["logger"]) for line in lines] == [
        ("track 3 begins", "info", "greenroom.recorder"),
        ("shown", "warning", "livekit"),
    ]
