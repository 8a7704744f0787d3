"""A worker that answers pings: data with the topic `test-ping` comes back as `test-response`.

    GREENROOM_URL=http://127.0.0.1:8080 python -m examples.pong_worker

It may be started before the orchestrator, and Ctrl-C ends it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Final

from greenroom import Job, Worker
from sdk.errors import WorkerRefusedError
from sdk.ports import RoomFactory
from sdk.settings import WorkerSettings

if TYPE_CHECKING:
    from livekit.rtc import DataPacket

PING_TOPIC: Final = "test-ping"
PONG_TOPIC: Final = "test-response"
MAX_WAITING: Final = 100  # pings beyond these are dropped, as a network would


def make_worker(settings: WorkerSettings, *, rooms: RoomFactory | None = None) -> Worker:
    """Make the worker; tests give it fake rooms."""
    worker = Worker(settings, rooms=rooms)

    @worker.job
    async def answer_pings(job: Job) -> None:
        pings: asyncio.Queue[DataPacket] = asyncio.Queue(MAX_WAITING)

        def on_data(packet: DataPacket) -> None:
            if packet.topic == PING_TOPIC and not pings.full():
                pings.put_nowait(packet)

        job.room.on("data_received", on_data)
        while True:
            packet = await pings.get()
            # Who has just joined may be heard before it is known; then everybody gets the answer.
            to = [packet.participant.identity] if packet.participant is not None else []
            await job.room.local_participant.publish_data(
                b"pong", topic=PONG_TOPIC, destination_identities=to
            )

    return worker


def main() -> None:
    """Run the worker with the settings of the environment."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = WorkerSettings.from_env(service_id="pong", capacity=50, drain_timeout_s=1.0)
        make_worker(settings).run()
    except (ValueError, WorkerRefusedError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
