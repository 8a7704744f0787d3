"""What a client says of recordings: start, pause, resume, stop, and how one stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec

T = TypeVar("T")
RecordingMode = Literal["passthrough", "tracks", "composite", "audio"]
RecordingQuality = Literal["low", "medium", "high", "ultra"]
RecordingFormat = Literal["mp4", "webm", "mkv"]
RecordingLayout = Literal["grid", "speaker"]


class RecordingCalls(ABC):
    """The recording part of `Client`. Every call gives the recording as it stands: `recording_id`,
    `recording_status`, `pending`, `statistics`, `earlier_recordings`.
    """

    async def record_start(
        self,
        session_id: str,
        *,
        mode: RecordingMode | None = None,
        quality: RecordingQuality | None = None,
        format: RecordingFormat | None = None,  # noqa: A002 - the wire's word
        layout: RecordingLayout | None = None,
        e2ee_key: str | None = None,
    ) -> dict[str, Any]:
        """Record a session; while a recording runs, that one is the answer.

        Args:
            session_id: whose; it must be live.
            mode: how the media is taken; None as the orchestrator's setting says, as with the others.
            quality: limits of what the recorder encodes.
            format: container of what it encodes, and of exports.
            layout: of a composite.
            e2ee_key: the room's shared key, where its media is end-to-end encrypted.

        Raises:
            NotFoundError: there is no such session.
            ConflictError: the session is over, its recording is being stopped, or is taken otherwise.
        """
        asked = {"mode": mode, "quality": quality, "format": format, "layout": layout, "e2ee_key": e2ee_key}
        given = {name: word for name, word in asked.items() if word is not None}
        return await self._record("start", session_id, **given)

    async def record_pause(self, session_id: str) -> dict[str, Any]:
        """Have nothing more written; `pending` is "pause" until the recorder has said so.

        Raises:
            NotFoundError: there is no such session.
            ConflictError: nothing is being recorded.
        """
        return await self._record("pause", session_id)

    async def record_resume(self, session_id: str) -> dict[str, Any]:
        """Go on with a recording that was paused.

        Raises:
            NotFoundError: there is no such session.
            ConflictError: nothing is being recorded.
        """
        return await self._record("resume", session_id)

    async def record_stop(self, session_id: str) -> dict[str, Any]:
        """Stop the capture; the recording is completed while the session goes on.

        Raises:
            NotFoundError: there is no such session.
            ConflictError: the session has no recording.
        """
        return await self._record("stop", session_id)

    async def record_status(self, session_id: str) -> dict[str, Any]:
        """Give the session's recording; `recording_status` is "idle" where there is none.

        Raises:
            NotFoundError: there is no such session.
        """
        if not session_id:
            raise ValueError("session_id must not be empty")
        path = f"/api/v1/record/status/{quote(session_id, safe='')}"
        return await self._call("GET", path, dict[str, Any])

    async def _record(self, op: str, session_id: str, **fields: str) -> dict[str, Any]:
        body = msgspec.json.encode({"session_id": session_id, **fields})
        return await self._call("POST", f"/api/v1/record/{op}", dict[str, Any], body=body, is_keyed=True)

    @abstractmethod
    async def _call(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        shape: type[T],
        *,
        body: bytes | None = None,
        timeout_s: float | None = None,
        is_keyed: bool = False,
    ) -> T:
        """Make one call, tried again as `Client` says."""
