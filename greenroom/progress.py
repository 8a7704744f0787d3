"""Progress of long work over bytes: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

OnProgress = Callable[[int, int], None]  # done, of how many

_LINE_EVERY_S: Final = 2.0


@contextmanager
def shown_progress(label: str) -> Iterator[OnProgress]:
    """Give a function to be told the progress of the block; it writes to standard error only."""
    if sys.stderr.isatty():
        with _bar(label) as on_progress:
            yield on_progress
    else:
        yield _lines(label)


@contextmanager
def _bar(label: str) -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines(label: str) -> OnProgress:
    next_line = time.monotonic() + _LINE_EVERY_S

    def on_progress(done: int, total: int) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + _LINE_EVERY_S
            share = f" ({done / total:.0%})" if total else ""
            print(f"{label}: {done} of {total} bytes{share}", file=sys.stderr, flush=True)

    return on_progress
