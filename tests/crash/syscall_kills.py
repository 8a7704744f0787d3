"""Kills a process at its n-th call that changes a folder: any thread, before the kernel carries the call out.

What `strace -f -e inject=…:signal=KILL:when=N` does, by the same means (ptrace), but with one count over all
threads and calls: strace counts for each thread and each call anew, so that what the last thread does at the
end cannot be reached. `test_kill_points.py` compares the calls that both see.

The process is forked, so it begins within milliseconds, with everything imported.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

# What changes files, or makes a change durable.
CALLS: Final[dict[str, dict[int, str]]] = {
    "x86_64": {
        1: "write", 18: "pwrite64", 20: "writev", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 82: "rename",
        83: "mkdir", 84: "rmdir", 86: "link", 87: "unlink", 257: "openat", 258: "mkdirat", 263: "unlinkat",
        264: "renameat", 265: "linkat", 285: "fallocate", 316: "renameat2",
    },
    "aarch64": {
        34: "mkdirat", 35: "unlinkat", 37: "linkat", 38: "renameat", 46: "ftruncate", 47: "fallocate",
        56: "openat", 64: "write", 66: "writev", 68: "pwrite64", 82: "fsync", 83: "fdatasync",
        276: "renameat2",
    },
}  # fmt: skip
_ON_DESCRIPTOR: Final = {"write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "fallocate"}

_TRACEME, _CONT, _SETOPTIONS, _SYSCALL_INFO = 0, 7, 0x4200, 0x420E
_TRACE_CLONE, _TRACE_SECCOMP, _EXIT_KILL = 0x8, 0x80, 0x100000
_EVENT_SECCOMP: Final = 7
_WALL: Final = 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_RET_ALLOW, _RET_TRACE = 0x7FFF0000, 0x7FF00000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


@dataclass(slots=True)
class Traced:
    """A process that runs under the tracer.

    Attributes:
        folder: only calls on files below it count, as far as they name a descriptor.
        kill_at: number of the call, from 1, before which it dies; None lets it live.
        calls: names of those that it made, or was about to make when it died.
        killed_s: monotonic time of its death.
    """

    pid: int
    folder: Path
    kill_at: int | None
    calls: list[str] = field(default_factory=list)
    is_killed: bool = False
    killed_s: float = 0.0


class Tracer:
    """Runs any number of processes; all of it belongs to the thread that made it."""

    def __init__(self) -> None:
        if platform.machine() not in CALLS:
            raise OSError(errno.ENOSYS, f"the calls of {platform.machine()} are not known here")
        self._names = CALLS[platform.machine()]
        self._running: dict[int, Traced] = {}
        self._leaders: dict[int, int] = {}  # thread to process
        self._seen: set[int] = set()  # threads that have stopped for the first time

    def start(self, run: Callable[[], None], folder: Path, *, kill_at: int | None) -> int:
        """Fork a process that calls ``run`` and ends; gives its id."""
        pid = os.fork()
        if pid == 0:
            self._become_traced(run)
        self._running[pid] = Traced(pid, folder, kill_at)
        self._leaders[pid] = pid
        return pid

    def wait(self) -> tuple[int, int, Traced | None]:
        """Go on until a process ends: its id, its exit code (negative: signal), and what was seen of it.

        A process that others forked is given too, with None. Blocking; ChildProcessError when there is none.
        """
        while True:
            pid, status = os.waitpid(-1, _WALL)
            if os.WIFSTOPPED(status):
                self._go_on(pid, status)
                continue
            self._seen.discard(pid)
            if self._leaders.pop(pid, pid) == pid:  # else a thread that ended
                return pid, os.waitstatus_to_exitcode(status), self._running.pop(pid, None)

    def _go_on(self, thread: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        traced = self._running.get(self._leader_of(thread))
        if thread not in self._seen:
            self._seen.add(thread)
            if traced is not None and thread == traced.pid:
                self._ptrace(_SETOPTIONS, thread, _TRACE_CLONE | _TRACE_SECCOMP | _EXIT_KILL)
            number = 0
        if event == _EVENT_SECCOMP and traced is not None and self._dies_here(thread, traced):
            return
        self._ptrace(_CONT, thread, 0 if event or number in (signal.SIGTRAP, signal.SIGSTOP) else number)

    def _dies_here(self, thread: int, traced: Traced) -> bool:
        name = self._change(thread, traced.folder)
        if name is None or traced.is_killed:
            return traced.is_killed
        traced.calls.append(name)
        if len(traced.calls) == traced.kill_at:
            traced.is_killed, traced.killed_s = True, time.monotonic()
            os.kill(traced.pid, signal.SIGKILL)  # it stands before the call, which the kernel then leaves out
        return traced.is_killed

    def _change(self, thread: int, folder: Path) -> str | None:
        """Name the call at which a thread stands; None when it changes nothing of the folder."""
        buffer = ctypes.create_string_buffer(88)
        self._ptrace(_SYSCALL_INFO, thread, ctypes.addressof(buffer), size=len(buffer))
        number, *arguments = struct.unpack_from("7Q", buffer.raw, 24)
        name = self._names[number]
        if name == "openat":
            return name if arguments[2] & os.O_CREAT else None
        if name in _ON_DESCRIPTOR:
            try:
                target = os.readlink(f"/proc/{thread}/fd/{arguments[0]}")
            except OSError:
                return None
            return name if target.startswith(f"{folder}/") or target == str(folder) else None
        return name

    def _leader_of(self, thread: int) -> int:
        if thread not in self._leaders:
            try:
                status = Path(f"/proc/{thread}/status").read_text()
            except OSError:
                return 0
            self._leaders[thread] = int(status.split("Tgid:")[1].split()[0])
        return self._leaders[thread]

    def _ptrace(self, request: int, thread: int, data: int, *, size: int = 0) -> None:
        if _libc.ptrace(request, thread, size, data) < 0 and ctypes.get_errno() != errno.ESRCH:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x}: {os.strerror(ctypes.get_errno())}")

    def _become_traced(self, run: Callable[[], None]) -> None:
        code = 70
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if _libc.ptrace(_TRACEME, 0, 0, 0) < 0:
                raise OSError(ctypes.get_errno(), "this machine lets no process be traced")
            os.kill(os.getpid(), signal.SIGSTOP)
            self._filter()
            run()
            code = 0
        finally:
            os._exit(code)

    def _filter(self) -> None:
        """Stop at the calls that count and at no other: everything else costs nothing."""
        lines = [(0x20, 0, 0, 0)]  # load the call's number
        lines += [(0x15, 0, 1, number) for number in self._names]
        program = [lines[0]]
        for line in lines[1:]:
            program += [line, (0x06, 0, 0, _RET_TRACE)]
        program.append((0x06, 0, 0, _RET_ALLOW))
        code = b"".join(struct.pack("HBBI", *line) for line in program)
        buffer = ctypes.create_string_buffer(code, len(code))
        described = _Program(len(program), ctypes.addressof(buffer))
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if _libc.prctl(_PR_SET_SECCOMP, 2, ctypes.byref(described), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "this machine takes no seccomp filter")
