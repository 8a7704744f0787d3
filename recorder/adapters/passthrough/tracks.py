"""The tracks of a LiveKit room as they are sent: encoded, not decoded. A `TrackSource`.

Source: recording.md §1 (What passthrough has to know).
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from livekit.protocol import models

from recorder.adapters.passthrough.answer import Offer
from recorder.adapters.passthrough.signalling import SUBSCRIBER, Signalling, SignallingError, joined
from recorder.adapters.passthrough.streams import ReceivedStreams
from recorder.adapters.passthrough.transport import MediaTransport, NoMediaPathError
from recorder.core.errors import PassthroughUnfitError, RemovedFromRoomError
from recorder.ports import Clock, FrameSink, SourceTrack, SourceTrackId
from sdk.errors import JobEndedError, UnavailableError
from sdk.ports import Grant
from sdk.wire import ATTRIBUTE_SERVICE, RECORDER_SERVICE
from vault.core.manifest import CaptureMode

_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 0.25, 2.0
_TAKEN: Final = frozenset({"video/h264", "video/vp8", "audio/opus", "audio/red", ""})
_CLOSED: Final = frozenset({models.DisconnectReason.ROOM_DELETED, models.DisconnectReason.ROOM_CLOSED})
_REMOVED: Final = frozenset(
    {models.DisconnectReason.DUPLICATE_IDENTITY, models.DisconnectReason.PARTICIPANT_REMOVED}
)

_log = logging.getLogger("greenroom.recorder")


class PassthroughTracks:
    """Joins a room by itself, and again when the connection is lost.

    Args:
        grant: gives the media server's URL and a fresh token for the room.
        clock: for arrival times.
        keyframe_interval_s: how often a keyframe is asked for where none comes by itself.
    """

    def __init__(
        self, grant: Callable[[], Awaitable[Grant]], clock: Clock, *, keyframe_interval_s: float
    ) -> None:
        self._grant = grant
        self._clock = clock
        self._keyframe_us = int(keyframe_interval_s * 1_000_000)
        self._visit: _Visit | None = None
        self._left: Mapping[SourceTrackId, str] = {}
        self.on_left: Callable[[Mapping[SourceTrackId, str]], None] = lambda _: None

    @property
    def mode(self) -> CaptureMode:
        """Encoded media is taken as it is."""
        return "passthrough"

    def want_keyframes(self) -> None:
        """Ask the publishers; repeated until each has sent one."""
        if self._visit is not None:
            self._visit.want_keyframes()

    async def capture(self, sink: FrameSink) -> None:
        """Hand over all tracks until cancelled, or until the room is closed.

        Raises:
            PassthroughUnfitError: the network needs the decoded way.
            RemovedFromRoomError: the media server put us out.
        """
        pause_s = _FIRST_BACKOFF_S
        while True:
            visit = self._visit = _Visit(sink, self._clock, self._keyframe_us, self._leave)
            try:
                grant = await self._grant()
                async with joined(grant.livekit_url, grant.access_token) as signalling:
                    pause_s = _FIRST_BACKOFF_S
                    if await visit.stay(signalling, is_loopback=_is_loopback(grant.livekit_url)):
                        return
            except UnavailableError as error:
                _log.warning("no token for the recording connection: %s", error)
            except JobEndedError:
                return
            except SignallingError as error:
                _log.warning("recording connection: %s", error)
            except NoMediaPathError as error:
                if not visit.had_media:
                    raise PassthroughUnfitError(str(error)) from error
                _log.warning("recording connection: %s", error)
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            pause_s = min(pause_s * 2, _LAST_BACKOFF_S)

    def _leave(self, left: Mapping[SourceTrackId, str]) -> None:
        if left != self._left:
            self._left = dict(left)
            self.on_left(self._left)


class _Visit:
    """One stay in the room: from a join to the loss of its connection."""

    def __init__(
        self,
        sink: FrameSink,
        clock: Clock,
        keyframe_us: int,
        on_left: Callable[[Mapping[SourceTrackId, str]], None],
    ) -> None:
        self._sink = sink
        self._on_left = on_left
        self._streams = ReceivedStreams(
            sink,
            clock,
            keyframe_us=keyframe_us,
            send=lambda compound: self._transport.send_rtcp(compound),
        )
        self._transport = MediaTransport(
            on_rtp=self._streams.rtp,
            on_rtcp=self._streams.rtcp,
            on_batch=self._streams.after_batch,
            on_closed=lambda: self._lost.set(),
        )
        self._lost = asyncio.Event()
        self._published: dict[str, tuple[Any, Any]] = {}  # track sid -> (participant, track info)
        self._live: set[SourceTrackId] = set()
        self._offers: asyncio.Queue[tuple[Offer, int]] = asyncio.Queue(64)
        self._left: dict[SourceTrackId, str] = {}  # tracks that are not taken, and why
        self._unfit = ""

    @property
    def had_media(self) -> bool:
        """Whether anything came."""
        return self._streams.had_media

    async def stay(self, signalling: Signalling, *, is_loopback: bool) -> bool:
        """Receive until something ends it; True when the room is closed for good."""
        self._note(signalling.join.other_participants)
        try:
            await self._transport.gather(is_loopback=is_loopback)
            tasks = [
                asyncio.create_task(work)
                for work in (
                    self._listen(signalling),
                    self._negotiate(signalling),
                    signalling.ping_for_ever(),
                    self._wait_for_loss(),
                )
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            return any([task.result() is True for task in done])  # noqa: C419 - every task's error is raised
        finally:
            for track_id in list(self._live):
                self._end(track_id)
            await self._transport.close()

    def want_keyframes(self) -> None:
        """Ask for a keyframe of each video track at once."""
        self._streams.want_keyframes()

    # --- signalling ---

    async def _listen(self, signalling: Signalling) -> bool:
        async for message in signalling.messages():
            match message.WhichOneof("message"):
                case "offer":
                    self._offers.put_nowait((Offer(message.offer.sdp), message.offer.id))
                case "trickle" if message.trickle.target == SUBSCRIBER:
                    line = str(json.loads(message.trickle.candidateInit).get("candidate", ""))
                    await self._transport.add_candidate(line)
                case "update":
                    self._note(message.update.participants)
                case "leave":
                    if message.leave.reason in _REMOVED:
                        raise RemovedFromRoomError("the media server removed the recorder from the room")
                    return message.leave.reason in _CLOSED
                case _:
                    pass
        return False

    async def _negotiate(self, signalling: Signalling) -> None:
        connecting: asyncio.Task[None] | None = None
        try:
            while True:
                offer, number = await self._offers.get()
                for line in offer.candidates:
                    await self._transport.add_candidate(line)
                await signalling.answer(self._transport.answer(offer), number)
                if connecting is None:
                    connecting = asyncio.create_task(self._connect(offer))
                self._streams.codecs.update(offer.codecs())
                if unwanted := [one.sid for one in offer.tracks() if SourceTrackId(one.sid) in self._left]:
                    await signalling.decline(unwanted)
                fresh = self._compare(offer)
                if fresh:
                    await signalling.want_best(fresh)
        finally:
            if connecting is not None:
                connecting.cancel()
                await asyncio.wait({connecting})

    async def _connect(self, offer: Offer) -> None:
        try:
            await self._transport.connect(offer)
        except NoMediaPathError as error:
            self._unfit = str(error)
            self._lost.set()

    async def _wait_for_loss(self) -> None:
        await self._lost.wait()
        if self._unfit:
            raise NoMediaPathError(self._unfit)

    def _note(self, participants: Any) -> None:
        """Take note of who publishes what."""
        for who in participants:
            is_gone = who.state == models.ParticipantInfo.DISCONNECTED
            is_recorder = who.attributes.get(ATTRIBUTE_SERVICE) == RECORDER_SERVICE
            sids = {info.sid for info in who.tracks}
            for sid, (owner, _) in list(self._published.items()):
                if owner.sid == who.sid and (is_gone or sid not in sids):
                    del self._published[sid]
                    self._left.pop(SourceTrackId(sid), None)
                    self._end(SourceTrackId(sid))
            if is_gone or is_recorder:
                continue
            for info in who.tracks:
                self._published[info.sid] = (who, info)
                if why := _why_not(info):
                    self._left[SourceTrackId(info.sid)] = why
                    self._end(SourceTrackId(info.sid))
        self._on_left(self._left)

    def _compare(self, offer: Offer) -> list[str]:
        """Begin and end tracks as an offer says; give the video tracks that are new."""
        offered = {}
        for one in offer.tracks():
            if one.sid in self._published and SourceTrackId(one.sid) not in self._left:
                offered[SourceTrackId(one.sid)] = one
        for track_id in self._live - offered.keys():
            self._end(track_id)
        fresh = []
        for track_id, one in offered.items():
            if track_id in self._live:
                continue
            who, info = self._published[track_id]
            is_video = one.kind == "video"
            self._streams.add(track_id, one.ssrcs)
            self._live.add(track_id)
            self._sink.track_started(
                SourceTrack(
                    track_id=track_id,
                    kind="video" if is_video else "audio",
                    identity=who.identity,
                    name=info.name or models.TrackSource.Name(info.source).lower(),
                    is_encoded=True,
                )
            )
            if is_video:
                fresh.append(str(track_id))
        return fresh

    def _end(self, track_id: SourceTrackId) -> None:
        self._streams.remove(track_id)
        if track_id in self._live:
            self._live.discard(track_id)
            self._sink.track_ended(track_id)


def _why_not(info: Any) -> str:
    """Say why a track is not taken as it is; nothing when it is."""
    if info.encryption != models.Encryption.NONE:
        return "is end-to-end encrypted"
    if info.mime_type.lower() not in _TAKEN:
        return f"comes as {info.mime_type}"
    return ""


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"
