"""Records again and again and is killed at another call each time; one line of JSON for each trial.

    python -m tests.crash.kill_trials FOLDER passthrough|decoded SECONDS POINTS [NAIVE]

One process that has imported everything forks the recorders, many side by side, since they mostly
wait. The first recording lives, and says how many calls there are; the points are spread evenly over
them.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from recorder.core.segmenting import FRAGMENT_S
from tests.crash.fed_media import FedMedia, write_media
from tests.crash.judge import Verdict, judge
from tests.crash.recorders import DEADLINE_S, record
from tests.crash.syscall_kills import Traced, Tracer
from tests.crash.witness import Witness
from tests.fakes.recordings import make_key_ring

RECORDERS_AT_ONCE: Final[dict[str, int]] = {"passthrough": 20, "decoded": 10}  # x264 takes its time
JUDGES_AT_ONCE: Final = 2  # they do nothing but work, and there are two cores
_RETRIES: Final = 8

Mode = Literal["passthrough", "decoded"]


class Trial(msgspec.Struct, kw_only=True):
    """One recording and what was left of it; ``kill_at`` 0: it was to live."""

    number: int
    kill_at: int
    calls: int = 0
    call: str = ""  # the one that it died at
    seen: list[str] = []  # all of them, of the one that was to live
    is_killed: bool = False
    killed_s: float = 0.0
    verdict: Verdict = msgspec.field(default_factory=Verdict)


@dataclass
class Trials:
    """All trials of one run."""

    folder: Path
    mode: Mode
    seconds: int
    naive: str

    def __post_init__(self) -> None:
        self._key_ring = make_key_ring()
        write_media(self.folder / "fed.mp4", self.seconds)
        self._media = FedMedia.read(self.folder / "fed.mp4")
        self._tracer = Tracer()
        self._recorders: dict[int, Trial] = {}
        self._judges: dict[int, Trial] = {}
        self._unjudged: deque[Trial] = deque()
        self._tries: dict[int, int] = {}
        # Each call of a recorder waits for the tracer: that must not be what is measured.
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -15)

    def run(self, points: int) -> None:
        """Try that many points, after one recording that lives."""
        living = Trial(number=0, kill_at=0)
        self._start(living)
        self._work_off(deque())
        if points:
            self._work_off(
                deque(
                    Trial(number=number + 1, kill_at=1 + number * (living.calls - 1) // max(points - 1, 1))
                    for number in range(points)
                )
            )

    def _work_off(self, waiting: deque[Trial]) -> None:
        while waiting or self._recorders or self._judges or self._unjudged:
            while waiting and len(self._recorders) < RECORDERS_AT_ONCE[self.mode]:
                self._start(waiting.popleft())
            while self._unjudged and len(self._judges) < JUDGES_AT_ONCE:
                self._judge(self._unjudged.popleft())
            pid, code, traced = self._tracer.wait()
            if pid in self._recorders:
                assert traced is not None
                self._ended(self._recorders.pop(pid), code, traced)
            elif pid in self._judges:
                self._judged(self._judges.pop(pid), code)

    def _place(self, trial: Trial) -> Path:
        return self.folder / f"trial-{trial.number}"

    def _start(self, trial: Trial) -> None:
        place = self._place(trial)
        shutil.rmtree(place, ignore_errors=True)
        (place / "recordings").mkdir(parents=True)
        Witness(place / "witness")

        at_once = RECORDERS_AT_ONCE[self.mode]

        def run() -> None:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
            time.sleep(trial.number % at_once / at_once * FRAGMENT_S)  # not all in step
            record(place, self._media, self._key_ring, mode=self.mode, seconds=self.seconds, naive=self.naive)

        pid = self._tracer.start(run, place, kill_at=trial.kill_at or None)
        self._recorders[pid] = trial

    def _ended(self, trial: Trial, code: int, traced: Traced) -> None:
        if code != (-signal.SIGKILL if traced.is_killed else 0):
            raise SystemExit(f"the recorder of trial {trial.number} ended with {code}")
        trial.calls, trial.is_killed = len(traced.calls), traced.is_killed
        trial.killed_s = traced.killed_s
        trial.call = traced.calls[-1] if traced.is_killed else ""
        trial.seen = [] if trial.kill_at else traced.calls
        tried = self._tries[trial.number] = self._tries.get(trial.number, 0) + 1
        if trial.kill_at and not trial.is_killed and tried < _RETRIES:
            # It had fewer calls than the one that was counted: chunks shared more checkpoints.
            trial.kill_at = trial.calls - tried + 1
            self._start(trial)
        else:
            self._unjudged.append(trial)

    def _judge(self, trial: Trial) -> None:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.setpriority(os.PRIO_PROCESS, 0, 0)
                signal.alarm(int(DEADLINE_S))
                verdict = judge(self._place(trial), self._key_ring, killed_s=trial.killed_s)
                (self._place(trial) / "verdict").write_bytes(msgspec.json.encode(verdict))
                code = 0
            finally:
                os._exit(code)
        self._judges[pid] = trial

    def _judged(self, trial: Trial, code: int) -> None:
        if code != 0:
            raise SystemExit(f"the judge of trial {trial.number} ended with {code}")
        place = self._place(trial)
        trial.verdict = msgspec.json.decode((place / "verdict").read_bytes(), type=Verdict)
        print(msgspec.json.encode(trial).decode(), flush=True)
        if not trial.verdict.wrong:
            shutil.rmtree(place)  # what went wrong stays to be looked at


if __name__ == "__main__":
    _folder, _mode, _seconds, _points, *_naive = sys.argv[1:]
    assert _mode in ("passthrough", "decoded")
    Trials(Path(_folder), _mode, int(_seconds), _naive[0] if _naive else "").run(int(_points))  # type: ignore[arg-type]
