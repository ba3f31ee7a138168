"""Span: a stretch of time, either end of which may be open."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement

Span = tuple[datetime | None, datetime | None]


def in_range(column: ColumnElement[Any], span: Span) -> list[ColumnElement[Any]]:
    """The conditions for a moment to lie in it, its ends included."""
    start, end = span
    conditions: list[ColumnElement[Any]] = []
    if start is not None:
        conditions.append(column >= start)
    if end is not None:
        conditions.append(column <= end)
    return conditions
