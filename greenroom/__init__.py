"""Greenroom's public face: `from greenroom import Worker, Job, Client`, loaded when first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdk.client import Client as Client
    from sdk.job import Job as Job
    from sdk.worker import Worker as Worker

__all__ = ["Client", "Job", "Worker"]

# Lazily, so that the command line and the set-up scripts start without loading LiveKit.
_HOMES = {"Client": "sdk.client", "Job": "sdk.job", "Worker": "sdk.worker"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
