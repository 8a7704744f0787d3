"""After a shredding the bytes of the keys, wrapped and plain, are nowhere in the data folder.

The whole system with its database is looked at in tests/acceptance/test_record_control.py.
"""

from __future__ import annotations

import base64
from pathlib import Path

from tests.fakes.key_traces import find_traces, keys_of
from tests.fakes.recordings import OTHER_RECORDING, RECORDING, open_writer, write_recording, write_seconds
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.layout import key_record_name
from vault.rotation import rewrap_recording
from vault.shredding import shred_recording
from vault.verification import verify_recording


def test_no_key_of_a_shredded_recording_is_left_and_those_of_others_are(tmp_path: Path) -> None:
    ring = KeyFiles.create_or_open(tmp_path / "keys")
    store, spool = DirChunkStore(tmp_path / "recordings"), DirChunkStore(tmp_path / "spool")
    for recording_id in (RECORDING, OTHER_RECORDING):
        write_recording(store, ring, recording_id=recording_id)
    keys = keys_of(store, ring, RECORDING)
    folder = tmp_path / "recordings" / RECORDING
    # What deaths leave: a revision that was not removed, puts that were cut short, a copy in a spool.
    record = (folder / key_record_name(1, 1)).read_bytes()
    ring.rotate(2_000_000_000)
    rewrap_recording(store, ring, recording_id=RECORDING)
    (folder / key_record_name(1, 1)).write_bytes(record)
    (folder / "1" / "key-record-0000000002.00ff.tmp").hardlink_to(folder / key_record_name(1, 2))
    (folder / "1" / "key-record-0000000003.00ff.tmp").write_bytes(record[: len(record) - 1])
    spool.put(RECORDING, key_record_name(1, 1), record)
    late = open_writer(store, ring, attempt=2)
    write_seconds(late, seconds=1)
    keys += keys_of(store, ring, RECORDING)
    kept = keys_of(store, ring, OTHER_RECORDING)
    assert len(find_traces(tmp_path, keys)) == 6, "the search finds what is there"

    shred_recording(store, ring, recording_id=RECORDING, by="ann", reason="asked", at_us=1, copies=[spool])
    assert find_traces(tmp_path, keys) == []
    assert find_traces(tmp_path, kept) == [f"recordings/{OTHER_RECORDING}/{key_record_name(1, 1)}"]
    assert verify_recording(folder, ring.public_key).status == "shredded"


def test_the_control_that_only_takes_the_newest_name_away_leaves_keys(tmp_path: Path) -> None:
    ring, store = KeyFiles.create_or_open(tmp_path / "keys"), DirChunkStore(tmp_path / "recordings")
    write_recording(store, ring)
    record = tmp_path / "recordings" / RECORDING / key_record_name(1, 1)
    (tmp_path / "snapshot").hardlink_to(record)  # the bytes under another name, as a disk keeps them
    keys = keys_of(store, ring, RECORDING)
    record.unlink()
    assert find_traces(tmp_path, keys) == ["snapshot"]


def test_the_search_knows_every_spelling(tmp_path: Path) -> None:
    key = bytes(range(100, 160))
    texts = [key.hex().encode(), key.hex().upper().encode(), b"junk" + key + b"junk"]
    texts += [base64.b64encode(b"x" * shift + key + b"y" * tail) for shift in range(4) for tail in range(4)]
    texts += [base64.urlsafe_b64encode(key).rstrip(b"=")]
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_bytes(b"before " + text + b" after")
    (tmp_path / "other").write_bytes(bytes(range(101, 161)))
    assert len(find_traces(tmp_path, [key])) == len(texts)
