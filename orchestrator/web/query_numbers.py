"""Whole numbers in a query string, with their limits."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from orchestrator.web.errors import FieldProblem, FieldsError

MAX_CURSOR: Final = 2**53


def query_number(request: web.Request, name: str, default: int, *, least: int = 1, most: int) -> int:
    """Give a number of the query string.

    Raises:
        FieldsError: it is none, or outside ``least`` to ``most``.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most):
        raise FieldsError([FieldProblem(name, f"{text[:20]!r} is no number from {least} to {most}")])
    return int(text)
