"""A disk that remembers every write and every flush, so that a power cut at any of them can be played.

    python -m tests.crash.logged_disk FOLDER IMAGE LOG PROMISES

Serves IMAGE as the file FOLDER/disk by FUSE (the kernel's protocol, no library), for a loop device to stand
on. What ext4 writes and flushes there comes here, in its order; so does each line of the pipe PROMISES, which
says what somebody holds for stored by now. At SIGTERM all of it is in LOG.

Source: include/uapi/linux/fuse.h (7.31).
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import select
import signal
import stat
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from tests.crash.disk_log import Entry, Flush, Promise, Write

_ROOT, _DISK = 1, 2  # nodes
_MAX_WRITE: Final = 128 * 1024
_BUFFER: Final = _MAX_WRITE + 4096
_BIG_WRITES: Final = 1 << 5
_NEVER: Final = 86_400  # seconds that attributes are good for


@dataclass
class LoggedDisk:
    """One file in one folder, in memory."""

    image: bytearray
    promises: int  # descriptor of the pipe
    log: list[Entry] = field(default_factory=list)
    _rest: bytes = b""

    def serve(self, device: int, is_over: Callable[[], bool]) -> None:
        """Answer the kernel until told to end."""
        while not is_over():
            ready, _, _ = select.select([device, self.promises], [], [], 0.1)
            if device in ready:
                try:
                    request = os.read(device, _BUFFER)
                except OSError as error:
                    if error.errno == errno.ENODEV:
                        return  # unmounted
                    continue
                # What was promised before this request was made counts as promised before it.
                self._take_promises()
                reply = self._answer(request)
                if reply is not None:
                    os.write(device, reply)
            elif ready:
                self._take_promises()

    def _take_promises(self) -> None:
        try:
            while data := os.read(self.promises, 65536):
                *lines, self._rest = (self._rest + data).split(b"\n")
                self.log += [Promise(line.decode()) for line in lines]
        except BlockingIOError:
            return

    def _answer(self, request: bytes) -> bytes | None:
        length, opcode, unique, node = struct.unpack_from("IIQQ", request)
        body = request[40:length]
        if opcode in (2, 36, 42):  # forget, interrupt, batch of forgets: nobody waits
            return None
        code, out = self._carry_out(opcode, node, body)
        return struct.pack("IiQ", 16 + len(out), -code, unique) + out

    def _carry_out(self, opcode: int, node: int, body: bytes) -> tuple[int, bytes]:
        match opcode:
            case 26:  # init: version, readahead, flags, background, congestion, largest write, time, pages
                limits = (7, 31, 0, _BIG_WRITES, 8, 8, _MAX_WRITE, 1, 0, 0)
                return 0, struct.pack("IIIIHHIIHH8I", *limits, *[0] * 8)
            case 1:  # lookup
                if body.rstrip(b"\0") != b"disk":
                    return errno.ENOENT, b""
                return 0, struct.pack("QQQQII", _DISK, 0, _NEVER, _NEVER, 0, 0) + self._attributes(_DISK)
            case 3 | 4:  # getattr, setattr
                return 0, struct.pack("QII", _NEVER, 0, 0) + self._attributes(node)
            case 14 | 27:  # open, opendir
                return 0, struct.pack("QII", 1, 0, 0)
            case 15:  # read
                _, offset, size = struct.unpack_from("QQI", body)
                return 0, bytes(self.image[offset : offset + size])
            case 16:  # write
                _, offset, size = struct.unpack_from("QQI", body)
                data = body[40 : 40 + size]
                self.image[offset : offset + size] = data
                self.log.append(Write(offset, data))
                return 0, struct.pack("II", size, 0)
            case 20:  # fsync
                self.log.append(Flush())
                return 0, b""
            case 17:  # statfs
                return 0, struct.pack("5Q10I", 1, 1, 1, 1, 1, 4096, 255, 4096, *[0] * 7)
            case 18 | 25 | 29 | 38:  # release, flush, releasedir, destroy
                return 0, b""
        return errno.ENOSYS, b""

    def _attributes(self, node: int) -> bytes:
        is_disk = node == _DISK
        size = len(self.image) if is_disk else 0
        mode = stat.S_IFREG | 0o600 if is_disk else stat.S_IFDIR | 0o700
        return struct.pack("6Q10I", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def mount(folder: Path) -> int:
    """Mount FUSE on a folder; gives the descriptor to answer on.

    Raises:
        OSError: this machine has no FUSE, or gives no right to mount.
    """
    device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"logged_disk", os.fsencode(folder), b"fuse", 0, options) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return device


def main() -> None:
    """Serve until SIGTERM."""
    folder, image, log, promises = map(Path, sys.argv[1:])
    over: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        over.append(number)

    signal.signal(signal.SIGTERM, end)
    disk = LoggedDisk(bytearray(image.read_bytes()), os.open(promises, os.O_RDWR | os.O_NONBLOCK))
    device = mount(folder)
    print("mounted", flush=True)
    disk.serve(device, lambda: bool(over))
    log.write_bytes(pickle.dumps(disk.log))


if __name__ == "__main__":
    main()
