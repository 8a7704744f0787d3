"""The second verifier needs nothing of ours, and agrees with ours on what is good, bad and misuse."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import examples.verify_recording
from examples.verify_recording import main
from tests.examples.both_verifiers import ALL, RING, Stored, plain, unfinished, verdict
from tests.fakes.chunk_stores import MemoryChunkStore
from tests.fakes.recordings import OTHER_RECORDING, RECORDING, make_key_ring, write_recording
from tests.vault.test_verification_custody import STATES
from vault.core.checkpoint import TreeHead
from vault.core.manifest import decode_manifest
from vault.core.note import sign_note
from vault.core.public_key import decode_public_key, encode_public_key
from vault.errors import NotARecordingError
from vault.verification import verify_recording

GOLDEN = Path(__file__).parents[1] / "vectors" / "recording-v1"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text())
GOLDEN_KEY = GOLDEN / "keys" / "signing.pub"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "signing.pub"
    path.write_text(f"{encode_public_key(RING.public_key)}\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return store(plain(), tmp_path / RECORDING)


def store(stored: Stored, folder: Path) -> Path:
    for name, data in stored.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def first_bad(folder: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Let both verify a folder; give the exit code and the first bad file, once they agree."""
    report = verify_recording(folder, decode_public_key(key.read_text().strip()))
    ours = (report.exit_code, report.problems[0].file if report.problems else "")
    code = main([str(folder), str(key)])
    line = capsys.readouterr().out.splitlines()[0]
    assert ours == (code, line.split("'")[1] if line.startswith("bad: ") else "")
    return ours


def test_it_is_200_lines_that_import_the_standard_library_and_ed25519_only() -> None:
    text = Path(examples.verify_recording.__file__).read_text(encoding="utf-8")
    assert text.count("\n") <= 200
    tree = ast.parse(text)
    modules = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {module.split(".")[0] for module in modules} & {
        "vault",
        "recorder",
        "sdk",
        "orchestrator",
        "greenroom",
        "tests",
        "examples",
    } == set()
    assert {module for module in modules if module.startswith("cryptography")} == {
        "cryptography.exceptions",
        "cryptography.hazmat.primitives.asymmetric.ed25519",
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_the_golden_recordings(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / EXPECTED[name]["recording"]
    shutil.copytree(GOLDEN / name, folder)
    assert first_bad(folder, GOLDEN_KEY, capsys) == (EXPECTED[name]["exit_code"], "")
    assert first_bad(GOLDEN / name, GOLDEN_KEY, capsys) == (EXPECTED[name]["exit_code"], "")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp")
    for path in files:
        good = path.read_bytes()
        for position in (0, 24, 100, len(good) // 2, len(good) - 1):
            path.write_bytes(good[:position] + bytes([good[position] ^ 4]) + good[position + 1 :])
            assert first_bad(folder, GOLDEN_KEY, capsys) == (1, str(path.relative_to(folder)))
        path.write_bytes(good)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_every_kind_of_recording(
    make: Callable[[], Stored], tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = make()
    code = 0 if "manifest" in stored else 3
    assert verdict(stored) == (code, "")
    assert first_bad(store(stored, tmp_path / RECORDING), key, capsys) == (code, "")
    assert first_bad(store(stored, tmp_path / "any name"), key, capsys) == (code, "")


def test_what_it_prints(folder: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "1" / "chunk-0000000001.0011223344556677.tmp").write_bytes(b"half")
    assert main([str(folder), str(key)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ignored: '1/chunk-0000000001.0011223344556677.tmp': temporary, late or not acknowledged",
        "complete",
    ]
    (folder / "manifest").unlink()
    assert main([str(folder), str(key)]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "incomplete at 10"
    (folder / "1" / "chunk-0000000001").unlink()
    assert main([str(folder), str(key)]) == 1
    bad, *_, last = capsys.readouterr().out.splitlines()
    assert (bad.partition(": [")[0], last) == ("bad: '1/chunk-0000000001'", "bad")


def test_unknown_names_links_and_folders(folder: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "7").mkdir()
    assert first_bad(folder, key, capsys) == (0, "")
    for name in ("notes.txt", "1/chunk-1", "01/chunk-0000000000", "1/key-record-0000000000", "2/x/manifest"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
        assert first_bad(folder, key, capsys) == (1, name)
        (folder / name).unlink()
    for name in ("link", "a.tmp", "7/chunk-0000000000"):
        (folder / name).symlink_to(folder / "manifest")
        assert first_bad(folder, key, capsys) == (1, name)
        (folder / name).unlink()
    (folder / "manifest").rename(folder.parent / "elsewhere")
    (folder / "manifest").symlink_to(folder.parent / "elsewhere")
    assert first_bad(folder, key, capsys) == (1, "manifest")


def test_another_recording_in_the_folder(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = MemoryChunkStore()
    write_recording(other, RING, recording_id=OTHER_RECORDING)
    stored = other.recordings[OTHER_RECORDING]
    assert first_bad(store(stored, tmp_path / RECORDING), key, capsys) == (1, "manifest")
    assert first_bad(store(stored, tmp_path / "any name"), key, capsys) == (0, "")
    for name in stored:
        mixed = store(stored | {name: plain()[name]}, tmp_path / "any name")
        assert first_bad(mixed, key, capsys) == (1, name)


def test_with_another_key_every_file_is_bad(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pub"
    other.write_text(f"{encode_public_key(make_key_ring(2).public_key)}\n")
    assert first_bad(folder, other, capsys) == (1, "manifest")
    assert main([str(folder), str(other)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "bad"
    bad = sum(line.startswith("bad: ") for line in lines)
    assert bad == sum(path.is_file() for path in folder.rglob("*"))


def test_known_heads(folder: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    manifest = decode_manifest(stored["manifest"], recording_id=RECORDING, public_key=RING.public_key)
    size, root = manifest.attempts[0].size, manifest.attempts[0].root
    for head, code in (
        (f"1:{size}:{root}", 0),
        (f"1:{size}:{'0' * 64}", 1),
        (f"1:{size + 1}:{root}", 1),
        (f"2:1:{root}", 1),
        (f"1:{size}", 2),
        (f"0:{size}:{root}", 2),
    ):
        assert main([str(folder), str(key), "--head", head]) == code, head
        capsys.readouterr()
    for known in (
        TreeHead(attempt=1, size=size, root=bytes(32)),
        TreeHead(attempt=1, size=3, root=bytes(32)),
        TreeHead(attempt=1, size=size + 3, root=bytes(32)),
        TreeHead(attempt=2, size=1, root=bytes(32)),
    ):
        code, name = verdict(stored, heads=(known,))
        assert code == 1
        assert name.startswith(f"{known.attempt}/")


def test_misuse(folder: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    (nothing / "notes.txt").write_bytes(b"x")
    lines = [b"", b"greenroom-public-key-1 AAAA\n", key.read_bytes().strip(), key.read_bytes() * 2, b"\xff\n"]
    keys = [tmp_path / f"{number}.pub" for number in range(len(lines))]
    for path, line in zip(keys, lines, strict=True):
        path.write_bytes(line)
    for arguments in (
        (nothing, key),
        (tmp_path / "missing", key),
        (key, key),
        (folder, tmp_path / "missing"),
        *((folder, path) for path in keys),
    ):
        assert main([str(argument) for argument in arguments]) == 2, arguments
        (said,) = capsys.readouterr().out.splitlines()
        assert said.startswith("misuse: ")


def test_misuse_for_both(tmp_path: Path, key: Path) -> None:
    places = [tmp_path / "any name", tmp_path / RECORDING]
    places[1].mkdir()
    store({"1/chunk-0000000000": b"GRVC, cut short", "manifest": b""}, places[0])  # says no id
    store({"2/a.tmp": b"x", "notes.txt": b"x"}, places[1])
    for place in places:
        assert main([str(place), str(key)]) == 2
        with pytest.raises(NotARecordingError):
            verify_recording(place, RING.public_key)


def test_a_note_larger_than_it_may_be(folder: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, text, *_ = (folder / "manifest").read_text().split("\n")
    for marks, result in ((1_000, (0, "")), (2_100_000, (1, "manifest"))):
        fields = json.loads(text) | {"cut_marks_us": [0] * marks}
        text_with_marks = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        note = sign_note(f"{name}\n{text_with_marks}\n", public_key=RING.public_key, sign=RING.sign)
        (folder / "manifest").write_bytes(note)
        assert first_bad(folder, key, capsys) == result


def test_bad_chunks_alone_are_bad_and_no_crash() -> None:
    stored = plain()
    for name in ("1/chunk-0000000000", "1/chunk-0000000009"):
        alone = {name: stored[name][:-1] + b"x"}
        assert verdict(alone) == (1, "1/key-record-0000000001")


def test_numbers_of_a_manifest_that_no_file_can_have_are_bad() -> None:
    for field, value in (("size", -1), ("size", 1 << 64), ("attempt", 1 << 32), ("attempt", 0)):
        stored = plain()
        _, text, *_ = stored["manifest"].decode().split("\n")
        fields = json.loads(text)
        fields["attempts"][0][field] = value
        text = json.dumps(fields, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        note = f"greenroom/recording/{RECORDING}/manifest\n{text}\n"
        stored["manifest"] = sign_note(note, public_key=RING.public_key, sign=RING.sign)
        assert verdict(stored) == (1, "manifest")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("make", [plain, unfinished])
def test_a_recording_with_custody_records_is_misuse(
    state: str, make: Callable[[], Stored], tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store(STATES[state][0](make()), tmp_path / RECORDING)
    assert main([str(folder), str(key)]) == 2
    assert capsys.readouterr().out == "misuse: it has custody records (§5.3): ask `greenroom verify`\n"
