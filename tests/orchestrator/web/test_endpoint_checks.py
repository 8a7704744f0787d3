"""What counts is the address, not its spelling; names are looked up while private ones are refused."""

from __future__ import annotations

import pytest

from orchestrator.web.endpoint_checks import endpoint_problem


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:8001", "https://worker.example.org/base", "http://[::1]:80"]
)
async def test_a_base_url_is_taken(endpoint: str) -> None:
    assert await endpoint_problem(endpoint, allow_private=True) is None


@pytest.mark.parametrize(
    "endpoint",
    ["", "host:80", "http://", "ftp://a", "http://a b", "http://a\n", "http://u@a", "http://a#f", "http://a:99999",
     "http://a?b", "http://a/?", "http://" + "a" * 600, "http://a/" + "a" * 504],
)  # fmt: skip
async def test_anything_else_is_not(endpoint: str) -> None:
    assert await endpoint_problem(endpoint, allow_private=True)


async def test_the_sentence_repeats_the_value_without_its_secrets_and_cut() -> None:
    problem = await endpoint_problem("http://user:pa/ss@10.0.0.1", allow_private=True)
    assert problem is not None
    assert problem.startswith("'http://…@10.0.0.1' ")
    long = await endpoint_problem("http://worker.example.org/" + "a" * 600, allow_private=True)
    assert long is not None
    assert long.startswith("'http://worker.example.org/aaa")
    assert "has 626 characters; the limit is 512" in long
    assert len(long) < 200


@pytest.mark.parametrize("host", ["localhost", "[::ffff:127.0.0.1]", "10.1.2.3", "ip6-localhost"])
async def test_a_private_host_is_refused_however_it_is_written(host: str) -> None:
    problem = await endpoint_problem(f"http://{host}:8001", allow_private=False)
    assert problem is not None
    assert f"'http://{host}:8001' " in problem
    assert "[network] allow_private_endpoints" in problem or "resolved" in problem
    assert await endpoint_problem(f"http://{host}:8001", allow_private=True) is None


async def test_a_metadata_address_is_refused_whatever_is_allowed() -> None:
    problem = await endpoint_problem("http://169.254.169.254", allow_private=True)
    assert "never called" in str(problem)


async def test_a_public_host_is_taken() -> None:
    assert await endpoint_problem("https://8.8.8.8", allow_private=False) is None


async def test_a_host_that_nobody_knows_is_refused() -> None:
    assert "resolved" in str(await endpoint_problem("http://nobody.invalid:80", allow_private=False))
