"""Where the log goes: lines on standard error, for people on a terminal, JSON elsewhere.

Secrets never reach a log call; as a last net, fields with a secret's name are struck out here, and
tracebacks show no local variables.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO, cast

import structlog

_SECRET_WORDS: Final = ("token", "secret", "password", "authorization", "jwt")
_DEEPEST: Final = 4  # containers within containers


def configure(*, level: str, output_format: str | None, service: str, environment: str) -> None:
    """Set up structlog and the standard library's log, once per process.

    Args:
        level: least level shown, one of debug, info, warning, error.
        output_format: ``console`` or ``json``; None: console when standard error is a terminal.
        service: name of this installation, put on every JSON line.
        environment: likewise.
    """
    is_console = output_format == "console" or (output_format is None and sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _strike_secrets,
    ]
    if is_console:
        # Plain: the pretty tracebacks show local variables, and those are tokens and keys.
        plain = structlog.dev.plain_traceback
        processors.append(
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        )
    else:
        fixed = {"service": service, "environment": environment}
        processors += [
            lambda _, __, line: {**line, **fixed},
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, StandardError())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")


class StandardError:
    """Standard error, where a line that cannot be written is dropped.

    It may be a file on a full disk, or a pipe whose reader is gone; the work goes on without its log.
    """

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        try:
            return sys.stderr.write(text)
        except OSError:
            return 0

    def flush(self) -> None:
        """Flush, if that is possible."""
        try:
            sys.stderr.flush()
        except OSError:
            pass


def _strike_secrets(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in line.items():
        line[key] = _struck(key, value, _DEEPEST)
    return line


def _struck(key: str, value: Any, depth: int) -> Any:
    """Give the value without what has a secret's name; what lies too deep to look is left out."""
    if any(word in key.lower() for word in _SECRET_WORDS):
        return "(struck out)"
    if isinstance(value, Mapping):
        return {k: _struck(str(k), v, depth - 1) for k, v in value.items()} if depth else "(too deep)"
    if isinstance(value, list | tuple) and not key.startswith("exc_"):
        return [_struck("", item, depth - 1) for item in value] if depth else "(too deep)"
    return value
