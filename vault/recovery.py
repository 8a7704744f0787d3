"""Recovery: what a recorder that is gone left behind, from the listing alone.

The longest run of leaves from 0 on without a hole that verifies. Nothing acknowledged can be missing from
it, because leaves are acknowledged in order and only after they were put.

Source: docs/RECORDING.md §11.
"""

from __future__ import annotations

from typing import Final

from vault.attempts import AttemptChecker, VerifiedAttempt
from vault.core.ids import RecordingId, VerifyKey
from vault.core.layout import CheckpointFile, ChunkFile, parse_name
from vault.core.manifest import AttemptClose
from vault.core.merkle import root_hash
from vault.errors import FileMissingError, IntegrityError
from vault.listing import AttemptListing, read_listing
from vault.ports import RecordingFiles

_LOOKS: Final = 5  # a checkpoint is written at most every half second; a look takes far less


def recover_attempt(
    files: RecordingFiles, public_key: VerifyKey, *, recording_id: RecordingId, attempt: int
) -> AttemptClose:
    """At which tree head an attempt can be closed by a successor.

    Args:
        files: the recording, as it is stored now.
        public_key: the key that must have signed everything.
        recording_id: the recording.
        attempt: the attempt to be closed.

    Returns:
        The head over the longest verified run. It counts once the orchestrator has committed it.

    Raises:
        IntegrityError: the key record, a checkpoint or an acknowledged leaf is bad or missing: the message
            names the file. A bad leaf that was never acknowledged only ends the run.
        StoreError: the store refused or did not answer; worth trying again.
    """
    verified = check_attempt(files, public_key, recording_id=recording_id, attempt=attempt)
    root = root_hash(chunk.leaf_hash for chunk in verified.chunks).hex()
    return AttemptClose(attempt=attempt, size=len(verified.chunks), root=root, closed="recovered")


def check_attempt(
    files: RecordingFiles, public_key: VerifyKey, *, recording_id: RecordingId, attempt: int
) -> VerifiedAttempt:
    """Verify an attempt as `recover_attempt` does, and give all that is good of it.

    Its recorder may be alive all the same, and a newer checkpoint replaces an older one: when a listed
    checkpoint is gone, the attempt is listed and looked at again.
    """
    for _ in range(_LOOKS - 1):
        verified, problems = _look(files, public_key, recording_id=recording_id, attempt=attempt)
        is_moving = any(
            isinstance(parse_name(name), CheckpointFile) and isinstance(error, FileMissingError)
            for name, error in problems
        )
        if not is_moving:
            break
    else:
        verified, problems = _look(files, public_key, recording_id=recording_id, attempt=attempt)
    for name, error in problems:
        place = parse_name(name)
        if not isinstance(place, ChunkFile) or place.leaf < verified.acknowledged_size:
            raise IntegrityError(f"{name}: {error}") from error
    return verified


def _look(
    files: RecordingFiles, public_key: VerifyKey, *, recording_id: RecordingId, attempt: int
) -> tuple[VerifiedAttempt, list[tuple[str, Exception]]]:
    problems: list[tuple[str, Exception]] = []
    verified = AttemptChecker(
        files=files,
        listing=read_listing(files).attempts.get(attempt, AttemptListing(attempt)),
        recording_id=recording_id,
        public_key=public_key,
        blame=lambda name, error: problems.append((name, error)),
    ).check()
    return verified, problems
