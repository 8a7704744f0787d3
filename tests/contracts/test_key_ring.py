"""What every key ring promises: its own keys open, for one attempt each; rotation loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import OTHER_RECORDING, RECORDING, write_recording
from tests.fakes.transit_server import TOKEN, served_transit
from vault.adapters.secret_files import ScryptCost
from vault.core.ids import KekId
from vault.core.key_record import decode_key_record
from vault.core.layout import key_record_name
from vault.core.note import verify_signature
from vault.core.sealing import AttemptScope, WrappedKey
from vault.errors import WrongKeyError
from vault.opening_keys import KeySettings, open_key_ring
from vault.ports import KekRing
from vault.reading import RecordingReader
from vault.verification import check_recording

SCOPE = AttemptScope(recording_id=RECORDING, attempt=1)
DATA_KEY = bytes(range(32))
NOW_S = 2_000_000_000


@pytest.fixture(params=["files", "passphrase", "transit"])
def settings(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KeySettings]:
    key_dir = tmp_path / "keys"
    match request.param:
        case "files":
            yield KeySettings(key_dir=key_dir)
        case "passphrase":
            monkeypatch.setenv("THE_PASSPHRASE", "correct horse battery staple")
            yield KeySettings(key_dir=key_dir, passphrase_env="THE_PASSPHRASE", cost=ScryptCost(n=2**10))
        case _:
            monkeypatch.setenv("VAULT_TOKEN", TOKEN)
            with served_transit() as transit:
                yield KeySettings(key_dir=key_dir, kms=transit.url, patience_s=0)


@pytest.fixture
def ring(settings: KeySettings) -> KekRing:
    return open_key_ring(settings, create=True)


def test_what_was_wrapped_is_unwrapped_also_by_who_opens_the_ring_later(
    ring: KekRing, settings: KeySettings
) -> None:
    wrapped = ring.wrap(DATA_KEY, SCOPE)
    assert wrapped.kek_id == ring.kek_id
    later = open_key_ring(settings)
    assert later.unwrap(wrapped, SCOPE) == DATA_KEY
    assert (later.kek_id, later.public_key) == (ring.kek_id, ring.public_key)


def test_the_same_key_is_never_wrapped_to_the_same_bytes(ring: KekRing) -> None:
    assert ring.wrap(DATA_KEY, SCOPE).data != ring.wrap(DATA_KEY, SCOPE).data


@pytest.mark.parametrize(
    "other",
    [
        AttemptScope(recording_id=RECORDING, attempt=2),
        AttemptScope(recording_id=OTHER_RECORDING, attempt=1),
        AttemptScope(recording_id=RECORDING, attempt=1, tenant=b"t" * 16),
    ],
    ids=["attempt", "recording", "tenant"],
)
def test_it_opens_for_its_attempt_only(ring: KekRing, other: AttemptScope) -> None:
    wrapped = ring.wrap(DATA_KEY, SCOPE)
    with pytest.raises(WrongKeyError):
        ring.unwrap(wrapped, other)


def test_altered_bytes_do_not_open(ring: KekRing) -> None:
    wrapped = ring.wrap(DATA_KEY, SCOPE)
    for place in range(0, len(wrapped.data), 7):
        altered = wrapped.data[:place] + bytes([wrapped.data[place] ^ 1]) + wrapped.data[place + 1 :]
        with pytest.raises(WrongKeyError):
            ring.unwrap(WrappedKey(kek_id=wrapped.kek_id, data=altered, wrap=wrapped.wrap), SCOPE)


def test_a_key_that_is_not_here_is_named(ring: KekRing) -> None:
    own = ring.wrap(DATA_KEY, SCOPE)
    strange = WrappedKey(kek_id=KekId("0" * 16), data=own.data)
    with pytest.raises(WrongKeyError, match="0000000000000000"):
        ring.unwrap(strange, SCOPE)
    assert ring.has_kek(own.kek_id)
    assert not ring.has_kek(KekId("0" * 16))
    assert not ring.has_kek(KekId("other-key:1"))


def test_signatures_fit_the_public_key(ring: KekRing) -> None:
    verify_signature(b"message", ring.sign(b"message"), public_key=ring.public_key)


def test_after_a_rotation_the_new_key_wraps_and_all_open(ring: KekRing, settings: KeySettings) -> None:
    before = ring.kek_id
    old = ring.wrap(DATA_KEY, SCOPE)
    after = ring.rotate(NOW_S)
    assert after != before
    assert ring.kek_id == open_key_ring(settings).kek_id == after
    assert {kek.kek_id: kek.is_active for kek in ring.keks()} == {before: False, after: True}
    new = ring.wrap(DATA_KEY, SCOPE)
    assert new.kek_id == after
    assert [ring.unwrap(wrapped, SCOPE) for wrapped in (old, new)] == [DATA_KEY] * 2
    assert ring.has_kek(before)


def test_the_active_key_is_not_destroyed(ring: KekRing) -> None:
    with pytest.raises(ValueError, match="wraps new recordings: rotate first"):
        ring.destroy(ring.kek_id)


def test_a_recording_is_written_verified_and_read(ring: KekRing) -> None:
    store = MemoryChunkStore()
    write_recording(store, ring)
    files = store.files(RECORDING)
    assert check_recording(files, ring.public_key).report.exit_code == 0
    reader = RecordingReader.open(files, ring, recording_id=RECORDING)
    assert reader.read_chunk(1, 2)[1] == b"fragments"
    name = key_record_name(1, 1)
    record = decode_key_record(
        files.read(name, max_bytes=4096),
        recording_id=RECORDING,
        attempt=1,
        revision=1,
        public_key=ring.public_key,
    )
    assert record.kek_id == ring.kek_id


def test_nothing_secret_is_shown(ring: KekRing, settings: KeySettings) -> None:
    shown = repr(ring) + repr(settings) + repr(ring.wrap(DATA_KEY, SCOPE))
    secrets = [TOKEN, "correct horse", DATA_KEY.hex()]
    secrets += [path.read_text().split()[-1] for path in settings.key_dir.glob("*.key")]
    assert not any(secret in shown for secret in secrets)
