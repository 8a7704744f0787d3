"""Sound fits picture, at the beginning of a recording and after half a minute; in full, ten minutes.

A flash and a beep of one participant each second, recorded in both ways at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from statistics import median

import pytest
from livekit import api

from greenroom.synthetic_participant import join
from greenroom.synthetic_reading import MAX_PAIR_DISTANCE_S, MediaReading, read_media
from tests.integration.servers import SharedLiveKit
from tests.recorder.publishers import Room, make_room
from vault.adapters.key_files import KeyFiles
from vault.export import export_recording

SECONDS = 600 if os.environ.get("GREENROOM_FULL") == "1" else 26
pytestmark = [pytest.mark.integration, pytest.mark.media, pytest.mark.timeout(2 * SECONDS + 120)]

LOOK_S = 10  # at the beginning and at the end
LIMIT_MS = {"passthrough": 40, "decoded": 80}


def hidden_token(room: Room, identity: str) -> str:
    grants = api.VideoGrants(room_join=True, room=room.name, hidden=True, can_publish=False)
    token = api.AccessToken(room.server.api_key, room.server.api_secret).with_identity(identity)
    return token.with_grants(grants).to_jwt()


async def record(way: str, room: Room, folder: Path) -> MediaReading:
    """Record in a process of its own (that of the bench), export and decode."""
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench._record_cells", way, "--url", room.server.url),
        *("--folder", str(folder), "--seconds", str(SECONDS)),
        env={**os.environ, "BENCH_TOKENS": hidden_token(room, f"recorder-{way}")},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS + 60):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = json.loads(out.splitlines()[-1])
    assert found["state"] == "completed"
    export_to = folder / "out.mp4"
    keys = KeyFiles.open(folder / "keys")
    await asyncio.to_thread(export_recording, folder / "recordings" / found["recording"], keys, export_to)
    return await asyncio.to_thread(read_media, export_to)


def offset_ms(media: MediaReading, since_s: float, until_s: float) -> float:
    """The median of beep minus flash in a part of a recording."""
    offsets = [
        min((beep - flash for beep in media.beeps), key=abs)
        for flash in media.flashes
        if since_s <= flash <= until_s
    ]
    pairs = [offset for offset in offsets if abs(offset) <= MAX_PAIR_DISTANCE_S]
    assert len(pairs) >= (until_s - since_s) * 0.7
    return round(median(pairs) * 1_000, 1)


async def test_sound_fits_picture_at_the_beginning_and_at_the_end_in_both_ways(
    livekit_server: SharedLiveKit, tmp_path: Path
) -> None:
    async with make_room(livekit_server) as room:
        token = api.AccessToken(room.server.api_key, room.server.api_secret).with_identity("alice")
        grants = api.VideoGrants(room_join=True, room=room.name)
        async with join(room.server.url, token.with_grants(grants).to_jwt()) as alice:
            publishing = asyncio.create_task(alice.publish(SECONDS + 60))
            recordings = {way: asyncio.create_task(record(way, room, tmp_path / way)) for way in LIMIT_MS}
            await asyncio.wait(recordings.values())
            publishing.cancel()
            await asyncio.wait({publishing})
    seen = {}
    for way, recording in recordings.items():
        media = recording.result()
        end_s = media.flashes[-1]
        first, last = offset_ms(media, 0, LOOK_S), offset_ms(media, end_s - LOOK_S, end_s)
        seen[way] = (first, last)
    print(f"A/V offset in ms, first and last {LOOK_S} s of {SECONDS} s: {seen}")
    for way, offsets in seen.items():
        assert max(map(abs, offsets)) <= LIMIT_MS[way], seen
