"""The demo: one real session, from its creation to the decoded export of its verified recording."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from greenroom.demo_events import RECORDING_ENDED, FollowedSession, following
from greenroom.demo_report import (
    DemoDecoded,
    DemoExport,
    DemoRecording,
    DemoReport,
    check,
    print_report,
)
from greenroom.recording_keys import open_keys
from greenroom.synthetic_participant import ParticipantError, SyntheticParticipant, join
from greenroom.synthetic_reading import MediaReading, ReadingError, read_media
from sdk.client import Client
from sdk.errors import SdkError
from vault.core.store_location import DirLocation, parse_location, recording_place
from vault.errors import VaultError
from vault.export import export_recording
from vault.listing import read_listing
from vault.stores import open_recording
from vault.verification import verify_recording

if TYPE_CHECKING:
    from vault.core.ids import VerifyKey

__all__ = ["DemoOptions", "DemoReport", "print_report", "run_demo"]

IDENTITY: Final = "demo-participant"
READY_S: Final = 20.0  # for the pong worker to join
RECORDING_S: Final = 20.0  # for the recorder to begin
TERMINATED_S: Final = 30.0
COMPLETED_S: Final = 60.0  # sealed, manifest written, verified
_CLEAN_UP_S: Final = 5.0
_SPARE_S: Final = (
    300.0  # beyond what is published, until the session ends by itself if this program is killed
)

OnProgress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What is demonstrated, and where its recording is found.

    Attributes:
        url: a running orchestrator.
        data_dir: the stack's data folder: keys in ``keys``; exports go to ``exports``. Recordings are in
            ``recordings``, unless the recorder says that its store is another folder of this machine.
        seconds: how long is published, at least 3.
    """

    url: str
    data_dir: Path
    seconds: float = 15.0

    def __post_init__(self) -> None:
        if not 3 <= self.seconds <= 86_400:
            raise ValueError(f"seconds {self.seconds:g} must be 3 to 86400")


async def run_demo(options: DemoOptions, on_progress: OnProgress = lambda text: None) -> DemoReport:
    """Create, publish, terminate, verify, export, decode.

    It never raises for what goes wrong on the way: that is a problem in the report. A session that was
    created is always asked to end, also when this is cancelled.

    Args:
        options: what and where.
        on_progress: told each step in a few words.
    """
    began = time.monotonic()
    report = DemoReport(seconds=options.seconds)
    stopped = ""
    try:
        async with Client(options.url) as client:
            await _hold_session(client, options, report, on_progress)
            place = await _place_of(client, report.session_id, options.data_dir)
        await _examine(options, report, place, on_progress)
    except (SdkError, ParticipantError, ReadingError, VaultError) as error:
        stopped = str(error)
    report.problems = ([stopped] if stopped else []) + check(report)
    report.total_s = round(time.monotonic() - began, 1)
    return report


async def _hold_session(
    client: Client, options: DemoOptions, report: DemoReport, on_progress: OnProgress
) -> None:
    """The session's life, from its creation until its recording has ended."""
    began = time.monotonic()
    created = await client.create_session(
        IDENTITY, required_services=["pong"], record=True, expires_in=options.seconds + _SPARE_S
    )
    report.session_id = created.session_id
    report.time_to_token_ms = round((time.monotonic() - began) * 1_000, 1)
    on_progress(f"session {created.session_id}: token after {report.time_to_token_ms:.0f} ms")
    is_over = False
    try:
        async with following(client, created.session_id) as session:
            try:
                if await session.wait_for(lambda told: told.ready_at is not None, within_s=READY_S):
                    assert session.ready_at is not None
                    report.time_to_ready_ms = round((session.ready_at - began) * 1_000, 1)
                    on_progress(f"ready after {report.time_to_ready_ms:.0f} ms")
                async with join(created.livekit_url, created.access_token) as participant:
                    await _publish(participant, session, options, report, on_progress)
                    await client.terminate(created.session_id)
                    is_over = True
                on_progress("terminating; the recorder seals what it captured")
                await session.wait_for(lambda told: "session_terminated" in told.names, within_s=TERMINATED_S)
                await session.wait_for(
                    lambda told: told.recording_status in RECORDING_ENDED, within_s=COMPLETED_S
                )
            finally:
                report.states, report.events = session.states, session.names
                report.recording_status = session.recording_status
    finally:
        if not is_over:
            await asyncio.shield(_quietly(client.terminate(created.session_id)))


async def _publish(
    participant: SyntheticParticipant,
    session: FollowedSession,
    options: DemoOptions,
    report: DemoReport,
    on_progress: OnProgress,
) -> None:
    try:
        report.pong_ms = round(await participant.ping(), 1)
        on_progress(f"pong after {report.pong_ms:.0f} ms")
    except ParticipantError as error:
        on_progress(str(error))
    if not await session.wait_for(
        lambda told: told.recording_status not in ("", "idle", "starting"), within_s=RECORDING_S
    ):
        on_progress(f"no recorder within {RECORDING_S:g} s; publishing nevertheless")
    on_progress(f"publishing 720p video and a tone for {options.seconds:g} s")
    published = await participant.publish(
        options.seconds,
        on_second=lambda second: on_progress(f"published {second} s") if second % 5 == 0 else None,
    )
    report.frames_published, report.frames_skipped = published.frames, published.skipped


async def _place_of(client: Client, session_id: str, data_dir: Path) -> str:
    """Where the recording is, as commands take it; "" when nobody made one."""
    view = await client.session(session_id)
    recording = view.get("recording") or {}
    store, recording_id = str(recording.get("store", "")), str(recording.get("recording_id", ""))
    if not recording_id or not store:
        return ""
    return await asyncio.to_thread(_place_in, store, recording_id, data_dir)


def _place_in(store: str, recording_id: str, data_dir: Path) -> str:
    """Take the recorder's word, unless its folder is one of another machine."""
    location = parse_location(store)
    if isinstance(location, DirLocation) and not Path(location.path).is_dir():
        location = DirLocation(str(data_dir / "recordings"))
    return recording_place(location, recording_id)


async def _examine(options: DemoOptions, report: DemoReport, place: str, on_progress: OnProgress) -> None:
    """Verify, export and decode, each in a thread."""
    if not place:
        return
    keys = await asyncio.to_thread(open_keys, options.data_dir / "keys")
    on_progress(f"verifying {place}")
    report.recording = await asyncio.to_thread(_verify, place, keys.public_key)
    on_progress("exporting")
    folder = options.data_dir / "exports"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    out = folder / f"{report.recording.id}.mp4"
    exported = await asyncio.to_thread(export_recording, place, keys, out)
    report.export = DemoExport(
        path=str(exported.path),
        duration_s=round(exported.duration_s, 3),
        video_frames=exported.video_frames,
        audio_s=round(exported.audio_s, 3),
    )
    on_progress(f"decoding {exported.path}")
    report.decoded = _decoded(await asyncio.to_thread(read_media, exported.path))
    on_progress(f"it plays in a browser at {options.url.rstrip('/')}/recordings/{report.recording.id}/play")


def _verify(place: str, public_key: VerifyKey) -> DemoRecording:
    verified = verify_recording(place, public_key)
    listing = read_listing(open_recording(place)[0])
    return DemoRecording(
        id=verified.recording_id,
        path=place,
        mode=verified.capture,
        chunks=sum(len(attempt.leaves) for attempt in listing.attempts.values()),
        bytes=listing.total_bytes,
        tree_size=sum(attempt.size for attempt in verified.attempts),
        root=verified.root,
        verified=verified.status == "complete",
    )


def _decoded(media: MediaReading) -> DemoDecoded:
    counters = [counter for counter in media.counters if counter is not None]
    return DemoDecoded(
        duration_s=media.duration_s,
        video_frames=media.video_frames,
        audio_s=media.audio_s,
        unread_frames=media.unread_frames,
        first_counter=counters[0] if counters else -1,
        last_counter=counters[-1] if counters else -1,
        counter_monotonic=media.is_monotonic,
        av_offset_ms=media.av_offset_ms,
    )


async def _quietly(asking: Awaitable[None]) -> None:
    """Ask on the way out; an orchestrator that does not answer ends the session at its deadline."""
    try:
        async with asyncio.timeout(_CLEAN_UP_S):
            await asking
    except (SdkError, TimeoutError):
        pass
