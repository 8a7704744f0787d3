"""Who speaks is told to those who listen, and that nobody does any more."""

from __future__ import annotations

import pytest
from livekit import rtc

from tests.conformance.cameras import publishing
from tests.conformance.stage import Stage, until

pytestmark = pytest.mark.integration


async def test_who_is_loud_is_a_speaker_until_they_are_silent(stage: Stage) -> None:
    bob = rtc.Room()
    told: list[list[str]] = []
    bob.on("active_speakers_changed", lambda speakers: told.append([who.identity for who in speakers]))
    await stage.join("bob", into=bob)
    async with publishing(await stage.join("carol")) as carol, publishing(await stage.join("alice")) as alice:
        await carol.hum(level=0)
        await alice.hum(level=12_000)
        await until(lambda: ["alice"] in told, lambda: told)
        await alice.stop()
        await until(lambda: told[-1] == [], lambda: told)
    assert all(speakers in ([], ["alice"]) for speakers in told)


@pytest.mark.parametrize("first", ["alice", "carol"])
async def test_who_goes_on_is_still_a_speaker_when_another_falls_silent(stage: Stage, first: str) -> None:
    """LiveKit names those whose level changed, and its SDK takes them for all who speak: so voices sway."""
    bob = rtc.Room()
    told: list[set[str]] = []
    bob.on("active_speakers_changed", lambda speakers: told.append({who.identity for who in speakers}))
    await stage.join("bob", into=bob)
    async with publishing(await stage.join("carol")) as carol, publishing(await stage.join("alice")) as alice:
        await carol.hum(level=18_000, sways=True)
        await alice.hum(level=18_000, sways=True)
        await until(lambda: {"alice", "carol"} in told, lambda: told)
        await (alice if first == "alice" else carol).stop()
        going_on = {"alice", "carol"} - {first}
        await until(lambda: told[-1] == going_on, lambda: told)
