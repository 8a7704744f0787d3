"""What a recording holds is told, and proven, over HTTP; what is bad is refused and named."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.fakes.media import make_audio, make_video
from tests.fakes.recordings import OTHER_RECORDING, RECORDING
from tests.fakes.stored_recordings import StoredRecordings
from tests.orchestrator.web.world import World, error_of
from vault.core.checkpoint import decode_checkpoint
from vault.core.merkle import hash_leaf, verify_inclusion

BASE = f"/api/v1/recordings/{RECORDING}"


@pytest.fixture
def stored(tmp_path: Path) -> StoredRecordings:
    return StoredRecordings(tmp_path)


@pytest.fixture
async def client(stored: StoredRecordings) -> AsyncIterator[ClientSession]:
    async with World(settings=stored.settings).running() as client:
        yield client


def two_attempts(stored: StoredRecordings, *, is_complete: bool = True) -> None:
    first = [(1, 0, make_video(3)), (2, 20_000, make_audio(3))]
    second = [(1, 0, make_audio(2)), (2, 100_000, make_video(2))]
    stored.write(first, second, is_complete=is_complete)


async def get(client: ClientSession, path: str) -> Any:
    async with client.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def refusal(client: ClientSession, path: str, status: int) -> str:
    async with client.get(path) as answer:
        assert answer.status == status, await answer.text()
        return str((await error_of(answer))["message"])


async def test_tracks_stand_on_one_timeline_over_attempts(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored)
    told = await get(client, f"{BASE}/tracks")
    assert told["is_complete"] is True
    assert told["media_start"] == "2027-01-15T08:00:00.000Z"
    assert [(one["track"], one["kind"], one["codecs"], one["runs"]) for one in told["tracks"]] == [
        (1, "video", ["h264"], 2),
        (2, "audio", ["opus"], 2),
    ]
    [gap] = told["tracks"][0]["gaps"]
    assert (gap["start_us"], gap["end_us"]) == (3_000_000, 10_100_000)
    assert told["gaps"][0]["reason"] == "takeover"
    assert told["end_us"] == 12_100_000


async def test_segments_lead_through_every_byte_of_a_run(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored)
    told = await get(client, f"{BASE}/tracks/1/segments")
    run = told["runs"][1]
    assert (run["run"], run["attempt"], run["codec"], run["width"]) == (1, 2, "h264", 160)
    assert run["offset_us"] == 10_100_000
    position = run["init_bytes"]
    for segment in run["segments"]:
        assert segment["start_byte"] == position
        position += segment["size_bytes"]
    assert position == run["size_bytes"]
    assert run["segments"][0]["start_us"] == 10_100_000
    assert [one["has_keyframe"] for one in run["segments"]][:2] == [True, False]


async def test_an_unfinished_recording_is_told_up_to_its_checkpoints(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored, is_complete=False)
    assert (await get(client, f"{BASE}/tracks"))["is_complete"] is False
    told = await get(client, f"{BASE}/manifest")
    assert (told["is_complete"], told["manifest"], told["note"]) == (False, None, "")
    assert [head["attempt"] for head in told["checkpoints"]] == [1, 2]


async def test_the_manifest_is_given_with_its_signed_note(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored)
    told = await get(client, f"{BASE}/manifest")
    assert told["note"].encode() == stored.path("manifest").read_bytes()
    assert told["manifest"]["session"] == "session-1"
    assert told["checkpoints"][0] == {
        "attempt": 1,
        "size": told["manifest"]["attempts"][0]["size"],
        "root": told["manifest"]["attempts"][0]["root"],
    }


async def test_verification_tells_good_from_bad_and_names_the_file(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored)
    report = await get(client, f"{BASE}/verify")
    assert (report["status"], report["exit_code"], report["is_empty"]) == ("complete", 0, False)
    stored.flip("1/chunk-0000000002", 200)
    report = await get(client, f"{BASE}/verify")
    assert (report["exit_code"], report["problems"][0]["file"]) == (1, "1/chunk-0000000002")


async def test_manifest_verification_and_proof_need_no_secret(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored)
    for key in stored.key_dir.glob("*.key"):
        key.unlink()
    for path in ("manifest", "verify", "proof/1.0"):
        async with client.get(f"{BASE}/{path}") as answer:
            assert answer.status == 200
    sentence = await refusal(client, f"{BASE}/tracks", 503)
    assert "key-encryption key" in sentence
    assert "key_dir" in sentence


async def test_a_proof_is_checked_with_the_public_key_and_the_chunk(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored)
    for name in ("1.3", f"{RECORDING}.1.3"):
        async with client.get(f"{BASE}/proof/{name}") as answer:
            text = await answer.text()
            assert (answer.status, answer.content_type) == (200, "text/plain")
        assert len(text) <= 1024
        proof, checkpoint = text.split("\n\n", 1)
        _, index, *hashes = proof.split("\n")
        head = decode_checkpoint(
            checkpoint.encode(), recording_id=RECORDING, attempt=1, public_key=stored.ring.public_key
        )
        chunk = stored.path("1/chunk-0000000003").read_bytes()
        verify_inclusion(
            hash_leaf(chunk[:-64]),
            index=int(index.removeprefix("index ")),
            size=head.size,
            proof=list(map(base64.b64decode, hashes)),
            root=head.root,
        )


@pytest.mark.parametrize("chunk", ["1.999", "9.0", "0.0", "x", "1", "1.01", f"{OTHER_RECORDING}.1.0"])
async def test_a_chunk_that_is_not_there_has_no_proof(
    stored: StoredRecordings, client: ClientSession, chunk: str
) -> None:
    two_attempts(stored)
    await refusal(client, f"{BASE}/proof/{chunk}", 404)


async def test_a_tampered_recording_makes_no_proof(stored: StoredRecordings, client: ClientSession) -> None:
    two_attempts(stored)
    stored.flip("1/chunk-0000000002", 200)
    assert "1/checkpoint-" in await refusal(client, f"{BASE}/proof/1.0", 502)


@pytest.mark.parametrize("path", ["manifest", "verify", "proof/1.0", "tracks", "tracks/1/segments"])
async def test_an_unknown_recording_is_404(
    stored: StoredRecordings, client: ClientSession, path: str
) -> None:
    for unknown in (OTHER_RECORDING, "x", "..%2f..", RECORDING.upper()):
        sentence = await refusal(client, f"/api/v1/recordings/{unknown}/{path}", 404)
        assert "Recording not found" in sentence


async def test_an_unknown_track_is_404(stored: StoredRecordings, client: ClientSession) -> None:
    two_attempts(stored)
    for track in ("0", "3", "x", "-1", "1.1", "99999999"):
        assert "it has 2" in await refusal(client, f"{BASE}/tracks/{track}/segments", 404)


async def test_an_orchestrator_without_keys_says_which_is_missing(
    stored: StoredRecordings, client: ClientSession
) -> None:
    two_attempts(stored)
    (stored.key_dir / "signing.pub").unlink()
    for path in ("manifest", "verify", "tracks"):
        assert "signing.pub is missing" in await refusal(client, f"{BASE}/{path}", 503)


async def test_a_recording_whose_keys_are_taken_away_does_not_stay_open(
    stored: StoredRecordings,
) -> None:
    two_attempts(stored)
    world = World(settings=stored.settings)
    now_s = [100.0]
    world.orchestrator.playback._monotonic = lambda: now_s[0]
    async with world.running() as client:
        await get(client, f"{BASE}/tracks")
        for attempt in (1, 2):
            stored.path(f"{attempt}/key-record-0000000001").unlink()
        now_s[0] += 1.1
        await refusal(client, f"{BASE}/tracks", 404)
