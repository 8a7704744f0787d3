"""A second verifier, written from docs/RECORDING.md alone: no line of `vault`.

`Verifier.run` gives the exit code and the names of the bad files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PLACE = re.compile(r"([1-9][0-9]*)/(chunk|checkpoint|key-record)-([0-9]{10})")
HEADER = ">4sHBB16s16sIIIIIQQIqQq"
CONSTANT = ("wall_start_us", "salt", "commitment", "tenant")


class BadError(Exception):
    """A file breaks a rule of the page."""


def must(holds: bool) -> None:
    if not holds:
        raise BadError


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def tree_root(leaves: list[bytes]) -> bytes:  # §6
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\1", tree_root(leaves[:split]), tree_root(leaves[split:]))


class Verifier:
    """One verification of one folder."""

    def __init__(self, folder: Path, key: bytes, recording: str) -> None:
        self.folder, self.key, self.recording = folder, key, recording
        self.public = Ed25519PublicKey.from_public_bytes(key)
        self.bad: set[str] = set()

    def run(self) -> tuple[int, set[str]]:  # §10
        names = sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if not p.is_dir())
        attempts: dict[int, dict[str, list[int]]] = {}
        for name in names:
            match = PLACE.fullmatch(name)
            if match:
                kinds = attempts.setdefault(int(match[1]), {"chunk": [], "checkpoint": [], "key-record": []})
                kinds[match[2]].append(int(match[3]))
            elif name != "manifest" and not name.endswith(".tmp"):
                self.bad.add(name)
        manifest = self.attempted("manifest", self.manifest) if "manifest" in names else None
        closes = {close["attempt"]: close for close in manifest["attempts"]} if manifest else {}
        tracks: list[dict[str, Any]] | None = []
        for number in sorted({*attempts, *closes}):
            files = attempts.get(number, {"chunk": [], "checkpoint": [], "key-record": []})
            covered = self.attempt(number, files, closes.get(number), manifest)
            if number in closes:
                tracks = None if tracks is None or covered is None else tracks + covered
        if manifest and tracks is not None:
            stated = [{**track, "expected_us": 0} for track in manifest["tracks"]]
            enough = all(t["expected_us"] >= t["end_us"] - t["start_us"] for t in manifest["tracks"])
            if stated != tracks or not enough:
                self.bad.add("manifest")
        return (1 if self.bad else 0 if "manifest" in names else 3), self.bad

    def attempted(self, name: str, check: Any, *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except (BadError, ValueError, KeyError, InvalidSignature, FileNotFoundError, struct.error):
            self.bad.add(name)
            return None

    def note(self, name: str, key_name: str) -> list[str]:  # §5
        data = (self.folder / name).read_bytes()
        text, _, tail = data.decode().rpartition("\n\n")
        text += "\n"
        must(text.split("\n")[0] == key_name)
        signed = base64.b64decode(tail.removeprefix(f"— {key_name} ").removesuffix("\n"), validate=True)
        must(f"{text}\n— {key_name} {base64.b64encode(signed).decode()}\n".encode() == data)
        must(len(signed) == 68 and signed[:4] == sha(key_name.encode(), b"\n\1", self.key)[:4])
        self.public.verify(signed[4:], text.encode())
        return text.split("\n")[1:-1]

    def json_note(self, name: str, key_name: str) -> dict[str, Any]:
        (line,) = self.note(name, key_name)
        fields: dict[str, Any] = json.loads(line)
        must(json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == line)
        return fields

    def manifest(self) -> dict[str, Any]:  # §5.2
        fields = self.json_note("manifest", f"greenroom/recording/{self.recording}/manifest")
        closes = fields["attempts"]
        must(fields["format"] == "greenroom-manifest/1" and fields["recording"] == self.recording)
        must([c["attempt"] for c in closes] == sorted({c["attempt"] for c in closes}) and bool(closes))
        must(fields["media_start_us"] == min(c["wall_start_us"] for c in closes))
        heads = [struct.pack(">IQ", c["attempt"], c["size"]) + bytes.fromhex(c["root"]) for c in closes]
        root = sha(b"greenroom recording root v1\0", bytes.fromhex(self.recording.replace("-", "")), *heads)
        must(root.hex() == fields["root"])
        return fields

    def key_record(self, name: str, number: int, revision: int) -> dict[str, Any]:  # §5.1
        fields = self.json_note(name, f"greenroom/recording/{self.recording}/{number}/key-record")
        must((fields["format"], fields["wrap"]) == ("greenroom-key-record/1", "aes-256-gcm"))
        place = (fields["recording"], fields["attempt"], fields["revision"])
        must(place == (self.recording, number, revision))
        return fields

    def checkpoint(self, name: str, number: int, size: int) -> bytes:  # §6
        stated, root = self.note(name, f"greenroom/recording/{self.recording}/{number}")
        must(stated == str(size) and len(base64.b64decode(root, validate=True)) == 32)
        return base64.b64decode(root)

    def chunk(self, name: str, number: int, leaf: int, tenant: bytes) -> tuple[tuple[Any, ...], bytes]:  # §4
        data = (self.folder / name).read_bytes()
        header = struct.unpack_from(HEADER, data)
        magic, version, kind, flags, _, _, attempt, track, _, num, den, index, own, length, pts, span, off = (
            header
        )
        must((magic, version, kind in (0, 1, 2), flags in (0, 1)) == (b"GRVC", 1, True, True))
        must(track >= 1 and num >= 1 and den >= 1 and math.gcd(num, den) == 1 and index < 2**48)
        must(length <= 2**25 and (length == 0) == (kind == 2) and len(data) == 104 + length + 16 + 64)
        must(
            abs(pts) <= 2**62
            and span <= 2**62
            and abs(off) <= 2**52
            and (kind == 0 or (pts, span, flags) == (0, 0, 0))
        )
        place = (header[4], header[5].hex(), attempt, own)
        must(place == (tenant, self.recording.replace("-", ""), number, leaf))
        leaf_hash = sha(b"\0", data[:-64])
        self.public.verify(data[-64:], b"greenroom recording chunk v1\0" + leaf_hash)
        return header, leaf_hash

    def attempt(
        self, number: int, files: dict[str, list[int]], close: dict[str, Any] | None, manifest: Any
    ) -> list[dict[str, Any]] | None:
        record = None
        if not files["key-record"]:
            self.bad.add(f"{number}/key-record-0000000001")
        for revision in sorted(files["key-record"]):
            name = f"{number}/key-record-{revision:010}"
            found = self.attempted(name, self.key_record, name, number, revision)
            if found and record and any(found[field] != record[field] for field in CONSTANT):
                self.bad.add(name)
            record = found or record
        heads = {}
        for size in files["checkpoint"]:
            name = f"{number}/checkpoint-{size:010}"
            root = self.attempted(name, self.checkpoint, name, number, size)
            if root:
                heads[size] = root
        size = close["size"] if close else max(heads, default=0)
        tenant = bytes.fromhex(record["tenant"]) if record else bytes(16)
        for leaf in range(size):
            if leaf not in files["chunk"]:
                self.bad.add(f"{number}/chunk-{leaf:010}")
                break
        chunks: list[tuple[tuple[Any, ...], bytes]] = []
        for leaf in sorted(files["chunk"]):
            name = f"{number}/chunk-{leaf:010}"
            chunk = self.attempted(name, self.chunk, name, number, leaf, tenant)
            before = [header for header, _ in chunks]
            if chunk and leaf == len(chunks) and self.attempted(name, self.order, chunk[0], before):
                chunks.append(chunk)
        for at, root in heads.items():
            if at <= len(chunks) and tree_root([leaf_hash for _, leaf_hash in chunks[:at]]) != root:
                self.bad.add(f"{number}/checkpoint-{at:010}")
        if close is None or len(chunks) < size:
            return None
        if size and size not in files["checkpoint"]:
            self.bad.add(f"{number}/checkpoint-{size:010}")
        if tree_root([leaf_hash for _, leaf_hash in chunks[:size]]).hex() != close["root"]:
            self.bad.add("manifest")
        if record and record["wall_start_us"] != close["wall_start_us"]:
            self.bad.add("manifest")
        tracks = self.coverage([header for header, _ in chunks[:size]], close, manifest["media_start_us"])
        if close["closed"] == "own" and any(track["cut"] for track in tracks):
            self.bad.add("manifest")
        return tracks

    def order(self, header: tuple[Any, ...], before: list[tuple[Any, ...]]) -> bool:  # §4.5
        mine = [other for other in before if other[7] == header[7]]
        must(header[11] == len(mine) and all(other[2] != 2 for other in mine))
        must(header[8] == sum(other[2] == 1 for other in mine) - (header[2] != 1))
        return True

    def coverage(
        self, headers: list[tuple[Any, ...]], close: dict[str, Any], media_start_us: int
    ) -> list[dict[str, Any]]:  # §7
        shift, tracks = close["wall_start_us"] - media_start_us, []
        for number in sorted({header[7] for header in headers}):
            mine = [header for header in headers if header[7] == number]
            spans, runs = [], []
            for run in range(max(header[8] for header in mine) + 1):
                own = [header for header in mine if header[8] == run]
                offset, found = own[-1][16] + shift, []
                for header in own:
                    if header[2] == 0:
                        ticks = Fraction(header[9], header[10]) * 1_000_000
                        ends = (header[14], header[14] + header[15])
                        found.append(tuple(offset + math.floor(pts * ticks) for pts in ends))
                spans += found
                runs.append(
                    {
                        "run": run,
                        "init_leaf": own[0][12],
                        "offset_us": offset,
                        "start_us": min((start for start, _ in found), default=offset),
                        "end_us": max((end for _, end in found), default=offset),
                    }
                )
            spans = sorted(spans) or [(runs[0]["offset_us"], runs[0]["offset_us"])]
            gaps, reached = [], spans[0][1]
            for start, end in spans:
                if start - reached > 50_000:
                    gaps.append({"start_us": reached, "end_us": start, "reason": ""})
                reached = max(reached, end)
            missing = sum(gap["end_us"] - gap["start_us"] for gap in gaps)
            tracks.append(
                {
                    "attempt": close["attempt"],
                    "track": number,
                    "start_us": spans[0][0],
                    "end_us": reached,
                    "expected_us": 0,
                    "recorded_us": reached - spans[0][0] - missing,
                    "cut": mine[-1][2] != 2,
                    "gaps": gaps,
                    "runs": runs,
                }
            )
        return tracks
