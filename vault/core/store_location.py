"""Where a chunk store is, as settings and reports write it: a folder, or a bucket of an S3-compatible store.

Source: docs/RECORDER.md (chunk store).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, assert_never
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

FORMS: Final = "a folder, file:///FOLDER or s3://BUCKET/PREFIX?endpoint=URL&region=NAME"

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")  # what every store keeps as it is
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class DirLocation:
    """A folder; ``path`` may be relative to the working folder."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """A bucket, and what the names of its objects begin with.

    Attributes:
        prefix: parts with ``/`` between, none at the ends; empty for the whole bucket.
        endpoint: address of a store that is not Amazon's, http(s)://HOST[:PORT]; empty for Amazon's.
        region: empty for the store's default.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""

    @property
    def url(self) -> str:
        """The one way of writing this location; `parse_location` reads it."""
        options = {"endpoint": self.endpoint, "region": self.region}
        query = urlencode({name: value for name, value in options.items() if value}, safe=":/[]")
        path = f"/{self.prefix}" if self.prefix else ""
        return f"s3://{self.bucket}{path}{f'?{query}' if query else ''}"


StoreLocation = DirLocation | S3Location


def parse_location(text: str) -> StoreLocation:
    """Read a location; a store's credentials are never part of it.

    Args:
        text: a folder, ``file:///FOLDER``, or ``s3://BUCKET/PREFIX?endpoint=URL&region=NAME``.

    Raises:
        ValueError: it is none of these, or holds more; what may be a secret is not repeated.
    """
    if not text or "\0" in text:
        raise ValueError(f"an empty place is no chunk store; write {FORMS}")
    if not _SCHEME.match(text) and not text.startswith("file:"):
        return DirLocation(text)
    parts = urlsplit(text)
    if parts.scheme == "file":
        return DirLocation(_folder_of(parts.netloc, parts.path, parts.query + parts.fragment))
    if parts.scheme != "s3":
        raise ValueError(f"{parts.scheme!r} is no kind of chunk store; write {FORMS}")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError(
            "an s3 location holds no user, password or fragment; credentials come from"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(
            f"{parts.netloc!r} is no bucket; it has 3 to 63 lower case letters, digits, dots and hyphens"
        )
    prefix = parts.path.strip("/")
    if prefix and not all(_PREFIX_PART.fullmatch(part) for part in prefix.split("/")):
        raise ValueError(f"{prefix!r} is no prefix; its parts have letters, digits, '.', '_' and '-' only")
    return _with_options(S3Location(bucket=parts.netloc, prefix=prefix), parts.query)


def recording_place(store: StoreLocation, recording_id: str) -> str:
    """Write where one recording of a store lies, as commands and `vault.stores.open_recording` read it."""
    match store:
        case DirLocation(path):
            return f"{path.rstrip('/')}/{recording_id}"
        case S3Location(prefix=prefix):
            return replace(store, prefix=f"{prefix}/{recording_id}".lstrip("/")).url
        case other:
            assert_never(other)


def folder_url(path: str) -> str:
    """Write an absolute folder as `parse_location` reads it."""
    return f"file://{quote(path)}"


def _folder_of(host: str, path: str, rest: str) -> str:
    if host not in ("", "localhost") or not path.startswith("/") or rest:
        raise ValueError("a folder's URL has an absolute path and nothing else; write file:///FOLDER")
    return unquote(path)


def _with_options(location: S3Location, query: str) -> S3Location:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in ("endpoint", "region") or name in options:
            raise ValueError(
                f"{name!r} is no option of an s3 location, or is there twice; it has endpoint and region, and"
                " credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        options[name] = value
    endpoint, region = options.get("endpoint", ""), options.get("region", "")
    if endpoint:
        parts = urlsplit(endpoint)
        is_plain = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
            raise ValueError("the endpoint of an s3 location is http(s)://HOST[:PORT] and nothing else")
        endpoint = f"{parts.scheme}://{parts.netloc}"
    if region and not _REGION.fullmatch(region):
        raise ValueError(f"{region!r} is no region; write one such as eu-central-1")
    return S3Location(bucket=location.bucket, prefix=location.prefix, endpoint=endpoint, region=region)
