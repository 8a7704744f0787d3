"""Bodies: the right status for each way to send a wrong one, and every wrong field named at once."""

from __future__ import annotations

import asyncio
import gzip
import io
from typing import Any

import pytest
from aiohttp import ClientSession
from msgspec import Struct

from orchestrator.web import bodies
from orchestrator.web.bodies import decode
from orchestrator.web.errors import MAX_BODY_BYTES, BadJsonError, FieldProblem, FieldsError
from sdk.wire import CreateSession, Heartbeat
from tests.orchestrator.web.world import World, error_of

CREATE = "/api/v1/create-session"
JSON = {"Content-Type": "application/json"}


def problems_of(body: bytes, shape: type[Struct] = CreateSession) -> list[FieldProblem]:
    with pytest.raises(FieldsError) as caught:
        decode(body, shape)
    return list(caught.value.problems)


def test_every_wrong_field_is_named_at_once() -> None:
    body = (
        b'{"user_name": 1, "metadata": {"a": "b", "c": 2}, "required_services": ["x", null], "record": "yes"}'
    )
    assert [problem.field for problem in problems_of(body)] == [
        "user_identity",
        "user_name",
        "metadata.*",
        "required_services[1]",
        "record",
    ]


def test_the_sentence_says_what_was_expected() -> None:
    assert problems_of(b'{"user_identity": 5}') == [FieldProblem("user_identity", "expected str, got int")]
    assert problems_of(b"{}") == [FieldProblem("user_identity", "is required")]


@pytest.mark.parametrize(
    ("body", "word"), [(b"[]", "a list"), (b'"x"', "a string"), (b"null", "null"), (b"3", "a number")]
)
def test_a_body_that_is_no_object_is_said_to_be_none(body: bytes, word: str) -> None:
    assert problems_of(body) == [FieldProblem("", f"the body must be a JSON object, not {word}")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"user_identity": "a"} x',
        b"\xff\xfe",
        b'{"wait_s": NaN}',
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_is_a_400(body: bytes) -> None:
    with pytest.raises(BadJsonError):
        decode(body, CreateSession)


def test_unknown_fields_are_ignored() -> None:
    assert decode(b'{"user_identity": "a", "new": {"deep": [1]}}', CreateSession).user_identity == "a"


@pytest.mark.parametrize("path", [CREATE, "/api/v1/microservices/register"])
@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        (b"{", JSON, 400, "InvalidRequest"),
        (b"", JSON, 400, "InvalidRequest"),
        (b"{}", JSON, 422, "InvalidRequest"),
        (b"[1]", JSON, 422, "InvalidRequest"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "UnsupportedMediaType"),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "UnsupportedMediaType"),
        (b"{}", {}, 415, "UnsupportedMediaType"),
        (b" " * (MAX_BODY_BYTES + 1), JSON, 413, "PayloadTooLarge"),
        (b"not gzip", {**JSON, "Content-Encoding": "gzip"}, 400, "InvalidRequest"),
    ],
    ids=["broken", "empty", "missing", "list", "text", "form", "untyped", "large", "encoding"],
)
async def test_a_wrong_body_has_its_status(
    client: ClientSession, path: str, body: bytes, headers: dict[str, str], status: int, error: str
) -> None:
    skip = () if "Content-Type" in headers else ("Content-Type",)
    answer = await client.post(path, data=io.BytesIO(body), headers=headers, skip_auto_headers=skip)
    assert answer.status == status
    assert (await error_of(answer))["error"] == error


async def test_a_body_of_unknown_length_is_cut_at_the_limit(client: ClientSession) -> None:
    async def parts() -> Any:
        for _ in range(40):
            yield b" " * 64 * 1024

    answer = await client.post(CREATE, data=parts(), headers=JSON)
    assert answer.status == 413


async def test_a_small_body_that_unpacks_to_a_large_one_is_cut_too(client: ClientSession) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    answer = await client.post(CREATE, data=gzip.compress(b" " * (4 * MAX_BODY_BYTES)), headers=headers)
    assert answer.status == 413


async def test_a_charset_is_no_other_type(client: ClientSession) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await client.post(CREATE, data=b'{"user_identity":"a"}', headers=headers)
    assert answer.status == 200


async def test_an_optional_body_may_be_absent(client: ClientSession) -> None:
    register = {"service_id": "asr", "endpoint": "http://127.0.0.1:9"}
    await client.post("/api/v1/microservices/register", json=register)
    assert (await client.post("/api/v1/microservices/asr/heartbeat")).status == 200
    answer = await client.post("/api/v1/microservices/asr/heartbeat", json={"load": "much"})
    assert answer.status == 422
    assert decode(b"{}", Heartbeat) == Heartbeat()


async def test_a_body_that_comes_byte_by_byte_is_cut(
    world: World, client: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bodies.read_body

    async def impatient(request: Any) -> bytes:
        return await real(request, deadline_s=0.1)

    monkeypatch.setattr(bodies, "read_body", impatient)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    head = f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += "Content-Length: 99\r\n\r\n{"
    writer.write(head.encode())
    async with asyncio.timeout(5):
        answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()
