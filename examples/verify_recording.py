"""A second verifier of recordings, written from docs/RECORDING.md alone (§: its sections).

python -m examples.verify_recording FOLDER signing.pub [--head ATTEMPT:SIZE:ROOT]…
Exit code: 0 complete or shredded, 1 bad (the bad files are named, the first one first), 2 misuse,
3 incomplete or shredding.
"""

import json
import math
import os
import re
import struct
import sys
from argparse import ArgumentParser
from base64 import b64decode, b64encode
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import chain
from pathlib import Path
from types import SimpleNamespace as Chunk
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

UUID_TEXT = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # §2
PLACE = re.compile("(?:([1-9][0-9]{0,9})/(key-record|checkpoint|chunk)|custody)-([0-9]{10})")  # §3
KEY_FILE = re.compile(
    "[1-9][0-9]*/key-record-[0-9]{10}(?:.*[.]tmp)?", re.DOTALL
)  # §10: of a shredding cut short
HEADER = struct.Struct(">4sHBB16s16sIIIIIQQIqQq")  # §4.1
NAMES = "magic version kind flags tenant recording attempt track run numerator denominator index leaf"
FIELDS = (NAMES + " plaintext_bytes first_pts duration_pts offset_us").split()
MEDIA, INIT, LAST = 0, 1, 2
# §5: a pattern for a string, a range for a whole number, one shape for all items of a list.
ID, WHOLE, HEX16, HEX32 = range(1, 2**32), range(1 - 2**53, 2**53), "[0-9a-f]{32}", "[0-9a-f]{64}"
KEY_RECORD: dict[str, Any] = {"format": "greenroom-key-record/1", "recording": UUID_TEXT, "attempt": ID}
KEY_RECORD |= {"revision": ID, "tenant": HEX16, "wall_start_us": WHOLE, "salt": HEX32, "commitment": HEX32}
KEY_RECORD |= {"kek_id": "[^ ]*", "wrap": "[^ ]*", "wrapped_key": "[^ ]{2,1364}|[^ ]{1366}=="}
WRAPPED = r"(?a)aes-256-gcm [0-9a-f]{16} [^ =]{80}|vault-transit [\w.-]{1,128}:[1-9]\d{0,9} [^ ]+"  # §5.1
CLOSE: dict[str, Any] = {"attempt": ID, "size": range(2**32), "root": HEX32, "closed": "own|recovered"}
CLOSE |= {"wall_start_us": WHOLE}
GAP = {"start_us": WHOLE, "end_us": WHOLE, "reason": ".*"}
MANIFEST: dict[str, Any] = {"format": "greenroom-manifest/1", "recording": UUID_TEXT, "session": ".{1,256}"}
MANIFEST |= {"capture": "passthrough|decoded|upload", "tenant": HEX16, "attempts": [CLOSE], "root": HEX32}
MANIFEST |= {"media_start_us": WHOLE, "tracks": [dict], "gaps": [GAP], "cut_marks_us": [WHOLE]}
CUSTODY: dict[str, Any] = {"format": "greenroom-custody/1", "recording": UUID_TEXT, "number": ID}
CUSTODY |= {"action": "hold|release|shred", "at_us": WHOLE, "by": ".{1,256}", "reason": ".{1,1000}"}
CUSTODY |= {"attempts": [{field: CLOSE[field] for field in CLOSE if field != "closed"} | {"tenant": HEX16}]}
MAY_FOLLOW = {"": ("hold", "shred"), "hold": ("release",), "release": ("hold", "shred"), "shred": ()}


def need(is_right: object, why: str) -> None:
    """Stop the check of a file unless this holds."""
    if not is_right:
        raise ValueError(why)


def is_shaped(value: Any, shape: Any) -> bool:
    """Tell whether decoded JSON has this shape; True is no number."""
    if isinstance(shape, str):
        return type(value) is str and re.fullmatch(shape, value, re.DOTALL) is not None
    if isinstance(shape, list):
        return type(value) is list and all(is_shaped(item, shape[0]) for item in value)
    if isinstance(shape, dict):
        has_fields = type(value) is dict and value.keys() == shape.keys()
        return has_fields and all(is_shaped(value[field], shape[field]) for field in shape)
    return type(value) is int and value in shape if isinstance(shape, range) else type(value) is shape


def canonical(value: Any) -> str:
    """Write canonical JSON (§5)."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def load_key(path: Path) -> bytes:
    """Read `signing.pub` (§9); a point of small order is refused."""
    line = path.read_bytes().decode("ascii")
    key = b64decode(line.partition(" ")[2])
    is_line = line == f"greenroom-public-key-1 {b64encode(key).decode()}\n" and len(key) == 32
    need(is_line, f"{path} is not one line 'greenroom-public-key-1 <base64 of 32 bytes>'")
    y = int.from_bytes(key, "little") % 2**255
    # Order 1 or 2: y = ±1; order 4: y = 0; order 8: d·y⁴ + 2y² = 1, where d = -121665/121666.
    product = y * (y * y - 1) * (121666 * (2 * y * y - 1) - 121665 * y**4)
    need(product % (2**255 - 19), f"the key in {path} has small order, so anybody can sign for it")
    return key


def root_of(hashes: list[bytes]) -> bytes:
    """Give the root of a tree (§6)."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"").digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + root_of(hashes[:split]) + root_of(hashes[split:])).digest()


def may_follow(before: Chunk | None, chunk: Chunk) -> bool:
    """Tell whether a chunk may come next in its track (§4.5)."""
    if before is None:
        return (chunk.kind, chunk.index, chunk.run) == (INIT, 0, 0)
    place = (before.index + 1, before.run + (chunk.kind == INIT))
    return before.kind != LAST and (chunk.index, chunk.run) == place


def cover(chunks: list[Chunk], shift_us: int) -> dict[str, Any]:
    """Say what the headers of a track cover (§7), all but `expected_us`."""
    offsets = {c.run: c.offset_us + shift_us for c in chunks}  # a run's last chunk has its highest index
    spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for c in (c for c in chunks if c.kind == MEDIA):
        start, end = c.first_pts * c.numerator * 10**6, (c.first_pts + c.duration_pts) * c.numerator * 10**6
        spans[c.run].append((offsets[c.run] + start // c.denominator, offsets[c.run] + end // c.denominator))
    every = sorted(chain(*spans.values())) or [(offsets[0], offsets[0])]
    runs, gaps, covered, recorded_us = [], [], every[0][0], 0
    for init in (c for c in chunks if c.kind == INIT):
        run = {"run": init.run, "init_leaf": init.leaf, "offset_us": offsets[init.run]}
        own = spans.get(init.run, [(offsets[init.run], offsets[init.run])])
        runs.append(run | {"start_us": min(own)[0], "end_us": max(end for _, end in own)})
    for start, end in every:
        if start - covered > 50_000:
            gaps.append({"start_us": covered, "end_us": start, "reason": ""})
            recorded_us -= start - covered
        covered = max(covered, end)
    recorded_us += covered - every[0][0]
    track = {"attempt": chunks[0].attempt, "track": chunks[0].track, "cut": chunks[-1].kind != LAST}
    track |= {"start_us": every[0][0], "end_us": covered, "recorded_us": recorded_us}
    return track | {"gaps": gaps, "runs": runs}


class Verification:
    """Goes through a folder as §10 says. ValueError: there is nothing to verify."""

    def __init__(self, folder: Path, key: bytes, heads: list[tuple[int, int, bytes]]) -> None:
        """Take known heads as (attempt, size, root)."""
        self.folder, self.key, self.heads = folder, key, heads
        self.bad: list[tuple[str, str]] = []  # file and reason, in the order of the steps
        self.ignored: list[str] = []  # temporary, late or not acknowledged
        self.manifest: dict[str, Any] = {}
        self.decree: dict[str, Any] = {"action": ""}  # the last custody record of the chain
        self.tracks: list[dict[str, Any]] = []
        self.size = self.notes = self.strange = 0
        found: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        files, unknown = self.list_files(), []  # step 1
        for name, is_plain in files:
            place = PLACE.fullmatch(name) if is_plain else None
            if place and int(place[1] or 1) in ID and int(place[3]) in range(place[2] != "chunk", 2**32):
                found[int(place[1] or 0)][place[2] or "custody"].append(int(place[3]))
            elif is_plain and name.endswith(".tmp"):
                self.ignored.append(name)
            elif (name, is_plain) != ("manifest", True):
                unknown.append((name, "not a plain file with a name of §3"))
        has_manifest = ("manifest", True) in files
        need(found or has_manifest, "no file of a recording in it")
        decrees = found.pop(0, {"custody": []})["custody"]
        names = [f"{a}/{kind}-{n:010}" for a in found for kind in found[a] for n in found[a][kind]]
        names += [f"custody-{n:010}" for n in decrees]
        self.recording = self.find_id(names + ["manifest"] * has_manifest)
        if has_manifest:
            with self.blaming("manifest"):
                self.check_manifest()  # step 2
        for due, _ in enumerate(decrees, start=1):
            with self.blaming(f"custody-{due:010}"):
                self.check_decree(due)
                continue
            break
        self.is_shredded = self.decree["action"] == "shred"
        graves = {grave["attempt"]: grave for grave in self.decree["attempts"]} if self.is_shredded else {}
        self.heads += [(a, grave["size"], bytes.fromhex(grave["root"])) for a, grave in graves.items()]
        closes = {close["attempt"]: close for close in self.manifest.get("attempts", [])}
        for attempt in sorted({*closes, *found, *(head[0] for head in self.heads)}):
            self.check_attempt(attempt, found[attempt], closes.get(attempt), graves.get(attempt))  # step 3
        if self.manifest and not self.bad:
            with self.blaming("manifest"):
                self.check_tracks()  # step 4
        if 0 < self.notes == self.strange:
            self.bad, self.ignored = [(self.bad[0][0], "every note names another key than the one given")], []
        self.bad += unknown
        self.has_keys = self.is_shredded and any(KEY_FILE.fullmatch(name) for name, _ in files)
        is_over = not self.has_keys if self.is_shredded else self.manifest
        self.exit_code = 1 if self.bad else 0 if is_over else 3

    def find_id(self, names: list[str]) -> str:
        """Give the folder's name, else the id that most files say at their beginning."""
        if re.fullmatch(UUID_TEXT, self.folder.name):
            return self.folder.name
        said: Counter[str] = Counter()
        for name in names:
            with suppress(OSError), (self.folder / name).open("rb") as file:
                start = file.read(104)
                if note := re.match(f"greenroom/recording/({UUID_TEXT})/", start.decode("ascii", "replace")):
                    said[note[1]] += 1
                elif start[:4] == b"GRVC" and len(start) == 104:
                    said[str(UUID(bytes=start[24:40]))] += 1
        need(said, "no file says which recording this is")
        return said.most_common(1)[0][0]

    def list_files(self) -> list[tuple[str, bool]]:
        """List all entries but folders by name, and whether each is a plain file."""
        files, folders = [], [""]
        for prefix in folders:  # it grows meanwhile
            for entry in os.scandir(self.folder / prefix):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{prefix}{entry.name}/")
                else:
                    files.append((prefix + entry.name, entry.is_file(follow_symlinks=False)))
        return sorted(files)

    @contextmanager
    def blaming(self, name: str) -> Iterator[None]:
        """Take an error for the fault of this file, and go on."""
        try:
            yield
        except (ValueError, OSError, RecursionError, InvalidSignature) as error:
            self.bad.append((name, str(error) or "its signature is wrong"))

    def read(self, name: str, most_bytes: int) -> bytes:
        """Read a file unless it is larger than it may be (§3)."""
        need((self.folder / name).stat().st_size <= most_bytes, f"larger than {most_bytes} bytes")
        return (self.folder / name).read_bytes()

    def check_signature(self, signature: bytes, signed: bytes) -> None:
        """Check an Ed25519 signature of the given key."""
        Ed25519PublicKey.from_public_bytes(self.key).verify(signature, signed)

    def read_note(self, name: str, place: str) -> list[str]:
        """Give the lines after the first of a good note (§5) of this place."""
        self.notes += 1
        body, _, line = self.read(name, 4 << 20).decode().rpartition("\n\n")
        text, origin = f"{body}\n", body.partition("\n")[0]
        proof = b64decode(line.rpartition(" ")[2].rstrip("\n"))
        need(line == f"— {origin} {b64encode(proof).decode()}\n", "does not end in its one signature line")
        need(len(proof) == 68, "not 68 bytes of signature")
        if proof[:4] != sha256(f"{origin}\n\1".encode() + self.key).digest()[:4]:
            self.strange += 1
            raise ValueError("names another key than the one given")
        self.check_signature(proof[4:], text.encode())
        need(origin == f"greenroom/recording/{self.recording}/{place}", "a note of another place")
        need(min(text.replace("\n", " ")) >= " ", "holds control characters")
        return text.split("\n")[1:-1]

    def read_fields(self, name: str, place: str, shape: dict[str, Any]) -> dict[str, Any]:
        """Give the fields of a key record or the manifest."""
        lines = self.read_note(name, place)
        value: dict[str, Any] = json.loads("\n".join(lines))
        need([canonical(value)] == lines and is_shaped(value, shape), "not the canonical JSON of its fields")
        need(value["recording"] == self.recording, "of another recording")
        return value

    def read_chunk(self, name: str, attempt: int, leaf: int) -> tuple[Chunk, bytes]:
        """Give the header of a good chunk (§4) of this place, and its leaf hash."""
        data = self.read(name, 104 + (1 << 25) + 80)
        need(len(data) >= 184, "too short")
        c = Chunk(**dict(zip(FIELDS, HEADER.unpack_from(data), strict=True)))
        need(
            (c.magic, c.version) == (b"GRVC", 1) and c.kind <= LAST and c.flags <= 1, "no chunk of version 1"
        )
        need(c.kind == MEDIA or c.flags == c.first_pts == c.duration_pts == 0, "no media, but fields of it")
        need((c.plaintext_bytes == 0) == (c.kind == LAST), "its plaintext does not go with its kind")
        need(len(data) == 184 + c.plaintext_bytes, "of another length than its header says")
        need(c.numerator and c.denominator and math.gcd(c.numerator, c.denominator) == 1, "a wrong time base")
        need(c.track and c.index < 1 << 48 and c.plaintext_bytes <= 1 << 25, "a number out of range")
        need(max(abs(c.first_pts), c.duration_pts, abs(c.offset_us) << 10) <= 1 << 62, "a time out of range")
        leaf_hash = sha256(b"\0" + data[:-64]).digest()
        self.check_signature(data[-64:], b"greenroom recording chunk v1\0" + leaf_hash)
        place = (UUID(self.recording).bytes, attempt, leaf)
        need((c.recording, c.attempt, c.leaf) == place, "a chunk of another place")
        return c, leaf_hash

    def check_manifest(self) -> None:
        """Check what the manifest says, as far as that needs no chunk (§5.2)."""
        m = self.read_fields("manifest", "manifest", MANIFEST)
        root = sha256(b"greenroom recording root v1\0" + UUID(self.recording).bytes)  # §6
        for close in m["attempts"]:
            root.update(struct.pack(">IQ", close["attempt"], close["size"]) + bytes.fromhex(close["root"]))
        need(m["attempts"] and m["root"] == root.hexdigest(), "its root is not that of its attempts")
        need(m["media_start_us"] == min(c["wall_start_us"] for c in m["attempts"]), "a wrong media_start_us")
        attempts, marks = [close["attempt"] for close in m["attempts"]], m["cut_marks_us"]
        need(attempts == sorted(set(attempts)) and marks == sorted(marks), "attempts or marks do not rise")
        self.manifest = m

    def check_decree(self, number: int) -> None:
        """Take the next custody record of the chain (§5.3)."""
        decree = self.read_fields(f"custody-{number:010}", "custody", CUSTODY)
        is_next = decree["action"] in MAY_FOLLOW[self.decree["action"]]
        need(is_next and decree["number"] == number, "cannot stand at this place of the chain")
        attempts = [grave["attempt"] for grave in decree["attempts"]]
        need(
            (decree["action"] == "shred") == bool(attempts), "attempts stand in a tombstone and nowhere else"
        )
        need(attempts == sorted(set(attempts)), "its attempts do not rise")
        self.decree = decree

    def check_tracks(self) -> None:
        """Compare the manifest's tracks with what the chunks cover (§7); `expected_us` is its own word."""
        need(len(self.tracks) == len(self.manifest["tracks"]), "other tracks than the chunks have")
        for track, said in zip(self.tracks, self.manifest["tracks"], strict=True):
            expected = said.get("expected_us")
            need(canonical(track | {"expected_us": expected}) == canonical(said), "not what the chunks cover")
            is_enough = is_shaped(expected, WHOLE) and expected >= track["end_us"] - track["start_us"]
            need(is_enough, "an expected_us that is less than what its track spans")

    def check_attempt(
        self,
        attempt: int,
        found: dict[str, list[int]],
        close: dict[str, Any] | None,
        grave: dict[str, Any] | None,
    ) -> None:
        """Take step 3 for one attempt. What has to be there is read though it is missing: that names it."""
        fixed: list[Any] = [grave["tenant"], grave["wall_start_us"]] if grave else []
        for revision in [] if self.is_shredded else found["key-record"] or [1]:  # 3.1
            with self.blaming(name := f"{attempt}/key-record-{revision:010}"):
                record = self.read_fields(name, f"{attempt}/key-record", KEY_RECORD)
                need((record["attempt"], record["revision"]) == (attempt, revision), "of another place")
                key = record["wrapped_key"]
                is_known = re.fullmatch(WRAPPED, f"{record['wrap']} {record['kek_id']} {key}")
                need(is_known and b64encode(b64decode(key)).decode() == key, "no wrapped key of a known way")
                same = [record[field] for field in ("tenant", "wall_start_us", "salt", "commitment")]
                need(same == (fixed or same), "changes what is the same in all revisions")
                fixed = same
        heads = []
        for size in found["checkpoint"]:  # 3.2
            with self.blaming(name := f"{attempt}/checkpoint-{size:010}"):
                lines = self.read_note(name, str(attempt))
                root = b64decode(lines[-1] if lines else "")
                is_head = lines == [str(size), b64encode(root).decode()] and len(root) == 32
                need(is_head, "not the head of a tree of its size")
                heads.append((size, root, name))
        closed = close or grave
        counted = closed["size"] if closed else max((head[0] for head in heads), default=0)  # 3.3
        self.size += counted
        late = [f"{attempt}/checkpoint-{size:010}" for size in found["checkpoint"] if size > counted]
        self.ignored += late + [f"{attempt}/chunk-{leaf:010}" for leaf in found["chunk"] if leaf >= counted]
        if not closed and (self.manifest or self.is_shredded):
            self.ignored.append(f"attempt {attempt}")
        known = [head[1:] for head in self.heads if head[0] == attempt]
        due, present = max([counted, *(size for size, _ in known)]), set(found["chunk"])  # 3.4, 3.6
        missing = {leaf for leaf in (0, *(leaf + 1 for leaf in present)) if leaf < due} - present
        hashes: list[bytes] = []
        tracks: dict[int, list[Chunk]] = defaultdict(list)
        for leaf in sorted(present | missing):
            with self.blaming(name := f"{attempt}/chunk-{leaf:010}"):
                chunk, leaf_hash = self.read_chunk(name, attempt, leaf)
                need(not fixed or chunk.tenant.hex() == fixed[0], "of another tenant")
                if leaf == len(hashes):  # 3.5: no leaf before this one is missing or bad
                    hashes.append(leaf_hash)
                    before = tracks[chunk.track][-1] if chunk.track in tracks else None
                    tracks[chunk.track].append(chunk)
                    need(may_follow(before, chunk), "out of order in its track")
        heads += [(size, root, f"{attempt}/chunk-{max(size - 1, 0):010}") for size, root in known]
        if close:
            heads.append((counted, bytes.fromhex(close["root"]), "manifest"))
        for size, root, name in heads:
            with self.blaming(name):
                need(size > len(hashes) or root_of(hashes[:size]) == root, f"{size} leaves have another root")
        if not close or len(hashes) < counted:
            return
        with self.blaming(f"{attempt}/checkpoint-{counted:010}"):  # 3.7
            need(counted in [0, *found["checkpoint"]], "missing")
        kept = [[c for c in tracks[track] if c.leaf < counted] for track in sorted(tracks)]
        with self.blaming("manifest"):
            need([self.manifest["tenant"], close["wall_start_us"]] == fixed[:2], "not as the key record says")
            is_whole = all(chunks[-1].kind == LAST for chunks in kept if chunks)
            need(is_whole or close["closed"] == "recovered", "a track has no last chunk")
        if not self.bad:
            shift_us = close["wall_start_us"] - self.manifest["media_start_us"]
            self.tracks += [cover(chunks, shift_us) for chunks in kept if chunks]


def main(arguments: list[str]) -> int:
    """Verify, print what was found, and give the exit code."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("key", type=Path)
    parser.add_argument("--head", action="append", default=[], help="ATTEMPT:SIZE:ROOT from elsewhere")
    given = parser.parse_args(arguments)
    try:
        parts = [re.fullmatch("([0-9]{1,10}):([0-9]{1,10}):([0-9a-f]{64})", head) for head in given.head]
        heads = [(int(p[1]), int(p[2]), bytes.fromhex(p[3])) for p in parts if p]
        is_known = len(heads) == len(given.head) and all(head[0] in ID for head in heads)
        need(is_known, "--head is ATTEMPT:SIZE:ROOT, the root in 64 hex digits")
        found = Verification(given.folder.resolve(), load_key(given.key), heads)
    except (ValueError, OSError) as error:
        print(f"misuse: {error}")
        return 2
    for name, reason in found.bad:
        print(f"bad: {name!a}: {reason}")
    for name in found.ignored:
        print(f"ignored: {name!a}: temporary, late or not acknowledged")
    is_empty = not any(track["recorded_us"] for track in found.tracks)
    verdict = ["complete, but empty" if is_empty else "complete", "bad", "", f"incomplete at {found.size}"]
    gone = "shredding" if found.has_keys else "shredded"
    print(gone if found.is_shredded and not found.bad else verdict[found.exit_code])
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
