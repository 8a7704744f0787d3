"""Reads request bodies: JSON into the wire's shapes, with a size, a deadline, and every wrong field named."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from orchestrator.web.errors import (
    MAX_BODY_BYTES,
    BadJsonError,
    BodyTooLargeError,
    BodyTypeError,
    FieldProblem,
    FieldsError,
    SlowBodyError,
)

READ_DEADLINE_S: Final = 15.0  # aiohttp has none: a body sent byte by byte would be read for ever

S = TypeVar("S", bound=Struct)


async def read_body(request: web.Request, deadline_s: float = READ_DEADLINE_S) -> bytes:
    """Read the whole body.

    Raises:
        BodyTooLargeError: over 2 MiB.
        SlowBodyError: it did not come within the deadline.
    """
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise BodyTooLargeError(f"the body has {request.content_length} bytes; the limit is {MAX_BODY_BYTES}")
    try:
        async with asyncio.timeout(deadline_s):
            return await request.read()
    except TimeoutError:
        raise SlowBodyError(f"the body did not arrive within {deadline_s:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLargeError(f"the body is over the limit of {MAX_BODY_BYTES} bytes") from None
    except web.RequestPayloadError:
        raise BadJsonError("the body is broken: it is not encoded as its headers say") from None


async def read_json(request: web.Request, shape: type[S]) -> S:
    """Read a body that must be there.

    Raises:
        BodyTypeError, BodyTooLargeError, BadJsonError, FieldsError, SlowBodyError: it cannot be taken.
    """
    _check_content_type(request)
    return decode(await read_body(request), shape)


async def read_optional_json(request: web.Request, shape: type[S]) -> S:
    """Read a body that may be absent; then the shape's defaults count."""
    if not request.can_read_body:
        return shape()
    _check_content_type(request)
    body = await read_body(request)
    return decode(body, shape) if body.strip() else shape()


def decode(body: bytes, shape: type[S]) -> S:
    """Decode JSON into a shape.

    Raises:
        BadJsonError: not JSON.
        FieldsError: missing or mistyped fields, all of them.
    """
    try:
        value: S = _decoder(shape).decode(body)
    except msgspec.ValidationError as error:
        problems = field_problems(msgspec.json.decode(body), shape) or [_problem("", str(error))]
        raise FieldsError(problems) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadJsonError(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadJsonError("the body is nested too deeply") from None
    return value


def field_problems(value: object, shape: type[Struct]) -> list[FieldProblem]:
    """Find every field that is missing or mistyped; the typed decoder only tells the first."""
    if not isinstance(value, dict):
        return [FieldProblem("", f"the body must be a JSON object, not {_json_name(value)}")]
    problems = []
    for info in fields(shape):
        if info.encode_name not in value:
            if info.required:
                problems.append(FieldProblem(info.encode_name, "is required"))
            continue
        problems.extend(_problems_of(value[info.encode_name], info))
    return problems


def _problems_of(value: object, info: FieldInfo) -> list[FieldProblem]:
    try:
        msgspec.convert(value, info.type)
    except msgspec.ValidationError as error:
        return [_problem(info.encode_name, str(error))]
    return []


def _problem(name: str, text: str) -> FieldProblem:
    """Turn the decoder's words (`Expected …, got … - at `$.a[0]``) into ours."""
    words, _, place = text.partition(" - at `")
    path = place.rstrip("`").removeprefix("$").replace("[...]", ".*")
    field = f"{name}{path}" if name else path.lstrip(".")
    return FieldProblem(field, (words[:1].lower() + words[1:]).replace("`", ""))


def _json_name(value: object) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _check_content_type(request: web.Request) -> None:
    if request.content_type != "application/json":
        given = request.headers.get("Content-Type", "nothing")[:60]
        raise BodyTypeError(f"the body must be application/json, not {given}")


@cache
def _decoder(shape: type[S]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)
