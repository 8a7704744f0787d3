"""The index knows every segment of an attempt from headers, reads each once, and refuses bad ones."""

from __future__ import annotations

import pytest

from tests.fakes.chunk_stores import MemoryChunkStore, MemoryRecording
from tests.fakes.recordings import RECORDING, make_key_ring, open_writer, put_init, put_second, write_seconds
from vault.core.chunk_header import decode_header
from vault.errors import FileMissingError, FormatError
from vault.segment_index import AttemptIndex

RING = make_key_ring()


class CountingFiles(MemoryRecording):
    """Counts headers and refuses whole files."""

    def __init__(self, stored: dict[str, bytes]) -> None:
        super().__init__(stored)
        self.headers: list[str] = []

    def read(self, name: str, *, max_bytes: int) -> bytes:
        raise AssertionError(f"{name} was read as a whole")

    def read_start(self, name: str, *, length: int) -> bytes:
        self.headers.append(name)
        return super().read(name, max_bytes=2**40)[:length]


def indexed(size: int | None = None) -> tuple[AttemptIndex, CountingFiles]:
    store = MemoryChunkStore()
    writer = open_writer(store, RING)
    write_seconds(writer, seconds=3)
    put_init(writer, 1, offset_us=7)
    put_second(writer, 1, 0, b"another run")
    files = CountingFiles(store.recordings[RECORDING])
    index = AttemptIndex(files, RECORDING, 1)
    index.extend(10 if size is None else size)
    return index, files


def test_runs_and_segments_are_those_that_were_written() -> None:
    index, _ = indexed()
    assert [(run.track, run.run, run.init_leaf) for run in index.runs] == [(1, 0, 0), (2, 0, 1), (1, 1, 8)]
    first = index.runs[0]
    assert [(one.leaf, one.first_pts, one.start_byte) for one in first.segments] == [
        (2, 0, 0),
        (4, 1000, 9),
        (6, 2000, 18),
    ]
    assert [one.has_keyframe for one in first.segments] == [True, False, False]
    assert first.media_bytes == 27
    assert index.runs[2].offset_us == 7


def test_each_header_is_read_once_and_no_chunk() -> None:
    index, files = indexed(4)
    index.extend(10)
    index.extend(10)
    assert files.headers == [f"1/chunk-{leaf:010}" for leaf in range(10)]


def test_a_segment_is_only_of_the_header_that_it_came_from() -> None:
    index, files = indexed()
    segments = index.runs[0].segments
    header = decode_header(files.stored["1/chunk-0000000004"])
    assert [segment.is_of(header) for segment in segments] == [False, True, False]


def test_a_missing_chunk_stops_it_and_it_goes_on_there() -> None:
    index, files = indexed(4)
    kept = files.stored.pop("1/chunk-0000000005")
    with pytest.raises(FileMissingError, match="chunk-0000000005"):
        index.extend(10)
    assert index.size == 5
    files.stored["1/chunk-0000000005"] = kept
    index.extend(10)
    assert (index.size, len(index.coverage())) == (10, 2)


@pytest.mark.parametrize("other", ["1/chunk-0000000004", "1/chunk-0000000008"])
def test_a_chunk_of_another_place_is_refused(other: str) -> None:
    index, files = indexed(6)
    files.stored["1/chunk-0000000006"] = files.stored[other]
    with pytest.raises(FormatError, match=r"chunk-0000000006: it belongs elsewhere"):
        index.extend(10)


def test_a_header_that_is_none_is_refused() -> None:
    index, files = indexed(6)
    files.stored["1/chunk-0000000006"] = b"GRVC"
    with pytest.raises(FormatError, match="chunk-0000000006: it has 4 bytes"):
        index.extend(10)
