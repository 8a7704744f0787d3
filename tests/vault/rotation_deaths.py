"""A rotation in a process of its own, killed with SIGKILL at a change given by number, or after a time."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.ids import RecordingId
from vault.rotation import rewrap_recording

# What changes files or their names; `open` only where it may write.
_STEPS = ("os.rename", "os.link", "os.remove", "open")


def rotate_and_die(
    data: Path, recordings: Sequence[RecordingId], *, at_step: int = 0, after_s: float = 0.0
) -> bool:
    """Make a new key and rewrap recordings in a child; kill it before its change number ``at_step``.

    Args:
        at_step: 1 for the first; 0 for none.
        after_s: kill after this time instead; 0 for never.

    Returns:
        Whether it was killed; otherwise it came to its end.
    """
    child = os.fork()
    if child == 0:
        try:
            _rotate(data, recordings, at_step=at_step, after_s=after_s)
        except BaseException:  # noqa: BLE001 - the edge of a process, whose parent wants to know
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the rotation failed by itself"
    return False


def _rotate(data: Path, recordings: Sequence[RecordingId], *, at_step: int, after_s: float) -> None:
    ring, store = KeyFiles.open(data / "keys"), DirChunkStore(data / "recordings")
    steps = 0

    def die_in_time(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal steps
        if event not in _STEPS or (event == "open" and not _may_write(arguments)):
            return
        steps += 1
        if steps == at_step:
            os.kill(os.getpid(), signal.SIGKILL)

    if at_step:
        sys.addaudithook(die_in_time)  # called before the change is made
    if after_s:
        threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
    ring.rotate(2_000_000_000)
    for recording_id in recordings:
        rewrap_recording(store, ring, recording_id=recording_id)


def _may_write(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
