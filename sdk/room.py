"""The connection to a LiveKit room; the only file of the SDK that imports livekit.

LiveKit's refusals repeat the whole token, in the exception and in its own log. So no upstream text leaves
this file, and a filter on the logger `livekit` blackens whatever looks like a token.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Final

from livekit import rtc

from sdk.errors import RoomJoinError
from sdk.lifecycle import LeftBecause
from sdk.ports import Grant

Room = rtc.Room

_log = logging.getLogger("greenroom.sdk")
_TOKEN: Final = re.compile(r"eyJ[\w-]+\.[\w-]*\.?[\w-]*|(?<=access_token=)[^&\s\"']+")
_REMOVED: Final = frozenset(
    {rtc.DisconnectReason.DUPLICATE_IDENTITY, rtc.DisconnectReason.PARTICIPANT_REMOVED}
)
_CLOSED: Final = frozenset(
    {
        rtc.DisconnectReason.ROOM_DELETED,
        rtc.DisconnectReason.ROOM_CLOSED,
        rtc.DisconnectReason.CLIENT_INITIATED,  # the author's own `job.room.disconnect()`
    }
)


class LiveKitRoom:
    """One participant in one LiveKit room; a `RoomLink`. Make it inside the loop that will use it."""

    def __init__(self) -> None:
        self.on_left: Callable[[LeftBecause], None] | None = None
        self._room = rtc.Room()
        self._room.on("disconnected", self._disconnected)
        self._room.on("connection_state_changed", self._state_changed)
        self._told_of: asyncio.Task[None] | None = None  # the connection whose end is known
        self._left_because: LeftBecause | None = None
        self._is_ours = False  # the disconnect that comes next is one that we asked for
        self._given_up: set[asyncio.Task[None]] = set()
        hide_tokens()

    @property
    def room(self) -> rtc.Room:
        """LiveKit's own room object."""
        return self._room

    @property
    def is_connected(self) -> bool:
        """Whether the room is joined or being repaired by LiveKit's SDK."""
        return bool(self._room.isconnected())

    @property
    def left_because(self) -> LeftBecause | None:
        """Why the last connection ended by itself."""
        return self._left_because

    @property
    def refreshed_token(self) -> str | None:
        """The token that LiveKit refreshed last; its SDK keeps it without a public name for it."""
        token = getattr(self._room, "_token", None)
        return token if isinstance(token, str) else None

    async def connect(
        self, grant: Grant, *, timeout_s: float, auto_subscribe: bool = True, e2ee_key: str = ""
    ) -> None:
        """Join the room, or join it again with the same room object.

        Args:
            grant: what to join with.
            timeout_s: seconds for all of it.
            auto_subscribe: receive all tracks; else those that are subscribed to one by one.
            e2ee_key: the room's shared key, where its media is end-to-end encrypted.

        Raises:
            RoomJoinError: no room within ``timeout_s`` or a refused token.
        """
        until = asyncio.get_running_loop().time() + timeout_s
        if self._given_up:  # two joins of one room object at once would mix their participants
            await asyncio.wait(self._given_up, timeout=timeout_s)
            if self._given_up:
                raise RoomJoinError(f"an earlier join is still under way after {timeout_s:g} s")
        self._left_because = None
        self._is_ours = False
        # The SDK keeps those of the last connection, and panics when one of them is there again.
        self._room._remote_participants.clear()
        # LiveKit tries the signal connection four times, each with its own timeout
        options = rtc.RoomOptions(
            auto_subscribe=auto_subscribe, connect_timeout=timeout_s / 4, encryption=_encryption(e2ee_key)
        )
        joining = asyncio.create_task(self._room.connect(grant.livekit_url, grant.access_token, options))
        try:
            left_s = until - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait({joining}, timeout=max(0.0, left_s))
        except asyncio.CancelledError:
            self._give_up(joining)
            raise
        if not done:
            self._give_up(joining)
            raise RoomJoinError(f"the media server did not let us in within {timeout_s:g} s")
        text = _failure(joining)
        if text is not None:
            raise _join_error(text)

    async def disconnect(self, *, timeout_s: float) -> None:
        """Leave the room, within ``timeout_s``."""
        self._is_ours = True
        if not self.is_connected:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._room.disconnect()
        except TimeoutError:
            _log.warning("the media server did not confirm within %g s that we left", timeout_s)

    def _state_changed(self, state: rtc.ConnectionState.ValueType) -> None:
        """Learn of an author's own `disconnect` although LiveKit's SDK sometimes closes before it says so."""
        listening = self._listening()
        if state == rtc.ConnectionState.CONN_DISCONNECTED and listening is not None:
            listening.add_done_callback(self._ended)

    def _ended(self, listening: asyncio.Task[None]) -> None:
        if self._told_of is not listening:
            self._disconnected(rtc.DisconnectReason.CLIENT_INITIATED)

    def _listening(self) -> asyncio.Task[None] | None:
        """Give the task that passes on the connection's events; the SDK has no public name for it."""
        task = getattr(self._room, "_task", None)
        return task if isinstance(task, asyncio.Task) else None

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self._told_of = self._listening()
        if self._is_ours:
            return
        if reason in _REMOVED:
            self._left_because = LeftBecause.REMOVED
        elif reason in _CLOSED:
            self._left_because = LeftBecause.CLOSED
        else:
            self._left_because = LeftBecause.LOST
        if self.on_left is not None:
            self.on_left(self._left_because)

    def _give_up(self, joining: asyncio.Task[None]) -> None:
        """Let an abandoned join come to its end; cancelling it would leave a participant in the room."""
        self._is_ours = True
        self._given_up.add(joining)
        joining.add_done_callback(self._undo)

    def _undo(self, joining: asyncio.Task[None]) -> None:
        if _failure(joining) is None:
            leaving = asyncio.get_running_loop().create_task(self.disconnect(timeout_s=5.0))
            self._given_up.add(leaving)
            leaving.add_done_callback(self._given_up.discard)
        self._given_up.discard(joining)


def _encryption(key: str) -> rtc.E2EEOptions | None:
    if not key:
        return None
    return rtc.E2EEOptions(key_provider_options=rtc.KeyProviderOptions(shared_key=key.encode()))


class _TokenFilter(logging.Filter):
    """Blackens tokens in what LiveKit's SDK logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        hidden = _TOKEN.sub("(token)", text)
        if hidden != text:
            record.msg, record.args = hidden, ()
        return True


_filter: Final = _TokenFilter()


def hide_tokens() -> None:
    """Keep tokens out of LiveKit's log, from now on, wherever it is written to."""
    logging.getLogger("livekit").addFilter(_filter)  # adding it twice changes nothing


def _failure(joining: asyncio.Task[None]) -> str | None:
    """Give the upstream text of a failed join (never to be shown), or None when it succeeded."""
    if joining.cancelled():
        return "cancelled"
    error = joining.exception()
    if error is None:
        return None
    return str(getattr(error, "message", error)) or type(error).__name__


def _join_error(text: str) -> RoomJoinError:
    """Say in our words what LiveKit's text means; the text itself may hold the token."""
    if re.search(r"\b40[13]\b", text):
        return RoomJoinError("the media server refused the token", refused=True)
    if re.search(r"\b404\b", text):
        return RoomJoinError("the media server does not know the room")
    return RoomJoinError("the media server cannot be reached or did not let us in")
