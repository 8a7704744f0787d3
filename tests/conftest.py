"""What all tests share: media servers, and the rule that CI skips nothing that could have run."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.integration.s3_servers import CREDENTIALS, S3Server, running_s3_server
from tests.integration.servers import LiveKitFactory, SharedLiveKit, livekit_factory, shared_livekit

# A skip whose reason begins so stays a skip in CI: the machine itself lacks it and no set-up could change
# that.
UNAVAILABLE = "this machine cannot: "


@pytest.fixture(scope="session")
def livekit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedLiveKit]:
    """One media server for the whole run: url, api_key, api_secret, `webhooks.target` to set per test."""
    with shared_livekit(tmp_path_factory.mktemp("livekit"), pytest.skip) as server:
        yield server


@pytest.fixture(scope="session")
def real_livekit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedLiveKit]:
    """The same, and always LiveKit: for tests that say something about LiveKit itself."""
    with shared_livekit(tmp_path_factory.mktemp("livekit"), pytest.skip, engine="livekit") as server:
        yield server


@pytest.fixture(autouse=True)
def _forget_webhook_target(request: pytest.FixtureRequest) -> Iterator[None]:
    """Drop the webhooks that come after the test that wanted them."""
    yield
    for name in {"livekit_server", "real_livekit_server"} & set(request.fixturenames):
        shared: SharedLiveKit = request.getfixturevalue(name)
        shared.webhooks.target = None
        shared.webhooks.received.clear()


@pytest.fixture
def fresh_livekit_server(tmp_path: Path) -> Iterator[LiveKitFactory]:
    """Start servers that this test has for itself and may kill; `start()` brings one back on its ports."""
    with livekit_factory(tmp_path, pytest.skip) as make:
        yield make


@pytest.fixture
def fresh_real_livekit_server(tmp_path: Path) -> Iterator[LiveKitFactory]:
    """The same, and always LiveKit."""
    with livekit_factory(tmp_path, pytest.skip, engine="livekit") as make:
        yield make


@pytest.fixture(scope="session")
def shared_s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for the whole run; take a bucket of your own and leave its process alone."""
    with running_s3_server(tmp_path_factory.mktemp("s3"), pytest.skip) as server:
        yield server


@pytest.fixture
def fresh_s3_server(tmp_path: Path) -> Iterator[S3Server]:
    """An S3 server that this test has for itself, may kill, freeze and start again."""
    with running_s3_server(tmp_path / "s3", pytest.skip) as server:
        yield server


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the credentials of our S3 servers into this process's environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def _fail_if_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure in CI, unless no set-up of this machine could have let the test run."""
    if not _is_ci() or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = _reason(report)
    if not reason.startswith(UNAVAILABLE):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where it has to run: {reason}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_ci(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what was skipped and why, so that a green run does not hide it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("skipped, with reasons")
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {_reason(report)}")
