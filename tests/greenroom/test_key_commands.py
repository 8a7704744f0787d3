"""Keys, shredding and hold by the command line, in this process, on a data folder."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from greenroom.__main__ import main
from tests.fakes.recordings import OTHER_RECORDING, RECORDING, write_recording
from tests.greenroom.test_commands import assert_refused
from vault.adapters.dir_store import DirChunkStore
from vault.adapters.key_files import KeyFiles
from vault.core.layout import key_record_name

DAY_S = 86400


class Line:
    """The command line without a process of its own, which takes a second each time to start."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it as `python -m greenroom` would."""
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = self.capsys.readouterr()
        code = ended.value.code
        return subprocess.CompletedProcess(arguments, code if isinstance(code, int) else 0, out, err)

    def run(self, *arguments: str) -> str:
        """Run what is to succeed, and give what it prints."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)


@pytest.fixture
def greenroom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Line:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONFIG_PATH", raising=False)
    return Line(capsys)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two recordings, whose key is 100 days old."""
    folder = tmp_path / "data"
    ring = KeyFiles.create_or_open(folder / "keys", now_s=int(time.time()) - 100 * DAY_S)
    for recording_id in (RECORDING, OTHER_RECORDING):
        write_recording(DirChunkStore(folder / "recordings"), ring, recording_id=recording_id)
    return folder


def test_a_key_is_replaced_from_the_list_to_its_destruction(data: Path, greenroom: Line) -> None:
    old = KeyFiles.open(data / "keys").kek_id
    listed = greenroom("keys", "list")
    assert listed.stdout.split()[:3] == [old, "active", "100"]
    assert "2 key records" in listed.stdout
    assert "longer than the 90 of [encryption] rotation_days" in listed.stderr

    assert "wraps new recordings" in greenroom.run("keys", "rotate")
    new = KeyFiles.open(data / "keys").kek_id
    assert new != old
    assert_refused(greenroom("keys", "destroy", old), "2 key records need", old)
    assert greenroom.run("keys", "rewrap", RECORDING).startswith("1 key records of 1 recordings")
    assert greenroom.run("keys", "rewrap", "--all").startswith("1 key records of 2 recordings")

    answer = json.loads(greenroom.run("keys", "list", "--json"))
    assert {row["kek_id"]: (row["state"], row["key_records"]) for row in answer["keys"]} == {
        old: ("retired", 0),
        new: ("active", 2),
    }
    assert (answer["warning"], answer["missing"], answer["unknown"]) == ("", [], {})
    assert_refused(greenroom("keys", "destroy", old), "less than 60 minutes ago")
    (data / "keys" / "active-kek").write_text(f"greenroom-active-kek-1 {new} {int(time.time()) - 3601}\n")
    assert greenroom.run("keys", "destroy", old) == f"{old} is destroyed\n"
    assert not (data / "keys" / f"kek-{old}.key").exists()
    for recording_id in (RECORDING, OTHER_RECORDING):
        assert "complete and good" in greenroom.run("verify", f"data/recordings/{recording_id}")


def test_rewrap_names_what_it_leaves_and_needs_to_be_told_what(data: Path, greenroom: Line) -> None:
    assert_refused(greenroom("keys", "rewrap"), "give --all")
    assert_refused(greenroom("keys", "rewrap", "nonsense"), "not a lowercase UUID")
    greenroom.run("keys", "rotate")
    record = data / "recordings" / RECORDING / key_record_name(1, 1)
    record.write_bytes(record.read_bytes()[:-1])
    done = greenroom("keys", "rewrap", "--all")
    assert done.returncode == 1
    assert f"recording {RECORDING} is left as it is: {key_record_name(1, 1)}" in done.stderr
    assert done.stdout.startswith("1 key records of 2 recordings")


def test_a_held_recording_is_shredded_after_its_release(data: Path, greenroom: Line) -> None:
    place = f"data/recordings/{RECORDING}"
    why = ("--by", "ann", "--reason", "case 7")
    assert "is under legal hold by 'ann' (case 7)" in greenroom.run("hold", place, *why)
    assert "Under legal hold since" in greenroom.run("verify", place)
    assert_refused(greenroom("shred", place, *why), "release it first")
    greenroom.run("release", place, *why)
    assert "is shredded" in greenroom.run("shred", place, *why)
    assert "is shredded and its proof is good" in greenroom.run("verify", place)
    assert_refused(greenroom("export", place, "--out", "x.mp4"), "was shredded by 'ann'")
    assert not list((data / "recordings" / RECORDING).glob("*/key-record*"))


def test_what_is_no_recording_is_not_shredded(data: Path, greenroom: Line) -> None:
    why = ("--by", "ann", "--reason", "case 7")
    assert_refused(greenroom("shred", "data/recordings/nothing", *why), "nothing")
    os.rename(data / "recordings" / RECORDING, data / "recordings" / "renamed")
    assert_refused(greenroom("shred", "data/recordings/renamed", *why), "rename the folder")
    assert (data / "recordings" / "renamed" / key_record_name(1, 1)).exists()
