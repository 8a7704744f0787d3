"""Every file keeps to the house's shape: short, its purpose in the first line, mirrored by its tests."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("orchestrator", "sdk", "recorder", "vault", "engine", "greenroom", "examples")
CODE = (*PACKAGES, "bench", "scripts", "tests")
MOST_LINES = 400
MOST_ENGINE_LINES = 3_700  # docs/decisions/0019
# Files without a purpose line of their own: empty by design.
MAY_BE_FULL = {"greenroom/__init__.py": "gives Worker, Job and Client lazily"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc", "models"} | {
    "manager",
    "handler",
    "processor",
}

# Source files whose test is elsewhere, and where.
NO_MIRROR = {
    "greenroom/__main__.py": "tests/greenroom/test_commands.py runs it as a program",
    "greenroom/commands/*": "tests/greenroom/test_commands.py runs them as a program",
    "*/__main__.py": "started as a program by the acceptance tests",
    "*/wiring.py": "chooses adapters; the acceptance tests run what it makes",
    "*/ports.py": "protocols; their suites are in tests/contracts",
    "*/webhook_ports.py": "protocols likewise",
    "*/catalog_ports.py": "protocols likewise",
    "*/errors.py": "classes without behaviour",
    "orchestrator/core/ids.py": "names for strings",
}


def tracked() -> list[Path]:
    """Give every Python file that is or will be in the repository."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    return sorted(Path(line) for line in listed.splitlines() if (ROOT / line).is_file())


FILES = tracked()
SOURCES = [path for path in FILES if path.parts[0] in PACKAGES and path.name != "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_is_short_and_begins_with_its_purpose(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert text.count("\n") <= MOST_LINES, f"{path} has {text.count(chr(10))} lines, {MOST_LINES} are allowed"
    if path.name == "__init__.py" and str(path) not in MAY_BE_FULL:
        assert text == "", f"{path} stays empty"
    else:
        assert text.startswith('"""'), f"{path} begins without saying what it is for"
        assert len((ast.get_docstring(ast.parse(text)) or "").splitlines()[0]) > 15, f"{path} says too little"


def test_the_embedded_engine_grows_no_further() -> None:
    lines = sum(
        (ROOT / path).read_text(encoding="utf-8").count("\n") for path in FILES if path.parts[0] == "engine"
    )
    assert 1_000 < lines <= MOST_ENGINE_LINES, f"engine/ has {lines} lines; {MOST_ENGINE_LINES} are allowed"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_name_says_what_is_inside(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES


def test_code_stands_in_known_places() -> None:
    assert {path.parts[0] for path in FILES} <= set(CODE)


def test_tests_are_no_packages() -> None:
    assert [path for path in FILES if path.parts[0] == "tests" and path.name == "__init__.py"] == []


def test_what_only_the_full_run_tests_is_left_out_and_never_skipped() -> None:
    """CI fails on what is skipped and could have run (conftest.py): a reason is what the machine lacks."""
    marks = [
        (str(path), ast.unparse(node))
        for path in FILES
        if path.parts[0] == "tests"
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("mark.skipif", "mark.skip"))
    ]
    assert [mark for mark in marks if "this machine cannot: " not in mark[1]] == []
    assert marks  # or nothing was looked at


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_source_file_has_its_mirror(path: Path) -> None:
    if any(path.match(pattern) for pattern in NO_MIRROR):
        return
    folder = ROOT / "tests" / path.parent
    # A long mirror may be split: test_step.py, test_step_endings.py.
    mirrors = [*folder.glob(f"test_{path.stem}.py"), *folder.glob(f"test_{path.stem}_*.py")]
    assert mirrors, f"{path} has no tests/{path.parent}/test_{path.stem}.py"


def test_every_exception_to_the_mirrors_is_still_needed() -> None:
    for pattern in NO_MIRROR:
        assert any(path.match(pattern) for path in SOURCES), f"{pattern} matches nothing: remove it"
