"""Recordings in a bucket of an S3-compatible store: one object per file, put with If-None-Match.

An object is put in one request, so it appears whole or not at all, and a put that was cut short leaves
nothing behind: uploads in parts, which do, are never begun. Credentials are what the AWS_* variables say.

Source: docs/RECORDING.md §3, §8.
"""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import timedelta
from typing import Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from vault.adapters.held_space import NothingHeld
from vault.core.ids import RecordingId, is_recording_id, parse_recording_id
from vault.core.layout import check_file_name
from vault.core.store_location import S3Location
from vault.errors import ChunkExistsError, FileMissingError, FormatError, StoreError, StoreSetupError
from vault.ports import RecordingFiles, StoredFile

CONNECT_S: Final = 3.0
REQUEST_S: Final = 20.0  # the largest chunk, 32 MiB, at 14 Mb/s
PROBE_NAME: Final = ".create-only"  # no recording has this name

# Where credentials can come from. Without one of these the client would ask a machine on the network.
_CREDENTIALS: Final = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE",),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
)
_CODE: Final = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_STATUS: Final = re.compile(r"status code: ([0-9]{3})")
_NO_OBJECT: Final = ("NoSuchKey", "")  # a store without a body in its 404 means the object
_NOTHING_IN_RANGE: Final = 416
_NO_BUCKET: Final = ("NoSuchBucket", "InvalidBucketName")


class S3ChunkStore:
    """A ChunkStore on a bucket. Nothing is sent before the first call.

    Args:
        location: where the recordings lie.

    Raises:
        StoreSetupError: the environment names no credentials.
    """

    def __init__(self, location: S3Location) -> None:
        if not any(all(os.environ.get(name) for name in names) for names in _CREDENTIALS):
            raise StoreSetupError(
                f"{location.url} needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        self._where = location.url
        self._objects = S3Store(
            location.bucket,
            prefix=location.prefix or None,
            config={
                **({"endpoint": location.endpoint} if location.endpoint else {}),
                **({"region": location.region} if location.region else {}),
                "disable_bulk_delete": True,  # not every store has it, and we delete little
            },
            client_options={
                "allow_http": location.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=CONNECT_S),
                "timeout": timedelta(seconds=REQUEST_S),
            },
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=REQUEST_S)},
        )
        self._lock = threading.Lock()
        self._is_checked = False

    def check(self) -> None:
        """See that the bucket takes objects and replaces none; see `ChunkStore.check`."""
        with self._lock:
            if not self._is_checked:
                self._probe()
                self._is_checked = True

    def put(self, recording_id: RecordingId, name: str, data: bytes) -> None:
        """Store one object; see `ChunkStore.put`."""
        path = f"{parse_recording_id(recording_id)}/{check_file_name(name)}"
        self.check()  # for a process that was started while the store did not answer
        began_s = time.monotonic()
        try:
            self._create(path, data)
        except AlreadyExistsError:
            self._accept_repeat(path, name, data)
        except (BaseError, FileNotFoundError) as error:
            # A server may refuse a repeat before it has read it all, and close: the refusal is lost then, at
            # every repeat. So it is looked at what is there; not after a time-out, which says nothing.
            is_cut_off = not _code_of(error) and _status_of(error) is None
            if not is_cut_off or time.monotonic() - began_s >= REQUEST_S:
                raise self._store_error(error, path) from None
            self._accept_repeat(path, name, data)

    def hold_space(self, size_bytes: int) -> NothingHeld:
        """A bucket has no end of its own; see `ChunkStore.hold_space`."""
        return NothingHeld()

    def delete(self, recording_id: RecordingId, name: str) -> None:
        """Remove one object; see `ChunkStore.delete`. A bucket with versions keeps the old ones."""
        path = f"{parse_recording_id(recording_id)}/{check_file_name(name)}"
        try:
            obstore.delete(self._objects, path)
        except (BaseError, FileNotFoundError) as error:
            if _code_of(error) != "NoSuchKey":
                raise self._store_error(error, path) from None

    def files(self, recording_id: RecordingId) -> RecordingFiles:
        """The objects of one recording; see `ChunkStore.files`."""
        return _S3Recording(self, parse_recording_id(recording_id))

    def list_recordings(self) -> list[RecordingId]:
        """Every key prefix that is named like a recording; see `ChunkStore.list_recordings`."""
        try:
            prefixes = obstore.list_with_delimiter(self._objects)["common_prefixes"]
        except (BaseError, FileNotFoundError) as error:
            raise self._store_error(error, "recordings") from None
        names = [prefix.rstrip("/").rpartition("/")[2] for prefix in prefixes]
        return sorted(RecordingId(name) for name in names if is_recording_id(name))

    def list_files(self, folder: str) -> list[StoredFile]:
        """Every object below a key prefix, in order of name."""
        found: list[StoredFile] = []
        try:
            for page in obstore.list(self._objects, prefix=folder):
                for entry in page:
                    found.append(StoredFile(entry["path"].removeprefix(f"{folder}/"), entry["size"]))
        except (BaseError, FileNotFoundError) as error:
            raise self._store_error(error, folder) from None
        return sorted(found, key=lambda file: file.name)

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """The whole of one object; see `RecordingFiles.read`."""
        try:
            answer = obstore.get(self._objects, path)
            size = answer.meta["size"]
            if size > max_bytes:
                raise FormatError(f"it has {size} bytes, at most {max_bytes} are allowed here")
            return bytes(answer.bytes())
        except (BaseError, FileNotFoundError) as error:
            raise self._read_error(error, path) from None

    def read_start(self, path: str, *, length: int) -> bytes:
        """The beginning of one object; see `RecordingFiles.read_start`."""
        try:
            return bytes(obstore.get_range(self._objects, path, start=0, length=length))
        except (BaseError, FileNotFoundError) as error:
            if _status_of(error) == _NOTHING_IN_RANGE:  # the object is empty
                return b""
            raise self._read_error(error, path) from None

    def _create(self, path: str, data: bytes) -> None:
        obstore.put(self._objects, path, data, mode="create", use_multipart=False)

    def _accept_repeat(self, path: str, name: str, data: bytes) -> None:
        try:
            if self.read(path, max_bytes=len(data)) == data:
                return
        except FormatError:
            pass  # larger: other bytes
        except FileMissingError:
            raise StoreError(f"{path} was not taken by {self._where}; it is not there") from None
        raise ChunkExistsError(f"{name} is stored already with other bytes, in {self._where}")

    def _probe(self) -> None:
        """Put one object twice: the second put must be refused."""
        try:
            for _ in range(2):
                self._create(PROBE_NAME, b"Written once, to see that this store replaces nothing.\n")
        except AlreadyExistsError:
            return
        except (BaseError, FileNotFoundError) as error:
            raise self._setup_error(error) from None
        raise StoreSetupError(
            f"{self._where} replaces objects although they are put with If-None-Match;"
            " recordings need a store with conditional puts"
        )

    def _setup_error(self, error: Exception) -> StoreSetupError | StoreError:
        code, status = _code_of(error), _status_of(error)
        if code in _NO_BUCKET:
            return StoreSetupError(f"{self._where} names a bucket that is not there ({code}); make it first")
        if code == "NotImplemented" or status == 501:
            return StoreSetupError(
                f"{self._where} does not know puts with If-None-Match ({code or status});"
                " recordings need a store with conditional puts"
            )
        if status is not None and 300 <= status < 500 and status not in (408, 429):
            return StoreSetupError(
                f"{self._where} refuses these credentials or this region ({code or status});"
                " check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, their rights and the region"
            )
        return self._store_error(error, PROBE_NAME)

    def _read_error(self, error: Exception, path: str) -> FileMissingError | StoreError:
        if isinstance(error, FileNotFoundError) and _code_of(error) in _NO_OBJECT:
            return FileMissingError(f"{path} is missing in {self._where}")
        return self._store_error(error, path)

    def _store_error(self, error: Exception, path: str) -> StoreError:
        # The client's own text holds what was signed and the key id: only codes of ours to show are taken.
        status = _status_of(error)
        reason = _code_of(error) or status or "no answer"
        fix = (
            "; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their rights"
            if status in (401, 403)
            else ""
        )
        return StoreError(f"{path} cannot be read or written in {self._where}: {reason}{fix}")


class _S3Recording:
    """The objects of one recording."""

    def __init__(self, store: S3ChunkStore, recording_id: RecordingId) -> None:
        self._store, self._folder = store, recording_id

    def list_files(self) -> list[StoredFile]:
        """Every object there is; see `RecordingFiles.list_files`."""
        return self._store.list_files(self._folder)

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """The whole of one object; see `RecordingFiles.read`."""
        return self._store.read(f"{self._folder}/{check_file_name(name)}", max_bytes=max_bytes)

    def read_start(self, name: str, *, length: int) -> bytes:
        """The beginning of one object; see `RecordingFiles.read_start`."""
        return self._store.read_start(f"{self._folder}/{check_file_name(name)}", length=length)


def _code_of(error: Exception) -> str:
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _status_of(error: Exception) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None
