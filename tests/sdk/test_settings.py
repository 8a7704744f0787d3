"""A worker's settings: what is refused says why, and the environment fills what the code leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from sdk.settings import MAX_JOBS, WorkerSettings, endpoint_port, is_loopback

URL = "http://127.0.0.1:8080"


def test_the_least_that_is_needed() -> None:
    settings = WorkerSettings(URL + "/", "asr")
    assert settings.orchestrator_url == URL
    assert (settings.endpoint, settings.capacity, settings.in_default) == (None, 1, True)
    assert settings.worker_id.startswith("asr-")
    assert WorkerSettings(URL, "asr").worker_id != settings.worker_id


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"orchestrator_url": "127.0.0.1:8080"}, "must begin with http"),
        ({"orchestrator_url": "ws://x"}, "must begin with http"),
        ({"orchestrator_url": "http://"}, "needs a host"),
        ({"orchestrator_url": "http://x:port"}, "is not a URL"),
        ({"orchestrator_url": "http://x:0"}, "needs a port other than 0"),
        ({"orchestrator_url": "http://user:secret@x"}, "must not carry"),
        ({"orchestrator_url": "http://x?a=b"}, "no query"),
        ({"service_id": ""}, "service_id"),
        ({"service_id": "asr#2"}, "without '#'"),
        ({"service_id": " asr"}, "spaces"),
        ({"endpoint": "ftp://x"}, "endpoint 'ftp://x' must begin with http"),
        ({"bind_host": "0.0.0.0"}, "bind_host is for push mode"),
        ({"endpoint": "http://x:1", "manual_ready": True}, "manual_ready is for pull mode"),
        ({"capacity": 0}, "capacity 0 must be 1 to 500"),
        ({"capacity": 501}, "capacity 501"),
        ({"metadata": {"a": 1}}, "must be strings"),
        ({"capabilities": {1: "a"}}, "must be strings"),
        ({"request_timeout": 0}, "request_timeout 0 must be more than 0"),
        ({"drain_timeout_s": float("nan")}, "drain_timeout_s nan"),
        ({"busy_limit_s": 1e9}, "at most 86400"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        WorkerSettings(**{"orchestrator_url": URL, "service_id": "asr", **given})
    assert "secret" not in str(caught.value)


def test_the_environment() -> None:
    settings = WorkerSettings.from_env(
        {
            "GREENROOM_URL": URL,
            "GREENROOM_SERVICE_ID": "asr",
            "GREENROOM_CAPACITY": "none",
            "GREENROOM_IN_DEFAULT": "False",
            "GREENROOM_METADATA": "zone=a, gpu=yes",
            "GREENROOM_DRAIN_TIMEOUT": "2.5",
            "GREENROOM_REQUEST_TIMEOUT": "7",
            "GREENROOM_ENDPOINT": "",
        }
    )
    assert (settings.capacity, settings.max_jobs, settings.in_default) == (None, MAX_JOBS, False)
    assert settings.metadata == {"zone": "a", "gpu": "yes"}
    assert (settings.drain_timeout_s, settings.request_timeout, settings.endpoint) == (2.5, 7.0, None)


def test_the_code_stands_above_the_environment() -> None:
    environ = {"GREENROOM_URL": URL, "GREENROOM_SERVICE_ID": "asr", "GREENROOM_CAPACITY": "many"}
    settings = WorkerSettings.from_env(environ, service_id="pong", capacity=4)
    assert (settings.service_id, settings.capacity) == ("pong", 4)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "GREENROOM_URL is not set"),
        ({"GREENROOM_URL": URL}, "GREENROOM_SERVICE_ID is not set"),
        ({"GREENROOM_URL": URL, "GREENROOM_CAPACITY": "many"}, "GREENROOM_CAPACITY='many'"),
        ({"GREENROOM_URL": URL, "GREENROOM_IN_DEFAULT": "maybe"}, "write true or false"),
        ({"GREENROOM_URL": URL, "GREENROOM_METADATA": "zone"}, "write name=value"),
    ],
)
def test_a_bad_variable_is_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        WorkerSettings.from_env(environ)


@pytest.mark.parametrize(
    ("endpoint", "port"), [("http://x", 80), ("https://x/a", 443), ("http://x:0", 0), ("http://[::1]:7", 7)]
)
def test_the_port_of_an_endpoint(endpoint: str, port: int) -> None:
    assert endpoint_port(endpoint) == port


def test_loopback() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.8.9.1", "::1"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "10.0.0.1", "example.org"))
