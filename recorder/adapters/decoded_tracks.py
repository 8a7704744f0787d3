"""The tracks of a LiveKit room as the livekit SDK decodes them; nothing else here imports livekit.

The SDK hands frames to queues of its own, which this file empties as fast as the event loop turns. They hold
one second of pictures and two of sound; only an event loop that stood still for longer loses more, unseen.

Source: livekit-facts 9 and 16.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from livekit import rtc

from recorder.core.chunking import TrackKind
from recorder.core.errors import E2eeKeyMissingError, PassthroughUnfitError, RemovedFromRoomError
from recorder.core.timeline import AUDIO_RATE_HZ
from recorder.ports import Clock, FrameSink, Picture, RoomListener, Sound, SourceTrack, SourceTrackId
from recorder.service.sealed_tracks import SealedTracks
from sdk.errors import JobEndedError, RoomJoinError, UnavailableError
from sdk.lifecycle import LeftBecause
from sdk.ports import Grant
from sdk.room import LiveKitRoom
from sdk.wire import ATTRIBUTE_SERVICE, RECORDER_SERVICE
from vault.core.manifest import CaptureMode

EVERY_KIND: Final[frozenset[TrackKind]] = frozenset({"audio", "video"})
SOUND_ALONE: Final[frozenset[TrackKind]] = frozenset({"audio"})
_TOLD: Final[dict[int, bool]] = {  # whether a participant's media opens
    rtc.EncryptionState.OK: True,
    rtc.EncryptionState.DECRYPTION_FAILED: False,
    rtc.EncryptionState.MISSING_KEY: False,
}
_MAX_PICTURES: Final = 30
_MAX_SOUNDS: Final = 200
_CHANNELS: Final = 2
_CLOSE_S: Final = 2.0
_CONNECT_S: Final = 10.0
_PAUSE_S: Final = 0.5
_STATS_S: Final = 2.0

_log = logging.getLogger("greenroom.recorder")


class DecodedRoom:
    """A `TrackSource` that joins a room by itself, and again when the connection is lost.

    Args:
        grant: gives the media server's URL and a fresh token for the room.
        clock: for arrival times.
        kinds: of the tracks that are taken; others are not even subscribed to.
        e2ee_key: gives the key of the room's end-to-end encryption; "" when there is none.
    """

    def __init__(
        self,
        grant: Callable[[], Awaitable[Grant]],
        clock: Clock,
        *,
        kinds: frozenset[TrackKind] = EVERY_KIND,
        e2ee_key: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.listener: RoomListener | None = None
        self._grant = grant
        self._clock = clock
        self._kinds = kinds
        self._e2ee_key = e2ee_key
        self._chosen: frozenset[SourceTrackId] | None = None
        self._tracks: DecodedTracks | None = None

    def choose(self, track_ids: frozenset[SourceTrackId] | None) -> None:
        """Take these tracks only, as a second participant; None: all."""
        self._chosen = track_ids
        if self._tracks is not None and track_ids is not None:
            self._tracks.choose(track_ids)

    @property
    def mode(self) -> CaptureMode:
        """Frames are decoded and encoded again."""
        return "decoded"

    def want_keyframes(self) -> None:
        """Do nothing: each picture that was decoded can be encoded as a keyframe."""

    async def capture(self, sink: FrameSink) -> None:
        """Hand over all tracks until cancelled, or until the room is closed.

        Raises:
            RemovedFromRoomError: the media server put us out.
            E2eeKeyMissingError: a track is encrypted, and there is no key.
            PassthroughUnfitError: some tracks are chosen, and there is no token for a second participant.
        """
        e2ee_key = "" if self._e2ee_key is None else await self._e2ee_key()
        while True:
            link = LiveKitRoom()
            try:
                grant = await self._grant()
                if self._chosen is not None:
                    if not grant.second_token:
                        raise PassthroughUnfitError("there is no token for a second connection")
                    grant = replace(grant, access_token=grant.second_token)
                await link.connect(
                    grant, timeout_s=_CONNECT_S, auto_subscribe=self._takes_all, e2ee_key=e2ee_key
                )
            except (RoomJoinError, UnavailableError) as error:
                _log.warning("recording connection: %s", error)
            except JobEndedError:
                return
            else:
                match await self._stay(link, sink, has_key=bool(e2ee_key)):
                    case LeftBecause.CLOSED:
                        return
                    case LeftBecause.REMOVED:
                        raise RemovedFromRoomError("the media server removed the recorder from the room")
                    case _:
                        pass
            await asyncio.sleep(_PAUSE_S)

    @property
    def _takes_all(self) -> bool:
        return self._chosen is None and self._kinds == EVERY_KIND

    async def _stay(self, link: LiveKitRoom, sink: FrameSink, *, has_key: bool) -> LeftBecause | None:
        left = asyncio.Event()
        link.on_left = lambda _because: left.set()
        if not link.is_connected:
            return link.left_because
        self._tracks = DecodedTracks(
            link.room,
            self._clock,
            chosen=self._chosen,
            kinds=self._kinds,
            listener=self.listener,
            has_key=has_key,
        )
        capturing = asyncio.create_task(self._tracks.capture(sink))
        leaving = asyncio.create_task(left.wait())
        try:
            await asyncio.wait({capturing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (capturing, leaving):
                task.cancel()
            await asyncio.wait({capturing, leaving})
            self._tracks = None
            await link.disconnect(timeout_s=_CLOSE_S)
        if not capturing.cancelled() and (error := capturing.exception()) is not None:
            raise error
        return link.left_because


class DecodedTracks:
    """The tracks of a room that is joined.

    Args:
        room: subscribes to everything by itself if all is wanted.
        clock: for arrival times.
        chosen: the tracks to subscribe to; see `choose`. None: all of these kinds.
        kinds: of the tracks to subscribe to.
        listener: told of mutes and of who speaks.
        has_key: encrypted tracks can be opened.
    """

    def __init__(
        self,
        room: rtc.Room,
        clock: Clock,
        *,
        chosen: frozenset[SourceTrackId] | None = None,
        kinds: frozenset[TrackKind] = EVERY_KIND,
        listener: RoomListener | None = None,
        has_key: bool = False,
    ) -> None:
        self._room = room
        self._clock = clock
        self._chosen = chosen
        self._kinds = kinds
        self._listener = listener
        self._has_key = has_key
        self._sealed: SealedTracks | None = None  # of the sink
        self._locked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: dict[SourceTrackId, asyncio.Task[None]] = {}

    def choose(self, track_ids: frozenset[SourceTrackId]) -> None:
        """Subscribe to these tracks, as soon as they are there, and to no others."""
        self._chosen = track_ids
        for who in self._room.remote_participants.values():
            for publication in who.track_publications.values():
                self._subscribe(publication)

    def _subscribe(self, publication: rtc.RemoteTrackPublication) -> None:
        if self._chosen is None and self._kinds == EVERY_KIND:
            return
        is_wanted = _kind(publication.kind) in self._kinds
        if self._chosen is not None:
            is_wanted = is_wanted and publication.sid in self._chosen
        if is_wanted != publication.subscribed:
            publication.set_subscribed(is_wanted)

    async def capture(self, sink: FrameSink) -> None:
        """Hand over all tracks that there are and that come, until cancelled.

        Raises:
            E2eeKeyMissingError: one is encrypted, and there is no key.
        """

        def published(publication: rtc.RemoteTrackPublication, _who: rtc.RemoteParticipant) -> None:
            self._subscribe(publication)

        def subscribed(
            track: rtc.Track, publication: rtc.RemoteTrackPublication, who: rtc.RemoteParticipant
        ) -> None:
            self._begin(sink, track, publication, who)

        def unsubscribed(
            _track: rtc.Track, publication: rtc.RemoteTrackPublication, _who: rtc.RemoteParticipant
        ) -> None:
            self._end(sink, publication.sid)

        def disconnected(_reason: object) -> None:
            self._end_all(sink)

        def muted(_who: rtc.Participant, publication: rtc.TrackPublication) -> None:
            self._tell_muted(publication, is_muted=True)

        def unmuted(_who: rtc.Participant, publication: rtc.TrackPublication) -> None:
            self._tell_muted(publication, is_muted=False)

        def speaking(speakers: list[rtc.Participant]) -> None:
            if self._listener is not None:
                self._listener.speaking([who.identity for who in speakers])

        def cryptor(who: rtc.Participant, state: rtc.EncryptionState.ValueType) -> None:
            if state in _TOLD:
                sealed.told(who.identity, is_opened=_TOLD[state])

        sealed = self._sealed = SealedTracks(sink)
        heard: dict[Any, Callable[..., None]] = {
            "track_published": published,
            "track_subscribed": subscribed,
            "track_unsubscribed": unsubscribed,
            "disconnected": disconnected,
            "track_muted": muted,
            "track_unmuted": unmuted,
            "active_speakers_changed": speaking,
            "e2ee_state_changed": cryptor,
        }
        for event, hear in heard.items():
            self._room.on(event, hear)
        watching = asyncio.create_task(sealed.watch(), name="sealed tracks")
        try:
            for who in list(self._room.remote_participants.values()):
                for publication in list(who.track_publications.values()):
                    self._subscribe(publication)
                    if publication.track is not None:
                        self._begin(sink, publication.track, publication, who)
            await self._locked
        finally:
            for event, hear in heard.items():
                self._room.off(event, hear)
            tasks = [watching, *self._tasks.values()]
            watching.cancel()
            self._end_all(sink)
            await asyncio.wait(tasks, timeout=2 * _CLOSE_S)

    def _begin(
        self,
        sink: FrameSink,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        who: rtc.RemoteParticipant,
    ) -> None:
        if who.attributes.get(ATTRIBUTE_SERVICE) == RECORDER_SERVICE:
            return
        track_id = SourceTrackId(publication.sid)
        if track_id in self._tasks:
            return
        if publication.encryption_type != rtc.EncryptionType.NONE and not self._has_key:
            if not self._locked.done():
                self._locked.set_exception(
                    E2eeKeyMissingError(f"e2ee_key_missing: track {track_id} is end-to-end encrypted")
                )
            return
        if publication.encryption_type != rtc.EncryptionType.NONE and self._sealed is not None:
            self._sealed.begin(track_id, who.identity, partial(_packets_of, track))
        kind = _kind(track.kind)
        sink.track_started(
            SourceTrack(
                track_id=track_id,
                kind=kind,
                identity=who.identity,
                name=publication.name or _source(publication),
            )
        )
        if publication.muted:
            self._tell_muted(publication, is_muted=True)
        reading = self._read_video if kind == "video" else self._read_audio
        task = asyncio.create_task(reading(sink, track_id, track), name=f"track {track_id}")
        self._tasks[track_id] = task
        task.add_done_callback(lambda done: self._note(sink, track_id, done))

    def _tell_muted(self, publication: rtc.TrackPublication, *, is_muted: bool) -> None:
        track_id = SourceTrackId(publication.sid)
        if self._listener is not None:
            self._listener.muted(track_id, is_muted=is_muted)

    def _end(self, sink: FrameSink, track_id: str) -> None:
        if self._sealed is not None:
            self._sealed.end(SourceTrackId(track_id))
        task = self._tasks.pop(SourceTrackId(track_id), None)
        if task is not None:
            task.cancel()
        sink.track_ended(SourceTrackId(track_id))

    def _end_all(self, sink: FrameSink) -> None:
        for track_id in list(self._tasks):
            self._end(sink, track_id)

    def _note(self, sink: FrameSink, track_id: SourceTrackId, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("track %s is no longer captured", track_id, exc_info=error)
        if self._tasks.get(track_id) is task:
            self._end(sink, track_id)

    async def _read_video(self, sink: FrameSink, track_id: SourceTrackId, track: rtc.Track) -> None:
        stream = rtc.VideoStream(track, capacity=_MAX_PICTURES, format=rtc.VideoBufferType.I420)
        try:
            async for event in stream:
                frame = event.frame
                sink.picture(
                    track_id,
                    Picture(
                        arrival_us=self._clock.monotonic_us(),
                        shown_us=event.timestamp_us,
                        width=frame.width,
                        height=frame.height,
                        data=frame.data,
                    ),
                )
        finally:
            await _close(stream)

    async def _read_audio(self, sink: FrameSink, track_id: SourceTrackId, track: rtc.Track) -> None:
        stream = rtc.AudioStream(
            track, capacity=_MAX_SOUNDS, sample_rate=AUDIO_RATE_HZ, num_channels=_CHANNELS
        )
        try:
            async for event in stream:
                frame = event.frame
                sink.sound(
                    track_id,
                    Sound(
                        arrival_us=self._clock.monotonic_us(),
                        samples=frame.samples_per_channel,
                        data=frame.data.cast("B"),
                    ),
                )
        finally:
            await _close(stream)


def _kind(kind: rtc.TrackKind.ValueType) -> TrackKind:
    return "video" if kind == rtc.TrackKind.KIND_VIDEO else "audio"


def _source(publication: rtc.RemoteTrackPublication) -> str:
    name: str = rtc.TrackSource.Name(publication.source)
    return name.removeprefix("SOURCE_").lower()


async def _packets_of(track: rtc.Track) -> int:
    """Count the packets that came of a track; 0 when the SDK does not say."""
    try:
        async with asyncio.timeout(_STATS_S):
            told = await track.get_stats()
    except Exception as error:  # noqa: BLE001 - the SDK raises nothing more special
        _log.warning("the media SDK gave no statistics of track %s: %s", track.sid, error)
        return 0
    return max((one.inbound_rtp.received.packets_received for one in told), default=0)


async def _close(stream: Any) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await stream.aclose()
    except TimeoutError:
        _log.warning("the media SDK did not close a stream within %g s", _CLOSE_S)
