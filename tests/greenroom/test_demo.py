"""The demo against nothing, and against a whole stack with real media."""

from __future__ import annotations

from pathlib import Path

import pytest

from greenroom.demo import DemoOptions, run_demo
from greenroom.free_ports import free_port
from greenroom.stack import StackOptions, running_stack
from tests.integration.servers import ENGINE, look_for


async def test_an_orchestrator_that_is_not_there_is_a_problem_not_an_exception(tmp_path: Path) -> None:
    report = await run_demo(DemoOptions(url=f"http://127.0.0.1:{free_port()}", data_dir=tmp_path))
    assert not report.ok
    assert "cannot be reached" in report.problems[0]
    assert report.session_id == ""


@pytest.mark.parametrize("seconds", [0, 2.9, 1e6])
def test_a_length_that_shows_nothing_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be 3 to 86400"):
        DemoOptions(url="http://127.0.0.1:1", data_dir=tmp_path, seconds=seconds)


@pytest.mark.acceptance
@pytest.mark.integration
@pytest.mark.media
async def test_a_whole_session_holds(tmp_path: Path) -> None:
    look_for(ENGINE, pytest.skip)
    lines: list[str] = []
    stack = StackOptions(data=tmp_path / "data", port=free_port(), engine=ENGINE)
    async with running_stack(stack, lambda name, text: lines.append(f"{name} {text}")) as running:
        options = DemoOptions(url=running.url, data_dir=running.data, seconds=8)
        report = await run_demo(options, on_progress=lines.append)
    assert report.problems == [], "\n".join(lines)
    assert report.states[-2:] == ["Terminating", "Terminated"]
    assert report.decoded is not None
    assert report.decoded.video_frames >= 200
    assert any("publishing" in line for line in lines)
