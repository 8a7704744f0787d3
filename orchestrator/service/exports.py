"""Exports of recordings: made once each, one at a time, kept for a while in a folder with a bound.

An export is plaintext on disk, readable by this user only. It goes when the recording or its keys go, after
KEPT_S, and when newer ones need its room. One of an unfinished recording is made anew when it is asked for
again.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import structlog

from orchestrator.recording_settings import RecordingSettings
from orchestrator.service.threads import BusyError, StoppedError
from vault.adapters.pyav_remuxer import AudioForm, Container, containers_for
from vault.core.ids import RecordingId
from vault.errors import ExportError, StoreFullError, VaultError
from vault.export import export_files
from vault.listing import read_listing
from vault.open_recording import OpenRecording
from vault.ports import ChunkStore, KeyRing

KEPT_S: Final = 24 * 3600.0
MAX_WAITING: Final = 8
MAX_KNOWN: Final = 100  # failures and ends that are remembered
_SWEEP_S: Final = 60.0

log = structlog.get_logger(__name__)

State = Literal["waiting", "running", "ready", "failed"]


@dataclass(slots=True, kw_only=True)
class Export:
    """One export as it stands.

    Attributes:
        name: of its file, suffix included; begins with the recording's id.
        path: the file once it is ready.
        error: why it failed.
    """

    recording_id: RecordingId
    audio: AudioForm
    name: str
    state: State = "waiting"
    bytes_done: int = 0
    bytes_total: int = 0
    path: Path | None = None
    error: Exception | None = None


class Exports:
    """Makes and keeps exports, on one thread of its own. `ask` and `look` block."""

    def __init__(
        self,
        store: ChunkStore,
        open_keys: Callable[[], KeyRing],
        folder: Path,
        *,
        budget_bytes: int,
        container: Container = "mp4",
        now: Callable[[], float] = time.time,
    ) -> None:
        """Make it; nothing is read or written yet.

        Args:
            store: where recordings lie.
            open_keys: reads the keys that are there.
            folder: where exports are kept; made when the first one is.
            budget_bytes: what all of them may take; a recording that is larger is refused.
            container: of the files, where it takes their codecs.
            now: Unix time, seconds.
        """
        self._store = store
        self._open_keys = open_keys
        self._folder = folder
        self._budget_bytes = budget_bytes
        self._container = container
        self._now = now
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Export] = OrderedDict()
        self._waiting: queue.Queue[Export] = queue.Queue(MAX_WAITING)
        self._gone: set[RecordingId] = set()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def ask(
        self, recording: OpenRecording, recording_id: RecordingId, audio: AudioForm, wish: str = ""
    ) -> Export:
        """Give the export of a recording as it is now, and begin it unless it is there or under way.

        Args:
            recording: opened.
            recording_id: its id.
            audio: as recorded, or AAC.
            wish: the container, where it takes the codecs; another word: as `container` says.

        Raises:
            BusyError: as many wait as may.
            ExportError: it can never be had; the sentence says why.
        """
        name = self._name(recording, recording_id, audio, wish)
        with self._lock:
            export = self._find(recording_id, name, audio)
            is_over = recording.manifest is None and export is not None and export.state == "ready"
            if export is not None and export.state != "failed" and not is_over:
                return export
            (self._folder / name).unlink(missing_ok=True)
            size = sum(track_run.size_bytes for track in recording.tracks for track_run in track.runs)
            if size > self._budget_bytes:
                raise ExportError(
                    f"this recording has {size} bytes, and exports may take {self._budget_bytes} "
                    "([recording] export_budget); use `greenroom export`, or allow more"
                )
            export = Export(recording_id=recording_id, audio=audio, name=name, bytes_total=2 * size)
            try:
                self._waiting.put_nowait(export)
            except queue.Full:
                raise BusyError(f"{MAX_WAITING} exports wait already; try again later") from None
            self._remember(export)
            self._start()
            return export

    def look(
        self, recording: OpenRecording, recording_id: RecordingId, audio: AudioForm, wish: str = ""
    ) -> Export | None:
        """Give the export of a recording as it is now; None when nobody asked for it. As for `ask`."""
        with self._lock:
            return self._find(recording_id, self._name(recording, recording_id, audio, wish), audio)

    def forget(self, recording_id: RecordingId) -> None:
        """Remove all exports of a recording, within a second: it or its keys are deleted. Never waits."""
        with self._lock:
            for name in [name for name in self._known if name.startswith(recording_id)]:
                del self._known[name]  # which ends it, if it is under way
            self._gone.add(recording_id)
            self._start()

    async def run(self) -> None:
        """Keep to the bounds until cancelled, also for what an earlier process has left."""
        with self._lock:
            self._start()
        await asyncio.Event().wait()

    def close(self) -> None:
        """Stop; what is under way is given up and not waited for."""
        self._closing.set()

    # --- under the lock ---

    def _find(self, recording_id: RecordingId, name: str, audio: AudioForm) -> Export | None:
        export = self._known.get(name)
        if export is not None and export.state != "ready":
            return export
        path = self._folder / name
        if path.is_file():  # perhaps made before a restart
            self._start()  # it has to go in time
            size = path.stat().st_size
            return Export(
                recording_id=recording_id,
                audio=audio,
                name=name,
                state="ready",
                path=path,
                bytes_done=size,
                bytes_total=size,
            )
        return None

    def _name(self, recording: OpenRecording, recording_id: RecordingId, audio: AudioForm, wish: str) -> str:
        prologues = [run.prologue for track in recording.tracks for run in track.runs]
        if not prologues:
            raise ExportError(f"recording {recording_id} holds no media: nobody published while it was made")
        containers = containers_for(prologues, audio)
        wishes: list[Container] = [one for one in containers if one == wish]
        wishes += [one for one in containers if one == self._container]
        container = [*wishes, *containers][0]
        state = "unfinished" if recording.manifest is None else recording.manifest.root[:16]
        return f"{recording_id}-{state}{'-aac' if audio == 'aac' else ''}.{container}"

    def _remember(self, export: Export) -> None:
        self._known[export.name] = export
        self._known.move_to_end(export.name)
        over = [name for name, one in self._known.items() if one.state in ("ready", "failed")]
        for name in over[: max(len(self._known) - MAX_KNOWN, 0)]:
            del self._known[name]

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="exports", daemon=True)
            self._thread.start()

    # --- on the thread ---

    def _run(self) -> None:
        is_clean = False
        swept = -_SWEEP_S
        while not self._closing.is_set():
            try:
                export = self._waiting.get(timeout=1.0)
            except queue.Empty:
                export = None
            try:
                if not is_clean:
                    self._remove_half_made()
                    is_clean = True
                self._remove_gone()
                if export is not None:
                    self._make(export)
                if export is not None or time.monotonic() - swept > _SWEEP_S:
                    self._sweep()
                    swept = time.monotonic()
            except Exception:
                log.exception("exports_failed")

    def _remove_half_made(self) -> None:
        """Remove what a process that was killed left."""
        for path in self._files():
            if path.name.startswith("."):
                path.unlink(missing_ok=True)

    def _remove_gone(self) -> None:
        with self._lock:
            gone, self._gone = self._gone, set()
        for path in self._files():
            if path.name.removeprefix(".")[:36] in gone:
                path.unlink(missing_ok=True)

    def _make(self, export: Export) -> None:
        if export.name not in self._known:
            return
        export.state = "running"

        def progress(done: int, total: int) -> None:
            export.bytes_done, export.bytes_total = done, total
            if self._closing.is_set() or export.name not in self._known:
                raise StoppedError("the export is not wanted any more")

        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = self._write(export, progress)
            with self._lock:
                if export.name not in self._known:  # deleted meanwhile
                    made.unlink(missing_ok=True)
                export.path, export.state = made, "ready"
        except (VaultError, StoppedError, OSError) as error:
            export.error = StoreFullError(str(error)) if isinstance(error, OSError) else error
            export.state = "failed"
            log.warning("export_failed", recording_id=export.recording_id, error=str(error))
            return
        finally:
            if export.state == "running":  # whatever it was, nobody shall wait for it
                export.state = "failed"

    def _write(self, export: Export, progress: Callable[[int, int], None]) -> Path:
        out = self._folder / export.name
        export_files(
            self._store.files(export.recording_id),
            self._open_keys(),
            out,
            name=f"recording {export.recording_id}",
            recording_id=export.recording_id,
            audio=export.audio,
            on_progress=progress,
        )
        out.chmod(0o600)
        return out

    def _sweep(self) -> None:
        """Remove what is too old, too much, or of recordings that nobody may read any more."""
        kept = 0
        by_age = sorted(((path.stat().st_mtime, path) for path in self._files()), reverse=True)
        for made_at, path in by_age:
            kept += path.stat().st_size
            if self._now() - made_at > KEPT_S or kept > self._budget_bytes or not self._has_keys(path):
                kept -= path.stat().st_size
                path.unlink(missing_ok=True)

    def _has_keys(self, path: Path) -> bool:
        attempts = read_listing(self._store.files(RecordingId(path.name[:36]))).attempts.values()
        return any(attempt.revisions for attempt in attempts)

    def _files(self) -> list[Path]:
        with suppress(FileNotFoundError, NotADirectoryError):  # then making it says what is wrong
            return [path for path in self._folder.iterdir() if path.is_file() and not path.is_symlink()]
        return []


def exports_for(settings: RecordingSettings, store: ChunkStore, open_keys: Callable[[], KeyRing]) -> Exports:
    """Make the exports that the settings describe."""
    return Exports(
        store,
        open_keys,
        settings.exports_in,
        budget_bytes=int(settings.export_budget),
        container=settings.format,
    )
