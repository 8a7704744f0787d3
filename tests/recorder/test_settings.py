"""The recorder's settings: defaults, the environment, and one sentence for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.core.errors import SettingsError
from recorder.settings import load_settings

VARIABLES = (
    "GREENROOM_URL",
    "CHUNK_STORAGE_PATH",
    "GREENROOM_KEY_DIR",
    "SPOOL_PATH",
    "SPOOL_BUDGET",
    "RECORDER_CAPACITY",
    "LOG_LEVEL",
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_those_of_a_stack_in_this_folder() -> None:
    settings = load_settings()
    assert settings.url == "http://127.0.0.1:8080"
    assert (settings.chunk_store, settings.key_dir) == ("data/recordings", Path("data/keys"))
    assert (settings.spool_path, settings.spool_budget) == (Path("data/spool"), 2 * 1024**3)


def test_the_environment_sets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    places = ("https://greenroom.example/", "/srv/recordings", "/srv/keys", "/srv/spool")
    values = (*places, "500MB", "7", "WARNING")
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.url == "https://greenroom.example"
    assert (settings.chunk_store, settings.key_dir) == ("/srv/recordings", Path("/srv/keys"))
    assert (settings.spool_path, settings.spool_budget) == (Path("/srv/spool"), 500_000_000)
    assert (settings.capacity, settings.log_level) == (7, "warning")


def test_a_passphrase_in_the_place_of_its_variable_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_PASSPHRASE_ENV", "correct horse battery staple")
    with pytest.raises(SettingsError, match="GREENROOM_PASSPHRASE_ENV cannot be used") as raised:
        load_settings()
    assert "horse" not in str(raised.value)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHUNK_STORAGE_PATH", "")
    assert load_settings().chunk_store == "data/recordings"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("GREENROOM_URL", "localhost:8080", "GREENROOM_URL cannot be used: must be http(s)://host[:port]"),
        ("CHUNK_STORAGE_PATH", "gs://bucket", "CHUNK_STORAGE_PATH cannot be used: 'gs' is no kind of chunk"),
        ("SPOOL_BUDGET", "much", "SPOOL_BUDGET='much' cannot be used: it is no size; write bytes or a unit"),
        ("SPOOL_BUDGET", "-1", "SPOOL_BUDGET='-1' cannot be used: it is no size"),
        ("SPOOL_BUDGET", "5XB", "SPOOL_BUDGET='5XB' cannot be used: it is no size"),
        ("RECORDER_CAPACITY", "0", "RECORDER_CAPACITY='0' cannot be used: input should be greater than"),
        ("RECORDER_CAPACITY", "many", "RECORDER_CAPACITY='many' cannot be used: input should be a valid"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL='loud' cannot be used: input should be 'debug', 'info'"),
    ],
)
def test_a_wrong_value_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("GREENROOM_URL", "http://me:hunter2@host"), ("CHUNK_STORAGE_PATH", "s3://me:hunter2@bucket")],
)
def test_a_password_in_a_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
