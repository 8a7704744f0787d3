"""What counts is the address, not its spelling: forms that libraries take for public ones included."""

from __future__ import annotations

import pytest

from orchestrator.web.endpoint_checks import endpoint_problem, is_public, private_problem


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8001", "https://worker.example.org/base", "http://[::1]:80"]
)
def test_a_base_url_is_taken(endpoint: str) -> None:
    assert endpoint_problem(endpoint) is None


@pytest.mark.parametrize(
    "endpoint",
    ["", "host:80", "http://", "ftp://a", "http://a b", "http://a\n", "http://u@a", "http://a#f", "http://a:99999",
     "http://a?b", "http://" + "a" * 600],
)  # fmt: skip
def test_anything_else_is_not(endpoint: str) -> None:
    assert endpoint_problem(endpoint) is not None


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1", "::",
     "fe80::1%eth0", "fc00::1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
     "fec0::1", "ff0e::1"],
)  # fmt: skip
def test_a_private_address_is_private_in_every_disguise(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254"]
)
async def test_a_private_host_is_refused_however_it_is_written(host: str) -> None:
    assert "private network" in str(await private_problem(f"http://{host}:8001"))


async def test_a_public_host_is_taken() -> None:
    assert await private_problem("https://8.8.8.8") is None


async def test_a_host_that_nobody_knows_is_refused() -> None:
    assert "resolved" in str(await private_problem("http://" + "a" * 64 + ":80"))
