"""Event streams: exact resume under concurrent writes, explicit gaps, clean ends, stuck readers cut."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.core.events import ClientJoined, SessionTerminated
from orchestrator.core.ids import SessionId
from orchestrator.core.states import RoomStatus
from orchestrator.ports import Change
from orchestrator.service import feed as feed_module
from orchestrator.settings import EventsSettings, Settings
from orchestrator.web import sse
from orchestrator.web.sse import SharedChunk, parse_position
from tests.orchestrator.web.world import World, error_of, next_version, until


@dataclass(frozen=True, slots=True)
class Received:
    """One frame as a client sees it; a comment has its text in ``comment``."""

    id: str = ""
    event: str = ""
    data: str = ""
    comment: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def parse(frame: str) -> Received:
    fields: dict[str, str] = {}
    for line in frame.strip("\n").splitlines():
        name, _, value = line.partition(":")
        fields[name or "comment"] = value.removeprefix(" ")
    known = {key: fields[key] for key in ("id", "event", "data", "comment") if key in fields}
    return Received(**known)


@asynccontextmanager
async def stream(
    client: ClientSession, path: str, last_event_id: str | None = None
) -> AsyncIterator[AsyncIterator[Received]]:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with client.get(path, headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"

        async def frames() -> AsyncIterator[Received]:
            while True:
                async with asyncio.timeout(5):
                    try:
                        raw = await answer.content.readuntil(b"\n\n")
                    except asyncio.IncompleteReadError:
                        return
                if not raw:
                    return
                yield parse(raw.decode())

        yield frames()


async def take(frames: AsyncIterator[Received], count: int) -> list[Received]:
    """Give the next ``count`` events, comments and the like aside."""
    found: list[Received] = []
    while len(found) < count:
        frame = await anext(frames)
        if frame.event:
            found.append(frame)
    return found


def path_of(session_id: str) -> str:
    return f"/api/v1/sessions/{session_id}/events"


async def join(world: World, session_id: str, *names: str) -> None:
    await world.append(session_id, *(ClientJoined(session_id=session_id, user_identity=n) for n in names))


def identities(frames: list[Received]) -> list[str]:
    return [frame.json["user_identity"] for frame in frames if frame.event == "client_joined"]


async def end(world: World, session_id: str) -> None:
    """Commit that the room life is over, past the step function."""
    session = await world.store.load(SessionId(session_id))
    event = SessionTerminated(session_id=session_id, end_reason="terminated")
    over = next_version(session, (event,))
    object.__setattr__(over, "room_status", RoomStatus.TERMINATED)
    object.__setattr__(over, "is_name_held", False)
    await world.store.commit(Change(session=over, events=(event,)))
    world.sessions.live.put(over)


async def test_a_session_stream_replays_and_goes_on_live(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    async with stream(client, path_of(session_id)) as frames:
        first = await take(frames, 1)
        assert first[0].event == "session_created"
        assert set(first[0].json) == {"type", "session_id", "room_name", "livekit_url"}
        await join(world, session_id, "bob")
        found: list[Received] = []
        while identities(found) != ["bob"]:
            found += await take(frames, 1)
        generation, seq = parse_position(found[-1].id)
        assert (generation, seq) == (world.feed.generation, world.feed.tail)


async def test_the_short_path_answers_too(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    async with stream(client, f"/sessions/{session_id}/events") as frames:
        assert (await take(frames, 1))[0].event == "session_created"


async def test_the_global_stream_begins_at_the_head_or_at_the_start(
    world: World, client: ClientSession
) -> None:
    session_id = (await world.create(client))["session_id"]
    await join(world, session_id, "before")
    await until(lambda: world.feed.tail >= 2)
    async with stream(client, "/api/v1/events") as frames:
        assert (await anext(frames)).event == ""  # the retry time
        position = await anext(frames)
        assert parse_position(position.comment) == (world.feed.generation, world.feed.tail)
        await join(world, session_id, "after")
        found = await take(frames, 1)
        while not identities(found):
            found += await take(frames, 1)
        assert identities(found) == ["after"]
    async with stream(client, "/api/v1/events?from=start") as frames:
        assert (await take(frames, 1))[0].event == "session_created"


async def test_a_browser_names_its_position_in_the_query(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    await join(world, session_id, "1", "2")
    async with stream(client, path_of(session_id)) as frames:
        found = await take(frames, 1)
        while identities(found) != ["1"]:
            found += await take(frames, 1)
        seen = found[-1]
    async with stream(client, f"/api/v1/events?last_event_id={seen.id}") as frames:
        assert identities(await take(frames, 1)) == ["2"]


async def test_resumes_are_exact_while_others_write(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers come back at random positions, over memory, store pages and the live end, all the time."""
    monkeypatch.setattr(feed_module, "PAGE", 8)
    monkeypatch.setattr(sse, "PAGE", 8)
    world.feed._ring = deque(maxlen=16)
    monkeypatch.setattr(feed_module, "RING", 16)
    sessions = [(await world.create(client))["session_id"] for _ in range(2)]
    chance, total, is_done = random.Random(7), 600, False
    expected: dict[str, list[str]] = {session_id: [] for session_id in sessions}

    async def write() -> None:
        nonlocal is_done
        for number in range(0, total, 3):
            session_id = chance.choice(sessions)
            names = [str(number + n) for n in range(3)]
            expected[session_id] += names
            await join(world, session_id, *names)
            if number % 30 == 0:
                await asyncio.sleep(0.002)
        is_done = True

    async def read(session_id: str | None) -> list[str]:
        path = path_of(session_id) if session_id else "/api/v1/events?from=start"
        position: str | None = None
        names: list[str] = []
        while not is_done or len(names) < (len(expected[session_id]) if session_id else total):
            async with stream(client, path, position) as frames:
                for _ in range(chance.randrange(1, 40)):
                    frame = (await take(frames, 1))[0]
                    assert frame.event != "gap"
                    position = frame.id
                    names += identities([frame])
                    if is_done and len(names) >= (len(expected[session_id]) if session_id else total):
                        break
        return names

    async with asyncio.timeout(60):
        _, everything, of_first, of_second = await asyncio.gather(
            write(), read(None), read(sessions[0]), read(sessions[1])
        )
    assert everything == [str(n) for n in range(total)]
    assert of_first == expected[sessions[0]]
    assert of_second == expected[sessions[1]]


@pytest.mark.parametrize("position", ["7:1", "beyond", "nonsense", "1:2:3", "-1:0", f"1:{'9' * 40}"])
async def test_a_resume_that_cannot_be_honoured_gets_a_gap_with_a_snapshot(
    world: World, client: ClientSession, position: str
) -> None:
    session_id = (await world.create(client))["session_id"]
    await until(lambda: world.feed.tail >= 1)
    if position == "beyond":
        position = f"{world.feed.generation}:{world.feed.tail + 1000}"
    async with stream(client, path_of(session_id), position) as frames:
        gap = (await take(frames, 1))[0]
        assert gap.event == "gap"
        assert gap.json["from"] == position
        assert gap.json["to"] == gap.id
        assert gap.json["snapshot"]["session_id"] == session_id
        assert gap.json["snapshot"]["room_status"] in ("Creating", "Ready")
        head = parse_position(gap.id)[1]
        await join(world, session_id, "after")
        found = await take(frames, 1)
        while not identities(found):
            found += await take(frames, 1)
        assert all(parse_position(frame.id)[1] > head for frame in found)


async def test_a_trimmed_position_gets_a_gap_and_on_the_global_stream_no_snapshot(
    world: World, client: ClientSession
) -> None:
    session_id = (await world.create(client))["session_id"]
    await join(world, session_id, "1", "2", "3")
    await until(lambda: world.feed.tail >= 4)
    generation = world.feed.generation
    await world.store.trim_feed(world.clock.now() + timedelta(seconds=1))
    world.feed._begin(await world.feed.page(0, None))  # as after a restart: nothing in memory
    async with stream(client, "/api/v1/events", f"{generation}:1") as frames:
        gap = (await take(frames, 1))[0]
        assert (gap.event, gap.json["snapshot"]) == ("gap", None)
        await join(world, session_id, "4")
        assert identities(await take(frames, 1)) == ["4"]
    # The last event before the oldest kept one is no gap: nothing is missing.
    async with stream(client, path_of(session_id), gap.id) as frames:
        assert identities(await take(frames, 1)) == ["4"]


async def test_the_stream_ends_when_the_session_is_over_and_a_resume_at_the_end_says_so(
    world: World, client: ClientSession
) -> None:
    session_id = (await world.create(client))["session_id"]
    async with stream(client, path_of(session_id)) as frames:
        await take(frames, 1)
        await end(world, session_id)
        rest = [frame async for frame in frames if frame.event]
    assert rest[-1].event == "session_terminated"
    at_end = {"Last-Event-ID": rest[-1].id}
    assert (await client.get(path_of(session_id), headers=at_end)).status == 204
    async with stream(client, path_of(session_id)) as frames:  # from the beginning: all of it, and the end
        again = [frame async for frame in frames if frame.event]
    assert again[0].event == "session_created"
    assert again[-1] == rest[-1]


async def test_what_is_sealed_after_the_room_is_told_before_the_end(
    world: World, client: ClientSession
) -> None:
    session_id = (await world.create(client, record=True))["session_id"]
    async with stream(client, path_of(session_id)) as frames:
        await take(frames, 1)
        await world.sessions.terminate(SessionId(session_id))
        names: list[str] = []
        while "session_terminated" not in names:
            names += [frame.event for frame in await take(frames, 1)]
        session = await world.store.load(SessionId(session_id))
        assert session.recording is not None
        if session.is_open:
            await join(world, session_id, "still told")
            assert identities(await take(frames, 1)) == ["still told"]


async def test_an_idle_stream_is_kept_alive_with_its_position() -> None:
    world = World(settings=Settings(events=EventsSettings(keep_alive=0.02)))
    async with world.running() as client:
        await world.create(client)
        async with stream(client, "/api/v1/events") as frames:
            await anext(frames)
            comments = [(await anext(frames)).comment for _ in range(2)]
    assert [parse_position(text)[0] for text in comments] == [world.feed.generation] * 2


async def test_at_shutdown_every_stream_ends_and_new_ones_are_refused(
    world: World, client: ClientSession
) -> None:
    session_id = (await world.create(client))["session_id"]
    async with stream(client, path_of(session_id)) as frames, stream(client, "/api/v1/events") as others:
        await take(frames, 1)
        world.feed.end_readers()
        assert [frame async for frame in frames if frame.event == "error"] == []
        assert [frame async for frame in others if frame.event == "error"] == []
    answer = await client.get(path_of(session_id))
    assert answer.status == 503
    assert (await error_of(answer))["error"] == "Unavailable"
    answer = await client.post("/api/v1/create-session", json={"user_identity": "a"})
    assert answer.status == 503


async def test_http_1_0_gets_frames_without_chunks(world: World, client: ClientSession) -> None:
    session_id = (await world.create(client))["session_id"]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    writer.write(f"GET {path_of(session_id)} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        await reader.readuntil(b"event: session_created\n")
        await join(world, session_id, "live")
        await reader.readuntil(b'"user_identity":"live"}\n\n')
    writer.close()


async def test_a_reader_that_never_reads_is_cut_while_others_go_on(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "BUFFER_BYTES", 32 * 1024)
    session_id = (await world.create(client))["session_id"]
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(stuck, ("127.0.0.1", int(world.url.rpartition(":")[2])))
    await loop.sock_sendall(stuck, f"GET {path_of(session_id)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await until(lambda: world.feed.readers == 1)
    async with stream(client, path_of(session_id)) as frames:
        await until(lambda: world.feed.readers == 2)
        names = [f"{number}-{'x' * 100}" for number in range(6000)]
        received: list[str] = []

        async def read() -> None:
            while len(received) < len(names):
                received.extend(identities(await take(frames, 1)))

        reading = asyncio.ensure_future(read())
        for first in range(0, len(names), 20):
            await join(world, session_id, *names[first : first + 20])
            await asyncio.sleep(0.001)
        async with asyncio.timeout(20):
            await reading
        assert received == names
    await until(lambda: b"greenroom_event_readers_cut_total 1.0" in world.metrics.exposition())
    stuck.close()


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("3:17", (3, 17)),
        (" 3:17 ", (3, 17)),
        ("3", (-1, 0)),
        ("a:1", (-1, 0)),
        ("1:-2", (-1, 0)),
        ("\uff11:2", (-1, 0)),
    ],
)
def test_positions_are_two_numbers(text: str, position: tuple[int, int]) -> None:
    assert parse_position(text) == position


def test_a_chunk_is_made_once_for_the_same_frames() -> None:
    shared, frames = SharedChunk(), b"data: x\n\n"
    assert shared.of(frames) is shared.of(frames)
    assert shared.of(frames) == b"9\r\ndata: x\n\n\r\n"
    assert shared.of(b"other") == b"5\r\nother\r\n"
