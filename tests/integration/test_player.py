"""The player in Chromium: the picture of a moment is the one recorded at that moment, in both containers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import av
import numpy as np
import numpy.typing as npt
import pytest
from playwright.async_api import Page

from greenroom.synthetic_picture import read_counter
from tests.fakes.counted_media import counted_video, long_sound
from tests.fakes.recordings import RECORDING, complete, open_writer, write_media
from tests.fakes.stored_recordings import StoredRecordings
from tests.integration.browser import running_browser
from tests.orchestrator.web.world import World

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("timed")]  # pictures have to come in time
RATE = 10  # pictures a second
SECOND_ATTEMPT_S = 40


@dataclass
class Stage:
    """A page of the browser, and recordings in the orchestrator that it is pointed at."""

    page: Page
    stored: StoredRecordings
    url: str
    said: list[str] = field(default_factory=list)

    async def open(self, start: str = "") -> None:
        """Open the player and wait until its first picture stands."""
        await self.page.goto(self.url + start)
        await self.at_rest()

    async def seek(self, time_s: float) -> None:
        """Go to a time by the page's address, as a link does."""
        await self.page.evaluate("(time) => { location.hash = `#t=${time}`; }", time_s)
        await self.until(f"Math.abs(Number(document.body.dataset.position) - {time_s}) < 0.01")
        await self.at_rest()

    async def drag(self, time_s: float) -> None:
        """Move the bar, as a person does; its steps are tenths of a second."""
        await self.page.locator("#seek").evaluate(
            "(bar, time) => { bar.value = time; bar.dispatchEvent(new Event('change')); }", time_s
        )
        await self.until(f"Math.abs(Number(document.body.dataset.position) - {time_s}) < 0.06")
        await self.at_rest()

    async def at_rest(self) -> None:
        """Wait until the picture of the position stands."""
        await self.until("['failed', 'paused'].includes(document.body.dataset.state)")
        assert await self.page.evaluate("document.body.dataset.state") == "paused", (
            await self.note(),
            self.said,
        )

    async def until(self, expression: str) -> None:
        """Poll the page; playwright's own way of waiting needs eval, which the page forbids."""
        async with asyncio.timeout(20):
            while not await self.page.evaluate(expression):
                await asyncio.sleep(0.03)

    async def counter(self, number: int = 0) -> int | None:
        """Read the number in a video, from what is on the screen."""
        return read_counter(pixels(await self.page.locator("video").nth(number).screenshot()))

    async def note(self) -> str:
        """What the page says."""
        return await self.page.locator("#note").text_content() or ""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stored = StoredRecordings(tmp_path)
    world = World(settings=stored.settings)
    async with world.running(), running_browser(pytest.skip) as browser:
        page = await browser.new_page(viewport={"width": 900, "height": 700})
        stage = Stage(page, stored, f"{world.url}/recordings/{RECORDING}/play")
        page.on("console", lambda message: stage.said.append(message.text))
        yield stage


def pixels(png: bytes) -> npt.NDArray[np.uint8]:
    with av.open(io.BytesIO(png), "r") as container:
        frame = next(container.decode(video=0))
    return np.asarray(frame.to_ndarray(format="gray"), dtype=np.uint8)


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_three_positions_show_the_right_counter(stage: Stage, codec: Literal["h264", "vp8"]) -> None:
    stage.stored.write([(1, 0, counted_video(30, codec=codec)), (2, 0, long_sound(30))])
    await stage.open("#t=3.25")
    assert await stage.counter() == 32
    for time_s in (27.55, 11.05, 11.55):
        await stage.seek(time_s)
        assert await stage.counter() == int(time_s * RATE)
    await stage.drag(20.04)
    assert await stage.counter() in (199, 200), "the bar's step is exactly where a picture begins"


async def test_tracks_of_all_attempts_play_on_one_timeline_and_gaps_are_jumped(stage: Stage) -> None:
    first = [
        (1, 0, counted_video(6)),
        (2, 0, long_sound(6)),
        (3, 500_000, counted_video(5, codec="vp8", identity="bob")),
    ]
    second = [(1, 0, counted_video(6, first=1_000)), (2, 0, long_sound(6))]
    stage.stored.write(first, second, apart_us=SECOND_ATTEMPT_S * 1_000_000)
    await stage.open("#t=2.05")
    assert [await stage.counter(0), await stage.counter(1)] == [20, 15]
    await stage.seek(SECOND_ATTEMPT_S + 3.05)
    assert await stage.counter(0) == 1_030, "another run of the same track, after a takeover"
    await stage.seek(5.05)
    await stage.page.locator("#play").click()
    await stage.until("document.body.dataset.state === 'playing'")
    await stage.until(f"Number(document.body.dataset.position) > {SECOND_ATTEMPT_S + 0.5}")
    assert "takeover" in await stage.note()
    await stage.page.locator("#play").click()
    await stage.at_rest()
    position_s = float(await stage.page.evaluate("document.body.dataset.position"))
    shown = await stage.counter(0)
    assert shown is not None
    assert abs(shown - 1_000 - (position_s - SECOND_ATTEMPT_S) * RATE) <= 1.5


async def test_what_is_played_moves_as_fast_as_it_was_recorded(stage: Stage) -> None:
    stage.stored.write([(1, 0, counted_video(20)), (2, 0, long_sound(20))])
    await stage.open()
    await stage.page.locator("#play").click()
    await stage.until("document.querySelector('video').currentTime > 3")
    times: list[float] = await stage.page.evaluate(
        "[Number(document.body.dataset.position),"
        " ...[...document.querySelectorAll('video, audio')].map((element) => element.currentTime)]"
    )
    assert max(times) - min(times) < 0.4, times
    assert await stage.page.evaluate("document.querySelector('audio').webkitAudioDecodedByteCount") > 0


async def test_a_recording_in_progress_grows_while_it_is_watched(stage: Stage) -> None:
    media, end_s = counted_video(12), 8
    writer = open_writer(stage.stored.chunks, stage.stored.ring)
    write_media(writer, [(1, 0, replace(media, fragments=media.fragments[:end_s]))])
    writer.checkpoint()
    await stage.open("#t=2.05")
    assert await stage.counter() == 20
    for fragment in media.fragments[end_s:]:
        writer.put(
            writer.seal(
                1,
                fragment.data,
                first_pts=fragment.first_pts,
                duration_pts=fragment.duration_pts,
                has_keyframe=fragment.has_keyframe,
            )
        )
    write_media(writer, [(2, 6_000_000, counted_video(6, first=500, codec="vp8", identity="bob"))])
    complete(stage.stored.chunks, stage.stored.ring, writer.close())
    await stage.until("Number(document.querySelector('#seek').max) > 11")
    await stage.until("document.querySelectorAll('video').length === 2")
    await stage.seek(11.05)
    assert [await stage.counter(0), await stage.counter(1)] == [110, 550], "and who came later is there"


async def test_damage_is_said_on_the_page_and_none_of_it_shown(stage: Stage) -> None:
    stage.stored.write([(1, 0, counted_video(10))])
    stage.stored.flip("1/chunk-0000000001", 300)
    await stage.page.goto(stage.url)
    await stage.until("document.body.dataset.state === 'failed'")
    assert "1/chunk-0000000001" in await stage.note()
    assert await stage.page.evaluate("document.querySelector('video').readyState") < 2, "no picture"


async def test_a_name_that_is_markup_is_shown_as_text_and_nothing_inline_runs(stage: Stage) -> None:
    name = "<img src=x onerror=\"document.title='owned'\">"
    stage.stored.write([(1, 0, counted_video(2, identity=name))])
    await stage.open()
    assert name in (await stage.page.locator("figcaption").text_content() or "")
    await stage.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')"
    )
    await stage.page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
    assert "Recording" in await stage.page.title()
