"""Starts a program that the kernel ends when its parent dies: `kill -9` of a supervisor leaves nothing.

Run as a script in front of the program: it sets PR_SET_PDEATHSIG and becomes the program (the same process
id). The flag survives that step. It is done here and not between fork and exec of the parent, where Python
code may not safely run beside other threads. Standard library only, and little of it: this is start-up time
of every child.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def with_parent(argv: Sequence[str], *, signum: int) -> list[str]:
    """Give the command that runs ``argv`` and gets ``signum`` when the calling thread ends.

    The kernel watches the *thread* that starts the child, so start it from one that lives as long as the
    child may: the main thread, or the thread of the event loop. Elsewhere than on Linux the command is
    unchanged.
    """
    if sys.platform != "linux":
        return list(argv)
    # -I -S: neither the environment nor site-packages have a say in this small step.
    return [sys.executable, "-I", "-S", __file__, str(int(signum)), str(os.getpid()), *argv]


def main() -> None:
    """Tie this process to its parent, then become the program: SIGNUM PARENT_PID PROGRAM ARGUMENTS…"""
    signum, parent, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        sys.exit(f"prctl failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent was gone before its child began")
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.exit(f"{argv[0]} cannot be started: {error.strerror}")


if __name__ == "__main__":
    main()
