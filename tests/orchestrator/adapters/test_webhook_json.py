"""Records of outgoing webhooks as JSON: whole, and refused when newer or damaged, without telling secrets."""

from __future__ import annotations

import pytest

from orchestrator.adapters.webhook_json import decode_letter, decode_progress, decode_target, encode
from orchestrator.core.errors import StoreError
from orchestrator.core.webhook_targets import Held, Progress, TargetId, WebhookTarget
from tests.fakes.clock import START
from tests.fakes.receivers import SECRET

TARGET = WebhookTarget(
    id=TargetId("wh_1"), url="https://x.example", events=("error",), secret=SECRET, created_at=START
)


def test_what_was_encoded_is_decoded() -> None:
    assert decode_target(encode(TARGET)) == TARGET
    progress = Progress(generation=1, cursor=2, held={"": Held(seq=1, gap="1:0", due_at=START)})
    assert decode_progress(encode(progress)) == progress


def test_fields_that_came_later_have_defaults() -> None:
    old = b'{"schema_version":1,"record":{"generation":1,"cursor":2}}'
    assert decode_progress(old) == Progress(generation=1, cursor=2)


def test_a_newer_record_is_refused() -> None:
    with pytest.raises(StoreError, match="schema version 2 and this version of Greenroom reads up to 1"):
        decode_letter(b'{"schema_version":2,"record":{}}')


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'{"schema_version":1,"record":{"id":3}}'])
def test_a_damaged_record_is_refused(data: bytes) -> None:
    with pytest.raises(StoreError, match="a stored webhook cannot be read"):
        decode_target(data)


def test_what_is_said_of_a_damaged_record_holds_no_secret() -> None:
    damaged = encode(TARGET).replace(b'"created_at"', b'"made_at"')
    with pytest.raises(StoreError) as refused:
        decode_target(damaged)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
