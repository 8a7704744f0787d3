"""Where sequence numbers and RTP times wrap, nobody who sees or records loses a picture."""

from __future__ import annotations

from itertools import pairwise

import pytest
from livekit import rtc

from tests.conformance.cameras import viewing
from tests.conformance.stage import Stage, eventually, until
from tests.conformance.test_first_signalling import counters, recording
from tests.conformance.watching import FREEZE_S, watching_for_freezes
from tests.conformance.wrapping import FIRST_SEQUENCE, FRAMES_PER_S, WrappingPublisher, wrapping_publisher

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("timed")]

WRAPS_AFTER = (1 << 16) - FIRST_SEQUENCE  # packets


async def test_a_wrap_is_not_seen(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = rtc.Room()
    async with (
        viewing(bob) as seen,
        recording(stage) as (kept, _),
        wrapping_publisher(stage, "alice", monkeypatch) as alice,
    ):
        await stage.join("bob", into=bob)
        assert (await seen.sees(alice.sid))[0] < FRAMES_PER_S, "before the time wraps"
        async with watching_for_freezes(seen, alice.sid) as watch:
            await eventually(lambda: has_wrapped(alice))
            await until(
                lambda: seen.read(alice.sid)[-1] > 3 * FRAMES_PER_S, lambda: seen.read(alice.sid)[-5:]
            )
        late = rtc.Room()
        async with viewing(late) as seen_late:
            await stage.join("late", into=late)
            await seen_late.sees(alice.sid)
        await bob.disconnect()
    assert watch.longest_s < FREEZE_S
    read = counters(kept.units[alice.sid])
    assert None not in read
    assert all(later == earlier + 1 for earlier, later in pairwise(map(int, filter(None, read))))
    times = [unit.rtp_time for unit in kept.units[alice.sid]]
    assert all(later > earlier for earlier, later in pairwise(times))
    if stage.engine.name == "embedded":  # which leaves times as they are
        assert times[0] < 1 << 32 < times[-1]


async def has_wrapped(alice: WrappingPublisher) -> bool | None:
    """Whether what follows the wrap was sent, twice as much as before it."""
    return True if await alice.packets_sent() > 2 * WRAPS_AFTER else None
