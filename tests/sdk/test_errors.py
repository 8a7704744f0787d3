"""The errors' tree: the docstring that shows it names every class, and all have one base."""

from __future__ import annotations

import inspect
import pickle

import pytest

from sdk import errors

CLASSES = [
    item for name, item in inspect.getmembers(errors, inspect.isclass) if item.__module__ == "sdk.errors"
]


@pytest.mark.parametrize("kind", CLASSES)
def test_one_base_and_a_sentence_each(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.SdkError)
    assert kind.__doc__
    if not kind.__name__.startswith("_"):
        assert errors.__doc__ is not None
        assert kind.__name__ in errors.__doc__


def test_stale_is_a_way_of_being_over() -> None:
    assert issubclass(errors.JobStaleError, errors.JobEndedError)


def test_what_an_answer_says_is_kept() -> None:
    error = errors.ServicesMissingError("late", status=408, details={"session_id": 7})
    assert (error.session_id, error.status, str(error)) == ("", 408, "late")
    assert pickle.loads(pickle.dumps(errors.JobEndedError("over"))).args == ("over",)
