"""`greenroom version`: which version this is, and of what it stands on."""

from __future__ import annotations

import sys
from importlib.metadata import version as package_version

import typer

from greenroom.media_binary import LIVEKIT_VERSION


def version() -> None:
    """Print the version of Greenroom, of Python and of the livekit-server it is tested with."""
    typer.echo(
        f"greenroom {package_version('greenroom')} · Python {sys.version.split()[0]}"
        f" · livekit {package_version('livekit')} · livekit-server {LIVEKIT_VERSION}"
    )
