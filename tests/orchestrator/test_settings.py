"""What `load_settings` takes, what beats what, and the one sentence for each mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.core.errors import SettingsError
from orchestrator.settings import ENVIRONMENT, Settings, load_settings

STRONG = "s" * 32


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def refusal(config: Path | None = None, **environment: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(config, environment)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, ""), {})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.microservices.join_timeout == 60
    assert settings.microservices.client_timeout == 300
    assert settings.sessions.default_ttl == 86400
    assert settings.store.path == Path("data/greenroom.db")
    assert settings.events.keep_alive == 15
    assert settings.allow_private_endpoints is True


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nport = 9000\nhost = '127.0.0.2'\n")
    settings = load_settings(path, {"SERVER_PORT": "9001"})
    assert (settings.server.port, settings.server.host) == (9001, "127.0.0.2")


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path, ""), {"SERVER_PORT": ""}).server.port == 8080


def test_the_file_is_named_by_the_variable_or_lies_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "[server]\nport = 9000\n")
    assert load_settings(None, {"CONFIG_PATH": str(path)}).server.port == 9000
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}).server.port == 9000


def test_the_first_of_two_names_of_one_key_counts(tmp_path: Path) -> None:
    both = {"LIVEKIT_URL": "ws://b:1", "LIVEKIT_SERVER_URL": "ws://a:1"}
    assert load_settings(write(tmp_path, ""), both).livekit.server_url == "ws://a:1"
    assert load_settings(write(tmp_path, ""), {"LIVEKIT_URL": "ws://b:1"}).livekit.server_url == "ws://b:1"


@pytest.mark.parametrize(
    "text", ["http://a,https://b:1", '["http://a", "https://b:1"]', " http://a , https://b:1,"]
)
def test_cors_origins_are_a_comma_list_or_json(tmp_path: Path, text: str) -> None:
    settings = load_settings(write(tmp_path, ""), {"CORS_ORIGINS": text})
    assert settings.server.cors_origins == ("http://a", "https://b:1")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "127.1", "example.org"])
def test_only_loopback_may_be_bound_without_auth(tmp_path: Path, host: str) -> None:
    sentence = refusal(write(tmp_path, ""), SERVER_HOST=host)
    assert "SERVER_HOST" in sentence
    assert host in sentence
    assert "127.0.0.1" in sentence


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"SERVER_PORT": "99999"}, ["SERVER_PORT", "99999", "65535"]),
        ({"SERVER_PORT": "http"}, ["SERVER_PORT", "http", "integer"]),
        ({"STORE_URL": "redis://host:6379/0"}, ["STORE_URL", "redis", "sqlite:///"]),
        ({"STORE_URL": "sqlite:///"}, ["STORE_URL", "sqlite:///PATH"]),
        ({"LIVEKIT_URL": "localhost:7880"}, ["LIVEKIT_URL", "localhost:7880", "ws://"]),
        ({"CORS_ORIGINS": "*"}, ["CORS_ORIGINS", "'*'", "scheme://host"]),
        ({"CORS_ORIGINS": "[http://a"}, ["CORS_ORIGINS", "JSON"]),
        ({"DEFAULT_SESSION_TTL": "-5"}, ["DEFAULT_SESSION_TTL", "-5", "greater than 0"]),
        ({"LOG_LEVEL": "loud"}, ["LOG_LEVEL", "loud", "info"]),
        ({"ENGINE": "other"}, ["ENGINE", "other", "livekit"]),
    ],
)
def test_a_mistake_names_the_variable_the_value_and_the_fix(
    tmp_path: Path, environment: dict[str, str], words: list[str]
) -> None:
    sentence = refusal(write(tmp_path, ""), **environment)
    assert [word for word in words if word not in sentence] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 1\n", ["server.prot", "docs/SETTINGS.md"]),
        ("[sevrer]\nport = 1\n", ["sevrer", "docs/SETTINGS.md"]),
        ("[server]\nport = 0\n", ["server.port", "0", "1"]),
        ("[server]\nworkers = 4\n", ["server.workers", "4"]),
        ("server = 3\n", ["server", "3"]),
        ("[sessions]\nmax_duration = inf\n", ["sessions.max_duration", "inf", "finite"]),
        ("[events]\nkeep_alive = nan\n", ["events.keep_alive", "nan"]),
        ("[server\n", ["config.toml", "TOML"]),
    ],
)
def test_a_mistake_in_the_file_names_the_key(tmp_path: Path, text: str, words: list[str]) -> None:
    sentence = refusal(write(tmp_path, text))
    assert [word for word in words if word not in sentence] == []


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "none.toml")


def test_a_weak_secret_is_refused_and_not_repeated(tmp_path: Path) -> None:
    sentence = refusal(write(tmp_path, ""), LIVEKIT_API_SECRET="hunter2hunter2")
    assert "14 characters" in sentence
    assert "32" in sentence
    assert "hunter2" not in sentence


def test_a_secret_of_a_wrong_type_is_not_repeated(tmp_path: Path) -> None:
    assert "4711" not in refusal(write(tmp_path, "[livekit]\napi_secret = 4711\n"))


def test_what_the_media_server_lacks_is_named(tmp_path: Path) -> None:
    settings = load_settings(
        write(tmp_path, ""), {"LIVEKIT_URL": "ws://127.0.0.1:7880", "LIVEKIT_API_KEY": "k"}
    )
    with pytest.raises(SettingsError, match=r"LIVEKIT_API_SECRET.*greenroom up"):
        settings.media_server()


def test_the_secret_is_in_no_repr(tmp_path: Path) -> None:
    settings = load_settings(
        write(tmp_path, ""),
        {"LIVEKIT_URL": "ws://127.0.0.1:7880", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": STRONG},
    )
    assert settings.media_server().api_secret == STRONG
    assert STRONG not in repr(settings)
    assert STRONG not in repr(settings.media_server())


def test_every_variable_sets_a_key_that_exists() -> None:
    for key in ENVIRONMENT:
        fields = Settings.model_fields
        *sections, leaf = key.split(".")
        for section in sections:
            model = fields[section].annotation
            assert model is not None
            fields = model.model_fields
        assert leaf in fields


# Keys whose default is "not set": the file shows an example of them.
EXAMPLES = (
    "export_dir",
    "retention_days",
    "disk_quota",
    "server_url",
    "api_key",
    "api_secret",
    "max_duration",
    "allow_private_endpoints",
    "format",
    "version",
)


def test_the_file_in_the_repository_says_the_defaults(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "config.toml"
    nothing_set = load_settings(write(tmp_path, ""), {})
    assert load_settings(path, {}) == nothing_set
    uncommented = "\n".join(
        line.removeprefix("#") if re.match(r"#[a-z_]+ = ", line) else line
        for line in path.read_text("utf-8").splitlines()
        if not line.startswith(tuple(f"#{key} = " for key in EXAMPLES)) or line == '#format = "mp4"'
    )
    assert "port = 8080" in uncommented.splitlines()
    assert load_settings(write(tmp_path, uncommented), {}) == nothing_set
