"""Reading of recordings: opened once and kept while they are asked for, every byte authenticated.

What is kept is bounded (MAX_OPEN recordings, MAX_LEAVES chunks indexed in all); keys and media are in memory
only. An unfinished recording is looked at again when it was last seen FRESH_S ago; so are the key records of
any, because a recording whose keys were shredded must not stay open here.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from orchestrator.service.exports import Exports
from orchestrator.service.threads import Threads
from vault.core.checkpoint import TreeHead
from vault.core.ids import RecordingId
from vault.core.manifest import Manifest
from vault.heads import read_heads, read_manifest
from vault.open_recording import OpenRecording, PlayRun
from vault.ports import ChunkStore, KeyRing
from vault.proofs import AttemptProver
from vault.segment_index import Segment
from vault.verification import OnProgress, check_recording
from vault.verification_report import VerificationReport

MAX_OPEN: Final = 32
MAX_LEAVES: Final = 500_000  # about 100 bytes each: 50 MB; the recording asked for last is always kept
MAX_PROVERS: Final = 8  # 32 bytes a leaf each
FRESH_S: Final = 1.0
READ_DEADLINE_S: Final = 30.0  # a chunk is at most 32 MiB
OPEN_DEADLINE_S: Final = 60.0  # 14,400 headers take half a second
LONG_DEADLINE_S: Final = 900.0  # hashing all of a recording: some 300 MB a second

T = TypeVar("T")


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    recording: OpenRecording | None = None
    looked_at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What counts of a recording, and who says so.

    Attributes:
        note: the signed manifest as it is stored; empty while there is none.
    """

    manifest: Manifest | None
    note: str
    heads: tuple[TreeHead, ...]


class Playback:
    """Opens recordings of one chunk store on threads of its own.

    Four threads read (64 requests may wait for them), one does what lasts (verification, proofs; four may
    wait). Whoever comes beyond that is refused with `BusyError`.
    """

    def __init__(
        self,
        store: ChunkStore,
        open_keys: Callable[[], KeyRing],
        *,
        exports: Exports,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make it; nothing is read until a recording is asked for.

        Args:
            store: where recordings lie.
            open_keys: reads the keys that are there; raises KeyFileError.
            exports: made of the same recordings; forgotten and closed with them.
            monotonic: seconds.
        """
        self._store = store
        self._open_keys = open_keys
        self.exports = exports
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._entries: OrderedDict[RecordingId, _Entry] = OrderedDict()
        self._provers: OrderedDict[tuple[RecordingId, TreeHead], AttemptProver] = OrderedDict()
        self._readers = Threads("playback", threads=4, waiting=64)
        self._long = Threads("playback-long", threads=1, waiting=4)

    async def open(self, recording_id: RecordingId) -> OpenRecording:
        """Give a recording, as it stands now.

        Raises:
            VaultError: as `OpenRecording.open`; KeyFileError when there are no keys.
            BusyError: too much is being read.
        """
        return await self._readers.run(lambda _: self._get(recording_id), deadline_s=OPEN_DEADLINE_S)

    async def read(self, call: Callable[[], T]) -> T:
        """Run a call that reads of an open recording. Raises what it raises, and BusyError."""
        return await self._readers.run(lambda _: call(), deadline_s=READ_DEADLINE_S)

    async def read_segments(self, recording: OpenRecording, run: PlayRun, segments: list[Segment]) -> bytes:
        """Read some segments of a run, one after the other. Raises as `OpenRecording.read`."""
        return await self.read(lambda: b"".join(recording.read_segment(run, segment) for segment in segments))

    async def closing(self, recording_id: RecordingId) -> Closing:
        """Give what counts of a recording; needs the public key only. Raises as `open`."""
        return await self.read(lambda: self._closing(recording_id))

    async def verify(
        self, recording_id: RecordingId, *, on_progress: OnProgress = lambda done, total: None
    ) -> VerificationReport:
        """Check every file of a recording; needs the public key only.

        Args:
            recording_id: which.
            on_progress: told of bytes done and bytes to do after each file, on a thread.

        Raises:
            NotARecordingError: there is none of this id.
            KeyFileError: no public key is at hand.
            StoreError: worth trying again.
            BusyError: too much of this kind is under way.
        """

        def verify(check: Callable[[], None]) -> VerificationReport:
            def progressed(done: int, total: int) -> None:
                check()
                on_progress(done, total)

            return check_recording(
                self._store.files(recording_id),
                self._open_keys().public_key,
                recording_id=recording_id,
                on_progress=progressed,
            ).report

        return await self._long.run(verify, deadline_s=LONG_DEADLINE_S)

    async def prove(self, recording_id: RecordingId, attempt: int, leaf: int) -> str | None:
        """Prove that a chunk is in the signed tree; None when it is not among what counts.

        The first proof of an attempt hashes all its chunks; further ones take no time.

        Raises:
            VaultError: as `AttemptProver.read`.
            BusyError: too much of this kind is under way.
        """
        closing = await self.closing(recording_id)
        head = next((head for head in closing.heads if head.attempt == attempt), None)
        if head is None or not 0 <= leaf < head.size:
            return None
        with self._lock:
            prover = self._provers.get((recording_id, head))
        if prover is None:
            prover = await self._long.run(
                lambda check: self._make_prover(recording_id, head, check), deadline_s=LONG_DEADLINE_S
            )
        made = prover
        return await self.read(lambda: made.prove(leaf))

    def forget(self, recording_id: RecordingId) -> None:
        """Drop what is kept of a recording: it was deleted, or its keys were."""
        self._drop(recording_id)
        self.exports.forget(recording_id)

    def close(self) -> None:
        """Stop; what runs is not waited for."""
        self.exports.close()
        self._readers.close()
        self._long.close()

    def _drop(self, recording_id: RecordingId) -> None:
        with self._lock:
            self._entries.pop(recording_id, None)
            for key in [key for key in self._provers if key[0] == recording_id]:
                del self._provers[key]

    # --- on threads ---

    def _get(self, recording_id: RecordingId) -> OpenRecording:
        with self._lock:
            entry = self._entries.setdefault(recording_id, _Entry())
            self._entries.move_to_end(recording_id)
        try:
            with entry.lock:  # one thread opens; others that want the same wait for it
                recording = self._look(entry, recording_id)
        except BaseException:
            self._drop(recording_id)
            raise
        self._trim()
        return recording

    def _look(self, entry: _Entry, recording_id: RecordingId) -> OpenRecording:
        now_s = self._monotonic()
        recording = entry.recording
        if recording is not None and now_s - entry.looked_at_s <= FRESH_S:
            return recording
        if recording is None or not recording.has_its_keys():
            files = self._store.files(recording_id)
            recording = OpenRecording.open(files, self._open_keys(), recording_id=recording_id)
        else:
            recording.refresh()
        entry.recording, entry.looked_at_s = recording, now_s
        return recording

    def _trim(self) -> None:
        with self._lock:
            leaves = sum(entry.recording.leaves for entry in self._entries.values() if entry.recording)
            while len(self._entries) > 1 and (len(self._entries) > MAX_OPEN or leaves > MAX_LEAVES):
                _, oldest = self._entries.popitem(last=False)
                leaves -= oldest.recording.leaves if oldest.recording else 0

    def _closing(self, recording_id: RecordingId) -> Closing:
        files, public_key = self._store.files(recording_id), self._open_keys().public_key
        found = read_manifest(files, public_key, recording_id)
        if found is None:
            return Closing(manifest=None, note="", heads=read_heads(files, public_key, recording_id))
        manifest, note = found
        heads = tuple(close.head for close in manifest.attempts)
        return Closing(manifest=manifest, note=note.decode(), heads=heads)

    def _make_prover(
        self, recording_id: RecordingId, head: TreeHead, check: Callable[[], None]
    ) -> AttemptProver:
        prover = AttemptProver.read(
            self._store.files(recording_id),
            self._open_keys().public_key,
            recording_id=recording_id,
            head=head,
            on_read=lambda count: check(),
        )
        with self._lock:
            self._provers[recording_id, head] = prover
            while len(self._provers) > MAX_PROVERS:
                self._provers.popitem(last=False)
        return prover


def report_fields(report: VerificationReport) -> dict[str, object]:
    """Give a report for JSON, what follows from its fields included."""
    fields: dict[str, object] = msgspec.to_builtins(report)
    return {**fields, "is_empty": report.is_empty, "exit_code": report.exit_code}
