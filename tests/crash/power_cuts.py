"""Lets recordings be written to an ext4 on a logged disk, and looks at what power cuts leave of them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import msgspec

from tests.crash.disk_log import Entry, cut_power, promises
from tests.crash.power_writer import PromisedHead
from tests.fakes.recordings import complete, make_key_ring
from vault.adapters.dir_store import DirChunkStore, DirRecording
from vault.core.checkpoint import TreeHead
from vault.core.ids import RecordingId, is_recording_id
from vault.errors import NotARecordingError, VaultError
from vault.recovery import recover_attempt
from vault.verification import verify_recording

DISK_BYTES = 24 * 1024 * 1024
COMMAND_S = 30.0


class DiskUnavailableError(Exception):
    """This machine gives no loop device or no right to mount."""


@dataclass(frozen=True, slots=True)
class WrittenDisk:
    """A disk, and all that it was told."""

    empty: bytes
    log: list[Entry]


def run(*command: str) -> str:
    """Run a command of the system.

    Raises:
        DiskUnavailableError: there is none, or it refused.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=COMMAND_S)
    except FileNotFoundError:
        raise DiskUnavailableError(f"there is no {command[0]}") from None
    except subprocess.CalledProcessError as error:
        raise DiskUnavailableError(f"{command[0]}: {error.stderr.strip()}") from error
    return done.stdout.strip()


def write_disk(place: Path, *, count: int, manner: str) -> WrittenDisk:
    """Let `power_writer` write ``count`` recordings; gives all that the disk was told.

    Raises:
        DiskUnavailableError: no FUSE, no loop device, or no right to mount.
    """
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        raise DiskUnavailableError("mounting needs root, and FUSE")
    image, log, pipe = place / "empty", place / "log", place / "promises"
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    run("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    os.mkfifo(pipe)
    with _serving(place / "fuse", image, log, pipe) as disk, _mounted(disk, place / "disk") as folder:
        subprocess.run(
            [sys.executable, "-m", "tests.crash.power_writer", str(folder), str(pipe), str(count), manner],
            check=True,
            timeout=120,
        )
    return WrittenDisk(image.read_bytes(), pickle.loads(log.read_bytes()))


@contextmanager
def _serving(folder: Path, image: Path, log: Path, pipe: Path) -> Iterator[Path]:
    """Serve the image; gives the file that a loop device can stand on."""
    folder.mkdir()
    command = [sys.executable, "-m", "tests.crash.logged_disk", str(folder), str(image), str(log), str(pipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "mounted":
                raise DiskUnavailableError("FUSE cannot be mounted")
            yield folder / "disk"
        finally:
            process.terminate()
            process.wait(timeout=COMMAND_S)
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, timeout=COMMAND_S, check=False)


@contextmanager
def _mounted(image: Path, folder: Path) -> Iterator[Path]:
    """Mount the ext4 of a file, what is not committed is written after a second, and give its folder."""
    folder.mkdir(exist_ok=True)
    device = run("losetup", "--find", "--show", str(image))
    try:
        run("mount", "-t", "ext4", "-o", "commit=1", device, str(folder))
        try:
            yield folder
        finally:
            run("umount", str(folder))
    finally:
        run("losetup", "--detach", device)


class Damage(msgspec.Struct, kw_only=True):
    """What a power cut did to recordings; all of it empty when every promise was kept."""

    lost: list[str] = []  # acknowledged, and not there
    false_manifests: list[str] = []  # a manifest names a chunk that is not there as it says
    bad: list[str] = []  # not to be verified, though nothing acknowledged is lost
    stuck: list[str] = []  # cannot be completed


def look_after_cut(disk: WrittenDisk, at: int, *, seed: int, place: Path) -> Damage:
    """Cut the power before entry ``at``, mount what is left, and look at every recording. Blocking."""
    image = place / f"cut-{at}"
    image.write_bytes(cut_power(disk.empty, disk.log, at, Random(seed)))
    damage = Damage()
    promised: dict[str, PromisedHead] = {}
    for line in promises(disk.log, at):
        head = msgspec.json.decode(line, type=PromisedHead)
        promised[head.recording] = (
            head
            if not head.is_complete
            else msgspec.structs.replace(promised[head.recording], is_complete=True)
        )
    with _mounted(image, place / "left") as folder:
        there = {name for name in os.listdir(folder) if is_recording_id(name)}
        for recording_id in sorted(there | promised.keys()):
            _look(folder, RecordingId(recording_id), promised.get(recording_id), damage)
    image.unlink()
    return damage


def _look(folder: Path, recording_id: RecordingId, promised: PromisedHead | None, damage: Damage) -> None:
    key_ring, path = make_key_ring(), folder / recording_id
    known = (
        []
        if promised is None
        else [TreeHead(attempt=1, size=promised.size, root=bytes.fromhex(promised.root))]
    )
    try:
        report = verify_recording(path, key_ring.public_key)
        against = verify_recording(path, key_ring.public_key, against=known)
    except NotARecordingError as error:
        if promised is not None:
            damage.lost.append(f"{recording_id}: {error}")
        return
    what = f"{recording_id}: " + "; ".join(against.sentences())
    has_manifest = (path / "manifest").exists()
    if promised is not None and (
        against.exit_code not in (0, 3) or (promised.is_complete and not has_manifest)
    ):
        damage.lost.append(what)
    elif report.exit_code == 1:
        damage.bad.append(what)
    if has_manifest and report.exit_code != 0:
        damage.false_manifests.append(what)
    if report.exit_code == 3:
        _complete(DirChunkStore(folder), recording_id, damage)


def _complete(store: DirChunkStore, recording_id: RecordingId, damage: Damage) -> None:
    """What the completer does after the machine is up again."""
    key_ring = make_key_ring()
    files = store.files(recording_id)
    assert isinstance(files, DirRecording)
    try:
        close = recover_attempt(files, key_ring.public_key, recording_id=recording_id, attempt=1)
        complete(store, key_ring, close, recording_id=recording_id)
    except VaultError as error:
        damage.stuck.append(f"{recording_id}: {error}")
