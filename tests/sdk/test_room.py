"""What the adapter makes of LiveKit's words; how it behaves is in tests/contracts/test_worker_room.py."""

from __future__ import annotations

import asyncio
import logging

import pytest
from livekit import rtc

from sdk.lifecycle import LeftBecause
from sdk.room import LiveKitRoom, _join_error, hide_tokens

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl-_x"


@pytest.mark.parametrize(
    "text",
    [
        f"client error: 401 Unauthorized - invalid token: {TOKEN}, error: token signature is invalid",
        f"connecting to ws://x/rtc?access_token={TOKEN}&auto_subscribe=1",
        "connecting to ws://x/rtc?access_token=opaque-token&auto_subscribe=1",
    ],
)
def test_tokens_are_blackened_in_livekits_log(text: str, caplog: pytest.LogCaptureFixture) -> None:
    hide_tokens()
    hide_tokens()
    with caplog.at_level(logging.DEBUG, logger="livekit"):
        logging.getLogger("livekit").warning("%s", text)
        logging.getLogger("livekit").warning(text)
    assert "(token)" in caplog.text
    assert TOKEN not in caplog.text
    assert "opaque-token" not in caplog.text


def test_other_words_stay(caplog: pytest.LogCaptureFixture) -> None:
    hide_tokens()
    with caplog.at_level(logging.DEBUG, logger="livekit"):
        logging.getLogger("livekit").info("connection setup took %d ms", 76)
    assert "connection setup took 76 ms" in caplog.text


@pytest.mark.parametrize(
    ("text", "words", "is_refused"),
    [
        (f"401 Unauthorized - invalid token: {TOKEN}", "refused the token", True),
        ("403 Forbidden", "refused the token", True),
        ("404 Not Found - requested room does not exist", "does not know the room", False),
        ("IO error: Connection refused (os error 111)", "cannot be reached", False),
    ],
)
def test_a_failed_join_is_said_in_our_words(text: str, words: str, *, is_refused: bool) -> None:
    error = _join_error(text)
    assert words in str(error)
    assert error.refused is is_refused
    assert TOKEN not in str(error)


@pytest.mark.parametrize("is_told", [True, False])
async def test_the_end_of_a_connection_is_told_once(*, is_told: bool) -> None:
    """LiveKit's SDK leaves out `disconnected` now and then when the author disconnects."""
    link, heard, over = LiveKitRoom(), list[LeftBecause](), asyncio.Event()
    link.on_left = heard.append
    link.room._task = asyncio.create_task(over.wait())  # type: ignore[arg-type]
    link.room.emit("connection_state_changed", rtc.ConnectionState.CONN_DISCONNECTED)
    if is_told:
        link.room.emit("disconnected", rtc.DisconnectReason.PARTICIPANT_REMOVED)
    assert heard == [LeftBecause.REMOVED] * is_told
    over.set()
    await link.room._task
    await asyncio.sleep(0)
    assert heard == [LeftBecause.REMOVED if is_told else LeftBecause.CLOSED]
