"""Stores that are frozen, killed or refuse connections under live recordings: nothing is lost.

GREENROOM_FULL=1 makes the outage two minutes long, else it is 15 seconds.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import pytest

from recorder.adapters.dir_spool import DirSpool
from recorder.adapters.pyav_muxer import PyavEncoders
from recorder.adapters.system_clock import SystemClock
from recorder.core.states import RecordingState
from recorder.ports import Spool, Standing
from recorder.service import outbox, recording, store_path, unit_capture
from recorder.service.archive import Archive
from recorder.service.recording import Recording
from recorder.service.recording_plan import RecordingPlan
from tests.crash.fed_media import FRAMES_PER_S, FedMedia, FedTracks, write_media
from tests.fakes.reporter import FakeReporter
from tests.integration.s3_servers import S3Server, running_s3_server
from tests.invariants.real.tcp_proxy import TcpProxy
from vault.adapters.key_files import KeyFiles
from vault.core.store_location import S3Location, parse_location
from vault.export import export_recording
from vault.stores import open_chunk_store, url_of
from vault.verification import verify_recording

OUTAGE_S = 120.0 if os.environ.get("GREENROOM_FULL") == "1" else 15.0
BEFORE_S, AFTER_S = 3.0, 4.0
LENGTH_S = BEFORE_S + OUTAGE_S + AFTER_S
LAG_S = (
    3.0  # of an acknowledgement without an outage: 1 s of media, 0.5 s to a checkpoint, a report each second
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("timed"),
    pytest.mark.timeout(LENGTH_S + 120),
    pytest.mark.usefixtures("s3_credentials"),
]


@dataclass
class Trial:
    """One recording to one store."""

    name: str
    place: str
    folder: Path
    keys: KeyFiles
    spool: Spool | None
    recording_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    reporter: FakeReporter = field(default_factory=FakeReporter)

    def make(self) -> Recording:
        location = parse_location(self.place)
        archive = Archive(open_chunk_store(location), self.keys, url_of(location), self.spool)
        plan = RecordingPlan(recording_id=self.recording_id, session_id=self.name, attempt=1)
        return Recording(
            plan, archive=archive, encoders=PyavEncoders(), clock=SystemClock(), reporter=self.reporter
        )

    async def record(self, media: FedMedia) -> Recording:
        made = self.make()
        source = FedTracks(media, mode="passthrough", seconds=LENGTH_S, on_fed=lambda *_: None)
        await made.capture(source)
        await made.complete()
        return made

    @property
    def last(self) -> Standing:
        return self.reporter.standings[-1]

    @property
    def url(self) -> str:
        location = parse_location(self.place)
        if isinstance(location, S3Location):
            return replace(location, prefix=f"{location.prefix}/{self.recording_id}").url
        return str(Path(self.place) / self.recording_id)

    def pictures(self) -> int:
        """Verify, export and decode; gives how many pictures there are."""
        report = verify_recording(self.url, self.keys.public_key)
        assert report.exit_code == 0, (self.name, report.sentences())
        out = self.folder / f"{self.name}.mp4"
        export_recording(self.url, self.keys, out)
        with av.open(str(out)) as file:
            return sum(1 for _ in file.decode(video=0))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> FedMedia:
    path = tmp_path_factory.mktemp("media") / "media.mp4"
    write_media(path, round(LENGTH_S) + 1)
    return FedMedia.read(path)


@pytest.fixture
def second_s3_server(tmp_path: Path) -> Iterator[S3Server]:
    with running_s3_server(tmp_path / "second", pytest.skip) as server:
        yield server


async def test_an_outage_of_the_store_loses_nothing_and_touches_no_other_recording(
    tmp_path: Path,
    media: FedMedia,
    monkeypatch: pytest.MonkeyPatch,
    fresh_s3_server: S3Server,
    second_s3_server: S3Server,
    shared_s3_server: S3Server,
) -> None:
    # So that 15 s are more than memory holds: what is not spooled is lost then, as in a long outage.
    monkeypatch.setattr(outbox, "HELD_BYTES", 20_000)
    monkeypatch.setattr(store_path, "MAX_WAITING", 1)
    monkeypatch.setattr(unit_capture, "MAX_BACKLOG_BYTES", 60_000)
    monkeypatch.setattr(recording, "REPORT_EVERY_S", 1.0)
    keys = KeyFiles.create_or_open(tmp_path / "keys")
    spool = DirSpool(tmp_path / "spool", budget_bytes=1 << 30, recordings=8)
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TcpProxy(shared_s3_server.port))
        refused = replace(shared_s3_server.location(shared_s3_server.make_bucket()), endpoint=proxy.url)
        frozen = fresh_s3_server.location(fresh_s3_server.make_bucket())
        killed = second_s3_server.location(second_s3_server.make_bucket())

        def trial(name: str, place: str, spool: Spool | None = spool) -> Trial:
            return Trial(name, place, tmp_path, keys, spool)

        out = [trial("frozen", frozen.url), trial("killed", killed.url), trial("refused", refused.url)]
        control = trial("control", replace(killed, prefix="control").url, None)
        other = trial("other", str(tmp_path / "recordings"))
        tasks = {one.name: asyncio.create_task(one.record(media)) for one in (*out, control, other)}
        await asyncio.sleep(BEFORE_S)
        fresh_s3_server.freeze()
        second_s3_server.kill()
        await proxy.refuse()
        proxy.cut()
        await asyncio.sleep(3.0)  # what was under way
        during = {one.name: one.last for one in (*out, other)}
        await asyncio.sleep(OUTAGE_S - 3.5)
        for one in out:
            assert one.last.tree_size == during[one.name].tree_size, "nothing is acknowledged meanwhile"
            assert one.last.stats["spooled_bytes"] > 0
        grown = other.last.tree_size - during["other"].tree_size
        assert grown >= 2 * (OUTAGE_S - 3.5 - LAG_S), "the directory's recording goes on, two tracks a second"
        await asyncio.sleep(0.5)
        fresh_s3_server.thaw()
        await asyncio.to_thread(second_s3_server.start)
        await proxy.accept()
        made = {name: await asyncio.wait_for(task, LENGTH_S + 60) for name, task in tasks.items()}
        pictures = {one.name: await asyncio.to_thread(one.pictures) for one in (*out, other, control)}
    assert {name: one.state for name, one in made.items()} == dict.fromkeys(made, RecordingState.COMPLETED)
    fed = round(LENGTH_S * FRAMES_PER_S)
    assert {name: count for name, count in pictures.items() if name != "control"} == dict.fromkeys(
        ("frozen", "killed", "refused", "other"), fed
    )
    assert pictures["control"] < fed - 2 * FRAMES_PER_S, "without a spool an outage is lost"
    assert spool.left_behind() == []
