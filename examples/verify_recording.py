"""A second verifier of recordings, written from docs/RECORDING.md alone (§: its sections).

python -m examples.verify_recording FOLDER signing.pub [--head ATTEMPT:SIZE:ROOT]…
Exit code: 0 complete, 1 bad (the bad files are named, the first one first), 2 misuse, 3 incomplete.
It proves that nothing was altered, dropped, swapped, repeated, spliced or (beside known heads) rolled back
since it was signed. The signer's own word and custody records it leaves to `greenroom verify` (§10).
"""

import json
import re
import struct
import sys
from argparse import ArgumentParser
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

UUID_TEXT = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # §2
NAME = re.compile("manifest|[1-9][0-9]{0,9}/(key-record|checkpoint|chunk)-[0-9]{10}")  # §3
HEADER = struct.Struct(">6sB17x16sIII8xQQI24x")  # §4.1: what tells the place; magic and version as one
INIT, LAST = 1, 2
BAD_FILE = (ValueError, LookupError, TypeError, struct.error, RecursionError, OSError, InvalidSignature)


def need(is_right: object, why: str) -> None:
    """Stop the check of a file unless this holds."""
    if not is_right:
        raise ValueError(why)


def root_of(hashes: list[bytes]) -> bytes:
    """Give the root of a tree (§6)."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256(b"").digest()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return sha256(b"\1" + root_of(hashes[:split]) + root_of(hashes[split:])).digest()


class Verification:
    """Takes the steps of §10; a known head is (attempt, size, root). ValueError: nothing to verify."""

    def __init__(self, folder: Path, key: bytes, heads: list[tuple[int, int, bytes]]) -> None:
        self.folder, self.key, self.heads = folder, key, heads
        self.bad: list[tuple[str, str]] = []  # file and reason, in the order of the steps
        self.closes: dict[int, dict[str, Any]] = {}  # of a good manifest, by attempt
        files = self.list_files()  # step 1
        self.names = [name for name, is_plain in files if is_plain and NAME.fullmatch(name)]
        self.ignored = [name for name, is_plain in files if is_plain and name.endswith(".tmp")]
        unknown = sorted({name for name, _ in files}.difference(self.names, self.ignored))
        need("custody-" not in str(unknown), "it has custody records (§5.3): ask `greenroom verify`")
        need(self.names, "no file of a recording in it")
        self.recording = folder.name if re.fullmatch(UUID_TEXT, folder.name) else self.find_id()
        if "manifest" in self.names:  # step 2, §5.2 and §6
            with self.blaming("manifest"):
                manifest = json.loads(self.read_note("manifest", "manifest")[0])
                need(manifest["format"] == "greenroom-manifest/1" and manifest["attempts"], "another format")
                root = sha256(b"greenroom recording root v1\0" + UUID(self.recording).bytes)
                for one in manifest["attempts"]:
                    root.update(struct.pack(">IQ", one["attempt"], one["size"]) + bytes.fromhex(one["root"]))
                need(manifest["root"] == root.hexdigest(), "its root is not that of its attempts")
                self.closes = {one["attempt"]: one for one in manifest["attempts"]}
        listed = {int(name.partition("/")[0]) for name in self.names if name != "manifest"}
        attempts = sorted({*self.closes, *listed, *(head[0] for head in heads)})
        self.size = sum(self.check_attempt(one, self.closes.get(one)) for one in attempts)  # step 3
        self.bad += [(name, "not a plain file with a name of §3") for name in unknown]
        self.exit_code = 1 if self.bad else 0 if self.closes else 3

    def find_id(self) -> str:
        """Give the id that most notes begin with."""
        notes = [self.read(name, 4 << 20) for name in self.names if "/chunk-" not in name]
        said = [note[20:56] for note in notes if note.startswith(b"greenroom/recording/")]
        need(said, "no note says which recording this is")
        return max(said, key=said.count).decode()

    def list_files(self) -> list[tuple[str, bool]]:
        """List all entries but folders by name, and whether each is a plain file."""
        paths = [path for path in self.folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        return sorted((str(p.relative_to(self.folder)), p.is_file() and not p.is_symlink()) for p in paths)

    @contextmanager
    def blaming(self, name: str) -> Iterator[None]:
        """Take an error for the fault of this file, and go on."""
        try:
            yield
        except BAD_FILE as error:
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
        body, _, line = self.read(name, 4 << 20).decode().rpartition("\n\n")
        origin = f"greenroom/recording/{self.recording}/{place}"
        key_hash = sha256(f"{origin}\n\1".encode() + self.key).digest()[:4]
        proof = key_hash + b64decode(line.rpartition(" ")[2])[4:]
        is_here = body.startswith(f"{origin}\n") and line == f"— {origin} {b64encode(proof).decode()}\n"
        need(is_here, "not a note of this place, or not signed by the given key alone")
        self.check_signature(proof[4:], f"{body}\n".encode())
        return body.split("\n")[1:]

    def read_chunk(self, name: str, attempt: int, leaf: int) -> tuple[bytes, int, int, int, int]:
        """Give leaf hash, kind, track, run and index of a good chunk (§4) of this place."""
        data = self.read(name, 104 + (1 << 25) + 80)
        leaf_hash = sha256(b"\0" + data[:-64]).digest()
        self.check_signature(data[-64:], b"greenroom recording chunk v1\0" + leaf_hash)
        begin, kind, *place, track, run, index, number, size = HEADER.unpack_from(data)
        need(begin == b"GRVC\0\1" and len(data) == 184 + size, "no chunk of version 1 and its length")
        need([*place, number] == [UUID(self.recording).bytes, attempt, leaf], "a chunk of another place")
        return leaf_hash, kind, track, run, index

    def check_attempt(self, attempt: int, close: dict[str, Any] | None) -> int:
        """Take step 3, give the size that counts. What is missing is read too: that names it."""
        own = [name.split("/")[1].rpartition("-") for name in self.names if name.startswith(f"{attempt}/")]
        kinds = ("key-record", "checkpoint", "chunk")
        revisions, sizes, leaves = ([int(number) for kind, _, number in own if kind == one] for one in kinds)
        fixed: list[Any] = []
        for revision in revisions or [1]:  # 3.1
            with self.blaming(name := f"{attempt}/key-record-{revision:010}"):
                record = json.loads(self.read_note(name, f"{attempt}/key-record")[0])
                same = [record[field] for field in ("tenant", "wall_start_us", "salt", "commitment")]
                is_this = (record["format"], record["revision"]) == ("greenroom-key-record/1", revision)
                need(is_this and same == (fixed or same), "not what this revision of its attempt has to say")
                fixed = same
        heads = []
        for size in sizes:  # 3.2
            with self.blaming(name := f"{attempt}/checkpoint-{size:010}"):
                stated, in_base64 = self.read_note(name, str(attempt))
                need(stated == str(size), "of another size")
                heads.append((size, b64decode(in_base64), name))
        counted = close["size"] if close else max((head[0] for head in heads), default=0)  # 3.3
        late = [leaf for leaf in leaves if leaf >= counted or (self.closes and not close)]
        self.ignored += [f"{attempt}/chunk-{leaf:010}" for leaf in late]
        known = [(n, root, f"{attempt}/chunk-{n - 1:010}") for one, n, root in self.heads if one == attempt]
        due, present = max([counted, *(head[0] for head in known)]), set(leaves)  # 3.4, 3.6
        missing = {leaf for leaf in (0, *(leaf + 1 for leaf in present)) if leaf < due} - present
        hashes: list[bytes] = []
        ends: dict[int, tuple[int, int, int]] = {}  # what the last chunk of a track says
        is_ended: dict[int, bool] = {}  # of the leaves that count
        for leaf in sorted(present | missing):
            with self.blaming(name := f"{attempt}/chunk-{leaf:010}"):
                leaf_hash, kind, track, run, index = self.read_chunk(name, attempt, leaf)
                if leaf == len(hashes):  # 3.5: no leaf before this one is missing or bad
                    hashes.append(leaf_hash)
                    is_ended |= {track: kind == LAST} if leaf < counted else {}
                    old, ends[track] = ends.get(track, (0, -1, -1)), (kind, run, index)  # §4.5
                    need(old[0] != LAST and old[1:] == (run - (kind == INIT), index - 1), "out of order")
        heads += [*known, (counted, bytes.fromhex(close["root"]), "manifest")] if close else known
        for size, root, name in heads:
            with self.blaming(name):
                need(size > len(hashes) or root_of(hashes[:size]) == root, f"{size} leaves have another root")
        if close and counted <= len(hashes):  # 3.7
            with self.blaming(f"{attempt}/checkpoint-{counted:010}"):
                need(counted in [0, *sizes], "missing")
            with self.blaming("manifest"):
                need(not fixed or close["wall_start_us"] == fixed[1], "another start than the key record's")
                need(close["closed"] == "recovered" or all(is_ended.values()), "a track has no last chunk")
        return counted


def main(arguments: list[str]) -> int:
    """Verify, print what was found, and give the exit code."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("key", type=Path)
    parser.add_argument("--head", action="append", default=[], help="ATTEMPT:SIZE:ROOT from elsewhere")
    given = parser.parse_args(arguments)
    try:
        line = given.key.read_bytes().decode("ascii")  # §9
        need(re.fullmatch("greenroom-public-key-1 [A-Za-z0-9+/]{43}=\n", line), f"no key: {given.key}")
        known = [re.fullmatch("([1-9][0-9]*):([0-9]+):([0-9a-f]{64})", head) for head in given.head]
        need(all(known), "--head is ATTEMPT:SIZE:ROOT, the root in 64 hex digits")
        heads = [(int(head[1]), int(head[2]), bytes.fromhex(head[3])) for head in known if head]
        found = Verification(given.folder.resolve(), b64decode(line.split(" ")[1]), heads)
    except (ValueError, OSError) as error:
        print(f"misuse: {error}")
        return 2
    for name, reason in found.bad:
        print(f"bad: {name!a}: {reason}")
    for name in found.ignored:
        print(f"ignored: {name!a}: temporary, late or not acknowledged")
    print(["complete", "bad", "", f"incomplete at {found.size}"][found.exit_code])
    return found.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
