"""A transit key: what the service answers becomes a clear sentence, and a token goes nowhere else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import RECORDING, complete, open_writer, put_init, put_second
from tests.fakes.transit_server import KEY, MADE_S, TOKEN, Transit, served_transit
from vault.adapters.key_files import KeyFiles
from vault.adapters.transit_keys import TransitKeys, TransitPlace, open_transit
from vault.core.ids import KekId
from vault.core.sealing import AttemptScope
from vault.errors import KeyFileError, KeyServiceError, WrongKeyError
from vault.reading import RecordingReader
from vault.verification import check_recording

SCOPE = AttemptScope(recording_id=RECORDING, attempt=1)
DATA_KEY = bytes(range(32))


@pytest.fixture
def transit() -> Iterator[Transit]:
    with served_transit() as served:
        yield served


@pytest.fixture
def ring(transit: Transit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TransitKeys:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    files = KeyFiles.create_or_open(tmp_path / "keys", needs_kek=False)
    return open_transit(transit.url, files, timeout_s=5)


def test_the_key_id_is_the_name_and_the_version(ring: TransitKeys) -> None:
    assert ring.wrap(DATA_KEY, SCOPE).kek_id == f"{KEY}:1"
    ring.rotate(0)
    assert ring.wrap(DATA_KEY, SCOPE).kek_id == f"{KEY}:2"
    assert [(kek.kek_id, kek.is_active, kek.since_s) for kek in ring.keks()] == [
        (f"{KEY}:1", False, MADE_S + 1),
        (f"{KEY}:2", True, MADE_S + 2),
    ]


def test_a_wrapped_key_says_its_own_version(ring: TransitKeys) -> None:
    wrapped = ring.wrap(DATA_KEY, SCOPE)
    forged = type(wrapped)(kek_id=KekId(f"{KEY}:2"), data=wrapped.data, wrap="vault-transit")
    with pytest.raises(WrongKeyError, match="no ciphertext of it"):
        ring.unwrap(forged, SCOPE)
    other = type(wrapped)(kek_id=KekId("other:1"), data=wrapped.data, wrap="vault-transit")
    with pytest.raises(WrongKeyError, match="it was wrapped by other:1, and the key in use is greenroom"):
        ring.unwrap(other, SCOPE)


def test_a_version_that_is_disallowed_opens_nothing(ring: TransitKeys, transit: Transit) -> None:
    wrapped = ring.wrap(DATA_KEY, SCOPE)
    ring.rotate(0)
    transit.min_decryption_version = 2
    with pytest.raises(WrongKeyError, match="too old"):
        ring.unwrap(wrapped, SCOPE)


def test_what_the_service_refuses_is_to_be_repaired(ring: TransitKeys, transit: Transit) -> None:
    transit.allowed_tokens = set()
    for call in (lambda: ring.wrap(DATA_KEY, SCOPE), ring.keks, lambda: ring.rotate(0)):
        with pytest.raises(KeyFileError, match="permission denied; see to VAULT_TOKEN") as raised:
            call()
        assert TOKEN not in str(raised.value)


def test_a_key_that_is_not_there_is_not_made(ring: TransitKeys, transit: Transit) -> None:
    del transit.keys[KEY]
    with pytest.raises(KeyFileError, match="encryption key not found"):
        ring.wrap(DATA_KEY, SCOPE)
    with pytest.raises(KeyFileError, match="does not exist; make it there first"):
        ring.keks()
    assert transit.keys == {}


@pytest.mark.parametrize("status", [0, 429, 500, 502, 503])
def test_what_passes_may_be_tried_again(ring: TransitKeys, transit: Transit, status: int) -> None:
    transit.failing = [status]
    with pytest.raises(KeyServiceError, match="did not answer"):
        ring.wrap(DATA_KEY, SCOPE)
    assert ring.unwrap(ring.wrap(DATA_KEY, SCOPE), SCOPE) == DATA_KEY


def test_a_sealed_service_is_said_to_be(ring: TransitKeys, transit: Transit) -> None:
    transit.is_sealed = True
    with pytest.raises(KeyServiceError, match="did not answer: Vault is sealed"):
        ring.wrap(DATA_KEY, SCOPE)


def test_a_service_that_hangs_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/transit/{KEY}"
        files = KeyFiles.create_or_open(tmp_path / "keys", needs_kek=False)
        with pytest.raises(KeyServiceError, match="did not answer: ReadTimeout"):
            open_transit(url, files, timeout_s=0.2).wrap(DATA_KEY, SCOPE)


def test_a_recording_in_progress_goes_on_while_the_service_is_down(
    ring: TransitKeys, transit: Transit
) -> None:
    store = MemoryChunkStore()
    writer = open_writer(store, ring)
    put_init(writer, 1)
    transit.is_sealed = True
    put_second(writer, 1, 0)
    writer.checkpoint()
    close = writer.close()
    assert check_recording(store.files(RECORDING), ring.public_key).report.problems == ()
    with pytest.raises(KeyServiceError, match="sealed"):
        complete(store, ring, close)  # which reads what the tracks are, and is tried again by the recorder
    with pytest.raises(KeyServiceError, match="sealed"):
        open_writer(store, ring, attempt=2)
    assert not any(name.startswith("2/") for name in store.recordings[RECORDING])
    with pytest.raises(KeyServiceError, match="sealed"):
        RecordingReader.open(store.files(RECORDING), ring, recording_id=RECORDING)
    transit.is_sealed = False
    complete(store, ring, close)
    reader = RecordingReader.open(store.files(RECORDING), ring, recording_id=RECORDING)
    assert reader.read_chunk(1, 1)[1] == b"fragments"


def test_recordings_of_key_files_open_after_moving_to_a_service(
    transit: Transit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    files = KeyFiles.create_or_open(tmp_path / "keys")
    old = files.wrap(DATA_KEY, SCOPE)
    ring = open_transit(transit.url, files, timeout_s=5)
    assert ring.unwrap(old, SCOPE) == DATA_KEY
    assert {kek.kek_id: kek.is_active for kek in ring.keks()} == {old.kek_id: False, f"{KEY}:1": True}
    assert ring.has_kek(old.kek_id)


def test_a_version_is_destroyed_by_the_service_itself(ring: TransitKeys) -> None:
    ring.rotate(0)
    with pytest.raises(KeyFileError, match="min_available_version=2"):
        ring.destroy(KekId(f"{KEY}:1"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://vault.example/greenroom", "is not https://HOST"),
        ("vault.example:8200/transit/greenroom", "is not https://HOST"),
        ("http://vault.example:8200/transit/greenroom", "in clear: use https://"),
        ("https://user:secret@vault.example/transit/greenroom", "must not hold a password"),
        ("https://vault.example/transit/green room", "is not 1..128 letters"),
    ],
)
def test_a_malformed_place_is_refused(url: str, message: str) -> None:
    with pytest.raises(KeyFileError, match=message) as raised:
        TransitPlace.parse(url)
    assert "secret" not in str(raised.value)


def test_a_place_is_read() -> None:
    assert TransitPlace.parse("https://vault.example:8200/team/transit/greenroom") == TransitPlace(
        "https://vault.example:8200", "team/transit", "greenroom"
    )


def test_without_a_token_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAULT_TOKEN", raising=False)
    files = KeyFiles.create_or_open(tmp_path / "keys", needs_kek=False)
    with pytest.raises(KeyFileError, match="VAULT_TOKEN is not"):
        open_transit("http://127.0.0.1:8200/transit/greenroom", files, timeout_s=1)
