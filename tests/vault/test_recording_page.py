"""docs/RECORDING.md is enough for a second verifier, which agrees with ours on every alteration tried."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.vault.page_verifier import Verifier
from vault.adapters.dir_store import DirRecording
from vault.adapters.key_files import read_public_key
from vault.core.ids import RecordingId
from vault.verification import check_recording

GOLDEN = Path(__file__).parents[1] / "vectors" / "recording-v1"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text())
KEY = read_public_key(GOLDEN / "keys" / "signing.pub")


def both(folder: Path, recording: str) -> tuple[tuple[int, set[str]], tuple[int, set[str]]]:
    report = check_recording(DirRecording(folder), KEY, recording_id=RecordingId(recording)).report
    ours = (report.exit_code, {problem.file for problem in report.problems})
    return ours, Verifier(folder, KEY, recording).run()


@pytest.mark.parametrize("name", EXPECTED)
def test_both_find_the_golden_recordings_good(name: str) -> None:
    ours, theirs = both(GOLDEN / name, EXPECTED[name]["recording"])
    assert ours == theirs == (EXPECTED[name]["exit_code"], set())


@pytest.mark.parametrize("name", EXPECTED)
def test_both_name_the_same_bad_files(name: str, tmp_path: Path) -> None:
    folder, chance = tmp_path / name, random.Random(name)
    shutil.copytree(GOLDEN / name, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp")
    for turn in range(60):
        path = chance.choice(files)
        good = path.read_bytes()
        position = chance.choice([chance.randrange(min(len(good), 104)), chance.randrange(len(good))])
        altered = bytearray(good)
        altered[position] ^= 1 << chance.randrange(8)
        change = ("flip", "cut", "drop", "swap")[turn % 4]
        other = chance.choice([file for file in files if file != path])
        kept = other.read_bytes()
        if change == "flip":
            path.write_bytes(altered)
        elif change == "cut":
            path.write_bytes(good[:position])
        elif change == "drop":
            path.unlink()
        else:
            path.write_bytes(kept)
        ours, theirs = both(folder, EXPECTED[name]["recording"])
        assert ours == theirs, (change, path, position)
        assert ours[0] == 1 or change == "drop"
        path.write_bytes(good)
