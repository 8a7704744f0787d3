"""The pages are true: links lead somewhere, what is printed is fresh, commands and settings are told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer.main

from greenroom.commands.application import build
from orchestrator.settings import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)")
COMMANDS = sorted(getattr(typer.main.get_command(build()), "commands", {}))


def pages() -> list[Path]:
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    return sorted(Path(line) for line in listed.splitlines() if (ROOT / line).is_file())


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def anchors(text: str) -> set[str]:
    """Give the anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ +(.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", pages(), ids=str)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in LINK.finditer(without_code(text)):
        target = unquote(match[1] or match[2])
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (ROOT / page.parent / name).resolve() if name else ROOT / page
        assert place.exists(), f"{page} links to {target}, which is not there"
        assert place.is_relative_to(ROOT), f"{page} links out of the repository: {target}"
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place.read_text(encoding="utf-8")), f"{page}: no heading for {target}"


def test_pages_printed_from_code_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "docs.py", "--check"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_is_named_where_people_look(name: str) -> None:
    command = getattr(typer.main.get_command(build()), "commands", {})[name]
    assert len(command.help or "") > 30
    for option in command.params:
        assert option.name == "help" or getattr(option, "help", None), f"{name} {option.name} has no help"
    assert f"## greenroom {name}\n" in (ROOT / "docs/COMMANDS.md").read_text(encoding="utf-8")
    assert f"`{name}`" in (ROOT / "README.md").read_text(encoding="utf-8") or name == "up"


def test_every_variable_that_sets_something_is_documented() -> None:
    page = (ROOT / "docs/SETTINGS.md").read_text(encoding="utf-8")
    for names in ENVIRONMENT.values():
        for name in names:
            assert f"`{name}`" in page


def test_the_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target} is not in the Makefile"
