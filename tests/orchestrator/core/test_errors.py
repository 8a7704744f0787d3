"""Errors: the tree that callers rely on, and the sentences that carry a value."""

from __future__ import annotations

import re

from orchestrator.core import errors


def test_every_error_stands_in_the_tree_at_the_top_of_the_file() -> None:
    classes = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.OrchestratorError)
    }
    drawn = set(re.findall(r"\w+Error\b", errors.__doc__ or ""))
    assert {cls.__name__ for cls in classes} == drawn


def test_a_room_server_that_does_not_answer_is_a_room_server_error() -> None:
    assert issubclass(errors.RoomServerUnavailableError, errors.RoomServerError)


def test_sentences_name_the_value_and_the_fix() -> None:
    assert str(errors.SessionNotFoundError("s1")) == "Session not found: s1"
    taken = errors.RoomNameTakenError("lobby")
    assert taken.room_name == "lobby"
    assert "'lobby'" in str(taken)
    assert "choose another" in str(taken)
    late = errors.ServicesTimeoutError("s1", ("asr", "tts"))
    assert (late.session_id, late.missing) == ("s1", ("asr", "tts"))
    assert str(late).endswith("asr, tts")
