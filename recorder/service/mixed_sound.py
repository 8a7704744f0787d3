"""The mix of a room's sound as one track: takes blocks as they come, gives blocks on an even clock."""

from __future__ import annotations

from typing import Final

from recorder.core.mixing import STEP_SAMPLES, Mixer, VoiceId
from recorder.core.timeline import AUDIO_RATE_HZ
from recorder.ports import Sound, SourceTrackId

BLOCK_STEPS: Final = 4  # 20 ms
_BLOCK_SAMPLES: Final = BLOCK_STEPS * STEP_SAMPLES


class MixedSound:
    """Begins with the first block that comes; what no track fills from then on is silence."""

    def __init__(self, *, latency_us: int) -> None:
        """Make one; ``latency_us``: how long a block is waited for, microseconds."""
        self._latency_us = latency_us
        self._mixer = Mixer()
        self._began_us: int | None = None

    @property
    def has_begun(self) -> bool:
        """Whether any sound has come."""
        return self._began_us is not None

    @property
    def late_s(self) -> float:
        """Seconds of sound that came too late to be mixed."""
        return self._mixer.late_samples / AUDIO_RATE_HZ

    def add(self, track_id: SourceTrackId, sound: Sound) -> None:
        """Take a block of a track."""
        if self._began_us is None:
            self._began_us = sound.arrival_us - sound.samples * 1_000_000 // AUDIO_RATE_HZ
        arrival_us = sound.arrival_us - self._began_us
        self._mixer.add(VoiceId(track_id), sound.data, arrival_us=arrival_us)

    def end(self, track_id: SourceTrackId) -> None:
        """The track is over."""
        self._mixer.end(VoiceId(track_id))

    def take(self, now_us: int, *, is_last: bool = False) -> list[Sound]:
        """Give the blocks that are due.

        Args:
            now_us: monotonic time.
            is_last: nothing more will come, so nothing is waited for.
        """
        if self._began_us is None:
            return []
        latency_us = 0 if is_last else self._latency_us
        until = (now_us - latency_us - self._began_us) * AUDIO_RATE_HZ // 1_000_000
        blocks = []
        while until - self._mixer.taken >= _BLOCK_SAMPLES:
            data = self._mixer.take(BLOCK_STEPS).tobytes()
            arrival_us = self._began_us + self._mixer.taken * 1_000_000 // AUDIO_RATE_HZ
            blocks.append(Sound(arrival_us=arrival_us, samples=_BLOCK_SAMPLES, data=data))
        return blocks
