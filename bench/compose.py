"""What a composite and a mix cost, beside encoding each track again.

The participants of bench/record.py (720p30 H.264 with a long GOP, and Opus), quality high; the CPU is that of
the recording process, in milliseconds for each second of a participant. Every recording is verified, exported
and decoded again: one picture in the composite, none in the mix.

    python -m bench.compose [--streams N] [--seconds S] [--rounds R] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from bench.record import CELLS, ROOT, cell

WAYS: Final = ("decoded", "composite", "audio")
GOAL_RATIO: Final = 4.0  # so much cheaper is a mix alone than all tracks


def main() -> int:
    """Measure, print, and tell by the exit code whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--streams", type=int, default=2, help="participants at once")
    parser.add_argument("--seconds", type=float, default=10, help="measured in each cell")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="only the object on the last line")
    options = parser.parse_args()
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([sys.executable, "-m", CELLS, "clip", "--folder", name], cwd=ROOT, check=True)
        for number in range(options.rounds):
            for way in WAYS:
                folder = Path(name) / f"{number}-{way}"
                one = cell(way, options.streams, folder, seconds=options.seconds)
                found[way].append(one["ms"])
                print(f"  round {number + 1}, {way:<10} {one['ms']:7.1f} ms", file=sys.stderr)
    tracks, composite, audio = (round(median(found[way]), 2) for way in WAYS)
    if not options.json:
        print(f"each track {tracks} ms, composite {composite} ms, mix alone {audio} ms of CPU in a second")
    ratio = round(tracks / audio, 1)
    print(json.dumps({"tracks_ms": tracks, "composite_ms": composite, "audio_ms": audio, "ratio": ratio}))
    return 0 if ratio >= GOAL_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
