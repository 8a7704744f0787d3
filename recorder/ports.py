"""What recording needs from outside: a room's media, encoders, a clock, and an orchestrator to report to.

The stored side (ChunkStore, KeyRing) is `vault.ports`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NewType, Protocol

from recorder.core.chunking import TrackFormat, TrackKind
from recorder.core.fragments import Packet
from recorder.core.layout import Box
from recorder.core.quality import Quality
from recorder.core.states import RecordingState
from recorder.core.units import AccessUnit
from vault.core.ids import RecordingId
from vault.core.manifest import CaptureMode

SourceTrackId = NewType("SourceTrackId", str)
"""A track as the room names it; a track that is published again has another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTrack:
    """A track that a participant published.

    Attributes:
        identity: the participant's.
        name: the publication's name; the same identity, name and kind again is the same track, continued.
        is_encoded: it comes as units (`FrameSink.unit`), not as pictures or sound.
    """

    track_id: SourceTrackId
    kind: TrackKind
    identity: str
    name: str
    is_encoded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One decoded video frame, planar YUV 4:2:0 without padding.

    Attributes:
        arrival_us: monotonic time at which it came, microseconds.
        shown_us: monotonic time at which the receiver means it to be shown; None when it does not say.
        data: ``width * height`` bytes of luma, then both chroma planes, each dimension halved and rounded up.
    """

    arrival_us: int
    shown_us: int | None
    width: int
    height: int
    data: bytes | bytearray | memoryview = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A block of decoded audio: 48 kHz, two channels, signed 16 bit, interleaved.

    Attributes:
        arrival_us: monotonic time at which it came, microseconds.
        samples: per channel.
    """

    arrival_us: int
    samples: int
    data: bytes | bytearray | memoryview = field(repr=False)


class FrameSink(Protocol):
    """Takes what a source captures. Its methods are called in the event loop and never block.

    What cannot be taken (the encoder is behind) is dropped and counted, never waited for: the room does not
    wait either.
    """

    def track_started(self, track: SourceTrack) -> None:
        """A track begins; also one that is continued under a new id after a reconnect."""

    def picture(self, track_id: SourceTrackId, picture: Picture) -> None:
        """A frame of a video track that has started; one of an ended track is ignored."""

    def sound(self, track_id: SourceTrackId, sound: Sound) -> None:
        """A block of an audio track that has started; one of an ended track is ignored."""

    def unit(self, track_id: SourceTrackId, unit: AccessUnit) -> None:
        """An encoded picture or packet of sound of a track that has started."""

    def sender_reported(self, track_id: SourceTrackId, rtp_time: int, ntp_us: int) -> None:
        """A track's RTP time, counted on as its units', is this Unix time (us) on its publisher's clock."""

    def lost(self, track_id: SourceTrackId, packets: int) -> None:
        """So many packets of an encoded track never came."""

    def opened(self, identity: str, *, is_opened: bool) -> None:
        """A participant's end-to-end encrypted media opens with the key at hand, or does not, from now on."""

    def track_ended(self, track_id: SourceTrackId) -> None:
        """The track was unpublished, or its room's connection was lost; may be repeated."""


class TrackSource(Protocol):
    """The media of one room. Adapters: passthrough, decoded_tracks (LiveKit's SDK); fake: FakeTracks."""

    @property
    def mode(self) -> CaptureMode:
        """How the media is taken, as the manifest says it; may change while capturing."""

    async def capture(self, sink: FrameSink) -> None:
        """Hand everything to ``sink`` until cancelled or the room is closed; then every track has ended.

        Other recorders' tracks are left out. A lost connection ends the tracks; when the room is joined
        again they start again.

        Raises:
            RemovedFromRoomError: the media server put the recorder out.
            PassthroughUnfitError: this source does not take what the room or the network has.
        """

    def want_keyframes(self) -> None:
        """See that each video track soon gives something from which decoding can begin. Never waits."""


class LeavingSource(TrackSource, Protocol):
    """A source that leaves out tracks which it does not take. Adapter: passthrough; fake: tests/fakes."""

    on_left: Callable[[Mapping[SourceTrackId, str]], None]
    """Called with all tracks that are left out, and why, whenever there are others than before."""


class ChoosingSource(TrackSource, Protocol):
    """A source that can take some tracks only. Adapter: decoded_tracks; fake: tests/fakes."""

    def choose(self, track_ids: frozenset[SourceTrackId] | None) -> None:
        """Take these tracks only, beside another source, from now on; None: all, as at the beginning.

        From all to some and back only while nothing is captured.
        """


class RoomListener(Protocol):
    """Hears what happens in a room beside the media. Called in the event loop; never blocks."""

    def muted(self, track_id: SourceTrackId, *, is_muted: bool) -> None:
        """A track that has started says nothing, or shows nothing, for a while; or does again."""

    def speaking(self, identities: Sequence[str]) -> None:
        """These participants speak from now on, loudest first."""


class ListenedSource(TrackSource, Protocol):
    """A source that also tells what happens beside the media. Adapter: decoded_tracks; fake: tests/fakes."""

    listener: RoomListener | None
    """Who is told; nobody at first."""


@dataclass(frozen=True, slots=True)
class PlacedPicture:
    """A picture of a track, and where on a canvas it goes, scaled to the box."""

    track_id: SourceTrackId
    picture: Picture
    box: Box


class Canvas(Protocol):
    """Puts pictures together to one of a fixed size. Blocking; used by one thread at a time.

    Adapter: pyav_canvas; fake: tests/fakes.
    """

    def draw(self, placed: Sequence[PlacedPicture]) -> bytes:
        """Give the canvas with these pictures, black where there are none, as `Picture` holds it.

        A picture that cannot be scaled leaves its box black.
        """


class VideoEncoder(Protocol):
    """Encodes one size of picture. Blocking; used by one thread. Adapters: pyav_muxer, pyav_vpx."""

    @property
    def format(self) -> TrackFormat:
        """What players need to know; complete from the start."""

    def encode(self, picture: Picture, *, pts: int, is_keyframe: bool) -> list[Packet]:
        """Encode a picture of this encoder's size.

        Args:
            picture: what to encode.
            pts: ticks of VIDEO_TIME_BASE, at least a millisecond more than the one before. The packets'
                own times are ticks of the format's time base.
            is_keyframe: make it one from which decoding can begin.

        Raises:
            CaptureError: the encoder failed; it is of no further use.
        """

    def finish(self) -> list[Packet]:
        """Give what is still inside; the encoder is of no further use."""


class AudioEncoder(Protocol):
    """Encodes one track's sound. Blocking; used by one thread. Adapter: pyav_muxer."""

    @property
    def format(self) -> TrackFormat:
        """What players need to know; complete from the start."""

    def encode(self, data: bytes | bytearray | memoryview, *, pts: int) -> list[Packet]:
        """Encode samples (as in `Sound`) that stand at ``pts``, right after those of the call before.

        Raises:
            ValueError: they do not follow; after a hole another encoder is needed (the caller's mistake).
            CaptureError: the encoder failed; it is of no further use.
        """

    def finish(self) -> list[Packet]:
        """Give what is still inside; the encoder is of no further use."""


class Encoders(Protocol):
    """Makes encoders of one quality. Adapter: pyav_muxer."""

    @property
    def quality(self) -> Quality:
        """Limits of what they encode; those of time are kept by whoever hands pictures over."""

    def video(self, *, width: int, height: int) -> VideoEncoder:
        """Make an encoder for pictures of this size, both at least 16 pixels; it makes large ones smaller.

        Raises:
            CaptureError: this size cannot be encoded.
        """

    def audio(self) -> AudioEncoder:
        """Make an encoder for two channels at 48 kHz.

        Raises:
            CaptureError: the codec is not there.
        """


class SpoolShare(Protocol):
    """What one attempt has on this machine's disk, for one holder alone. Blocking; for several threads."""

    def keep(self, name: str, data: bytes) -> bool:
        """Store one file. When this is true, it survives a power cut; false: the share or the disk is full.

        Raises:
            StoreError: the disk refused.
        """

    def read(self, name: str) -> bytes:
        """The whole of one file.

        Raises:
            FileMissingError: there is none of this name.
            StoreError: the disk refused.
        """

    def drop(self, name: str) -> None:
        """Remove one file; one that is not there is no error.

        Raises:
            StoreError: the disk refused.
        """

    def names(self) -> list[str]:
        """Every file, in order of name, also what a `keep` that was cut short left.

        Raises:
            StoreError: the disk refused.
        """

    def release(self) -> None:
        """Let others have it; nothing is to be called afterwards. The end of the process does the same."""


class Spool(Protocol):
    """Keeps sealed chunks on this machine while the chunk store does not take them: ciphertext, no keys.

    Adapter: dir_spool.
    """

    def claim(self, recording_id: RecordingId, attempt: int) -> SpoolShare | None:
        """Take the share of one attempt; None while another process, or somebody else in this one, has it.

        Raises:
            StoreError: the disk refused.
        """

    def left_behind(self) -> list[tuple[RecordingId, int]]:
        """The attempts that have files here, whoever holds them.

        Raises:
            StoreError: the disk refused.
        """


class Clock(Protocol):
    """Time. Adapter: system_clock; fake: tests/fakes/clock.py."""

    def monotonic_us(self) -> int:
        """Microseconds that never go back; the clock of `Picture` and `Sound`."""

    def wall_us(self) -> int:
        """Unix time in microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a recording stands, as the orchestrator is told.

    Attributes:
        root: of the acknowledged tree, hex; empty before the first checkpoint, as is ``checkpoint``.
        stats: measured numbers.
        pauses: of the recording so far, in Unix microseconds; the one that goes on has no end.
        closes: (attempt, tree_size, root) of attempts closed since the last report.
        op: number of the last control that was carried out; 0 for none.
        detail: why it failed, one sentence.
    """

    state: RecordingState
    tree_size: int = 0
    root: str = ""
    checkpoint: str = ""
    stats: dict[str, float] = field(default_factory=dict)
    pauses: list[dict[str, Any]] = field(default_factory=list)
    closes: list[dict[str, Any]] = field(default_factory=list)
    op: int = 0
    detail: str = ""


class Reporter(Protocol):
    """Tells the orchestrator. Adapter: job_reports; fake: tests/fakes/reporter.py."""

    @property
    def is_in_touch(self) -> bool:
        """Whether the orchestrator counts this recorder as alive; asked from any thread.

        While it does not, another attempt may hold the recording, and nothing is to be acknowledged.
        """

    async def report(self, standing: Standing) -> None:
        """Deliver where the recording stands; returns when it is committed, or kept for delivery.

        Raises:
            StaleAttemptError: another attempt holds the recording; stop at once.
        """
