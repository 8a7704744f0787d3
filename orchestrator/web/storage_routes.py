"""Routes of uploads: chunks in, chunks out, and the tree that proves them."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct

from orchestrator.core.catalog import CatalogEntry
from orchestrator.core.ids import RecordingId, SessionId
from orchestrator.web.bodies import READ_DEADLINE_S, read_json
from orchestrator.web.errors import BadJsonError, BodyTooLargeError, FieldProblem, FieldsError, SlowBodyError
from orchestrator.web.playback_errors import TrackNotFoundError, translated
from orchestrator.web.services import SERVICES
from vault.core.ids import RecordingId as StoredId
from vault.core.ids import is_recording_id
from vault.core.manifest import Manifest
from vault.errors import FileMissingError
from vault.uploads import MAX_INDEX, MAX_PART_BYTES

_CHUNK: Final = re.compile(r"([0-9a-f-]{36})\.([1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\Z")

_encode = msgspec.json.Encoder().encode


class CloseUpload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /storage/merkle`; ``proof`` names a leaf, counted over all attempts."""

    recording_id: str
    proof: int | None = None


async def store_chunk(request: web.Request) -> web.Response:
    """Store the body, 1 byte to 4 MiB, as chunk `?index=` of upload `?recording_id=` of `?session_id=`."""
    query = request.query
    session_id, index = query.get("session_id", ""), query.get("index", "")
    problems = []
    if not session_id:
        problems.append(FieldProblem("session_id", "is required"))
    if not (index.isascii() and index.isdigit() and len(index) <= 9 and int(index) <= MAX_INDEX):
        problems.append(FieldProblem("index", f"{index[:20]!r} is no number from 0 to {MAX_INDEX}"))
    recording_id = query.get("recording_id")
    if recording_id is not None and not is_recording_id(recording_id):
        problems.append(FieldProblem("recording_id", f"{recording_id[:40]!r} is no lowercase UUID"))
    if problems:
        raise FieldsError(problems)
    data = await _read_octets(request)
    if not data:
        raise FieldsError([FieldProblem("", "the body is empty; a chunk has 1 byte at least")])
    with translated(StoredId(recording_id or "of this request")):
        stored = await request.app[SERVICES].uploads.put(
            SessionId(session_id),
            None if recording_id is None else RecordingId(recording_id),
            int(index),
            data,
        )
    entry, place = stored.entry, stored.part.place
    return _json(
        {
            "chunk_id": f"{entry.id}.{place.attempt}.{place.leaf}",
            "recording_id": entry.id,
            "session_id": entry.record.session_id,
            "index": int(index),
            "size_bytes": len(data),
            "checkpoints": _heads(entry),
        },
        status=201 if stored.part.is_new else 200,
    )


async def get_chunk(request: web.Request) -> web.Response:
    """Give what is sealed in a chunk, `RECORDING.ATTEMPT.LEAF`, authenticated before a byte of it leaves."""
    text = request.match_info["chunk_id"]
    match = _CHUNK.match(text)
    if match is None or not is_recording_id(match[1]):
        raise TrackNotFoundError(f"{text[:60]!r} is no chunk; give RECORDING.ATTEMPT.LEAF")
    recording_id = RecordingId(match[1])
    with translated(StoredId(recording_id)):
        try:
            data = await request.app[SERVICES].uploads.read(recording_id, int(match[2]), int(match[3]))
        except (FileMissingError, KeyError):
            raise TrackNotFoundError(f"chunk {text} is not in this recording") from None
    headers = {"X-Content-Type-Options": "nosniff", hdrs.CONTENT_DISPOSITION: "attachment"}
    return web.Response(body=data, content_type="application/octet-stream", headers=headers)


async def close_upload(request: web.Request) -> web.Response:
    """Close an upload, and give its root, its size, each attempt's signed checkpoint, `proof` of one leaf."""
    body = await read_json(request, CloseUpload)
    if not is_recording_id(body.recording_id):
        problem = f"{body.recording_id[:40]!r} is no lowercase UUID"
        raise FieldsError([FieldProblem("recording_id", problem)])
    services, recording_id = request.app[SERVICES], StoredId(body.recording_id)
    with translated(recording_id):
        proven = await services.uploads.finish(RecordingId(recording_id))
        manifest = proven.manifest
        answer: dict[str, Any] = {
            "recording_id": recording_id,
            "root": manifest.root,
            "size": sum(attempt.size for attempt in manifest.attempts),
            "checkpoints": [
                {
                    "attempt": attempt.attempt,
                    "size": attempt.size,
                    "root": attempt.root,
                    "note": proven.notes.get(attempt.attempt, ""),
                }
                for attempt in manifest.attempts
            ],
        }
        if body.proof is not None:
            answer["proof"] = await _proof(request, recording_id, manifest, body.proof)
    return _json(answer)


async def _proof(
    request: web.Request, recording_id: StoredId, manifest: Manifest, leaf: int
) -> dict[str, Any]:
    total = sum(attempt.size for attempt in manifest.attempts)
    if not 0 <= leaf < total:
        sentence = f"{leaf} is no leaf; there are {total}, counted from 0, and it is closed"
        raise FieldsError([FieldProblem("proof", sentence)])
    for attempt in manifest.attempts:
        if leaf < attempt.size:
            text = await request.app[SERVICES].playback.prove(recording_id, attempt.attempt, leaf)
            chunk_id = f"{recording_id}.{attempt.attempt}.{leaf}"
            return {"chunk_id": chunk_id, "attempt": attempt.attempt, "leaf": leaf, "tlog_proof": text}
        leaf -= attempt.size
    raise AssertionError("the sizes add up to more than the leaves")


async def _read_octets(request: web.Request) -> bytes:
    """Read a body of any type.

    Raises:
        BodyTooLargeError: over `MAX_PART_BYTES`.
        SlowBodyError: it did not come within the deadline.
    """
    too_large = BodyTooLargeError(f"a chunk has at most {MAX_PART_BYTES} bytes; send more of them")
    if (request.content_length or 0) > MAX_PART_BYTES:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_DEADLINE_S):
            async for part in request.content.iter_any():
                size += len(part)
                if size > MAX_PART_BYTES:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise SlowBodyError(f"the body did not arrive within {READ_DEADLINE_S:g} s") from None
    except web.RequestPayloadError:
        raise BadJsonError("the body is broken: it is not encoded as its headers say") from None
    return b"".join(parts)


def _heads(entry: CatalogEntry) -> list[dict[str, Any]]:
    return [{"attempt": c.attempt, "size": c.size, "root": c.root} for c in entry.record.checkpoints]


def _json(answer: object, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=_encode(answer), content_type="application/json")
