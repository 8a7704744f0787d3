"""Records of the catalog as JSON: whole, and refused when newer or damaged."""

from __future__ import annotations

import pytest

from orchestrator.adapters.catalog_json import decode_custody, decode_record, encode
from orchestrator.core.catalog import CatalogRecord, Custody, Deletion, Hold
from orchestrator.core.errors import StoreError
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.core.recording import Checkpoint, RecordingStatus
from tests.fakes.clock import START

RECORD = CatalogRecord(
    recording_id=RecordingId("r1"),
    session_id=SessionId("s1"),
    status=RecordingStatus.PAUSED,
    checkpoints=(Checkpoint(attempt=2, size=3, root="00", is_closed=True),),
)


def test_what_was_encoded_is_decoded() -> None:
    assert decode_record(encode(RECORD)) == RECORD
    custody = Custody(
        hold=Hold(by="anna", reason="case", since=START),
        deletion=Deletion(cause="quota", by="quota", asked_at=START, done_at=START),
        version=4,
    )
    assert decode_custody(encode(custody)) == custody


def test_fields_that_came_later_have_defaults() -> None:
    assert decode_custody(b'{"schema_version":1,"record":{}}') == Custody()


@pytest.mark.parametrize("data", [b"{}", b"\xff", b'{"schema_version":1,"record":[]}'])
def test_a_damaged_record_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        decode_record(data)


def test_a_newer_record_is_refused() -> None:
    with pytest.raises(StoreError, match="schema version 2 and this version of Greenroom reads up to 1"):
        decode_custody(b'{"schema_version":2,"record":{}}')
