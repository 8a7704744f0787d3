"""The stored side of recordings: opens attempts, closes those of others, completes and verifies. Blocking.

Source: recording.md §3 (fencing, completer).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from recorder.ports import Spool
from recorder.service.left_spool import put_left
from recorder.service.outbox import Outbox
from recorder.service.reserve import Reserve
from vault.completion import RecordingFacts, complete_recording, settle_recording
from vault.core.ids import parse_recording_id
from vault.core.manifest import AttemptClose, CaptureMode, Gap
from vault.errors import StoreError, VaultError
from vault.listing import read_listing
from vault.ports import ChunkStore, KeyRing
from vault.recovery import recover_attempt
from vault.verification import check_recording
from vault.writing import AttemptWriter

_log = logging.getLogger("greenroom.recorder")


@dataclass(frozen=True, slots=True)
class Archive:
    """All recordings of one chunk store.

    Attributes:
        location: where the store is, as the orchestrator is told.
        spool: where sealed chunks wait while the store does not take them; None: in memory only.
    """

    store: ChunkStore
    key_ring: KeyRing
    location: str
    spool: Spool | None = None

    def is_complete(self, recording_id: str) -> bool:
        """Whether the recording has its manifest; nothing may be added to it then."""
        return read_listing(self.store.files(parse_recording_id(recording_id))).has_manifest

    def prepare_attempt(self, recording_id: str, *, attempt: int, wall_start_us: int) -> AttemptWriter:
        """Make an attempt, to be begun; see `AttemptWriter.prepare`."""
        return AttemptWriter.prepare(
            self.store,
            self.key_ring,
            recording_id=parse_recording_id(recording_id),
            attempt=attempt,
            wall_start_us=wall_start_us,
        )

    def hold_reserve(self) -> Reserve:
        """Keep space aside for closing an attempt; see `Reserve.hold`."""
        return Reserve.hold(self.store)

    def outbox(self, writer: AttemptWriter) -> Outbox:
        """Make the way from sealing to the store for an attempt."""
        return Outbox(writer.recording_id, writer.attempt, self.spool)

    def close_earlier(
        self, recording_id: str, *, before: int, committed: Sequence[AttemptClose] = ()
    ) -> list[AttemptClose]:
        """Close the attempts before this one where their longest verified run ends.

        Those that were closed before stay as they are ``committed``, whatever was stored since.
        What an earlier recorder on this machine left in the spool is put first, so that it counts.

        Raises:
            IntegrityError: one of them is damaged; the message names the file.
            StoreError: worth trying again.
        """
        if self.spool is not None:
            put_left(
                self.spool, self.store, self.key_ring.public_key, recording_id=recording_id, before=before
            )
        files = self.store.files(parse_recording_id(recording_id))
        known = {close.attempt: close for close in committed}
        return [
            known.get(attempt)
            or recover_attempt(
                files,
                self.key_ring.public_key,
                recording_id=parse_recording_id(recording_id),
                attempt=attempt,
            )
            for attempt in read_listing(files).attempts
            if attempt < before
        ]

    def complete(
        self,
        recording_id: str,
        *,
        session_id: str,
        closes: Sequence[AttemptClose],
        cut_marks_us: Sequence[int],
        capture: CaptureMode,
        gaps: Sequence[Gap] = (),
    ) -> None:
        """Write the manifest; when it is there already, from before a crash, do what comes after it.

        Raises:
            VaultError: what is stored does not lead to the closed heads, or the store refused.
        """
        if self.is_complete(recording_id):
            self._settle(recording_id)
        else:
            complete_recording(
                self.store,
                self.key_ring,
                recording_id=parse_recording_id(recording_id),
                closes=closes,
                facts=RecordingFacts(
                    session=session_id, capture=capture, cut_marks_us=cut_marks_us, gaps=gaps
                ),
            )

    def remove_late(self, recording_id: str) -> None:
        """Remove what an attempt stored after its recording was completed by another; a failure is logged.

        Before that nothing is removed: the completer will do it.
        """
        try:
            if self.is_complete(recording_id):
                self._settle(recording_id)
        except VaultError as error:
            _log.warning("what came after the end of recording %s stays: %s", recording_id, error)

    def _settle(self, recording_id: str) -> None:
        settle_recording(self.store, self.key_ring, recording_id=parse_recording_id(recording_id))

    def verify(self, recording_id: str) -> str:
        """Verify everything that is stored.

        Returns:
            Empty when the recording is complete and good, else one sentence.

        Raises:
            StoreError: the store did not give all of it; worth trying again.
        """
        checked = check_recording(
            self.store.files(parse_recording_id(recording_id)),
            self.key_ring.public_key,
            recording_id=parse_recording_id(recording_id),
        )
        report = checked.report
        if report.status == "complete":
            return ""
        if checked.unread:
            raise StoreError(f"{checked.unread} files could not be read to be verified")
        bad = report.first_bad
        return f"{bad.file}: {bad.reason}" if bad is not None else "the recording has no manifest"
