"""Conditions that listings of issues and of pull requests share."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, TableClause, Text, func, literal, select

Span = tuple[datetime | None, datetime | None]  # start and end; None leaves that end open


@dataclass(frozen=True, kw_only=True)
class ItemFilter:
    """A filter of issues or pull requests. A tag or an assignee with a leading ! is excluded."""

    status: str | None = "Open"
    not_status: str | None = None
    tags: list[str] = field(default_factory=list)
    assignee: str | None = None
    assigned: bool | None = None
    author: str | None = None


def build_conditions(table: TableClause, wanted: ItemFilter) -> list[Any]:
    conditions = [*_people_conditions(table, wanted), *_tag_conditions(table, wanted)]
    if wanted.status:
        conditions.append(table.c.status == wanted.status)
    if wanted.not_status:
        conditions.append(table.c.status != wanted.not_status)
    return conditions


def select_stored_count(counts: TableClause, project_id: int, wanted: ItemFilter) -> Select[Any]:
    """Select a project's count for the filter's status from the table of stored counts."""
    query = select(func.coalesce(func.sum(counts.c.total), 0).cast(BigInteger)).where(counts.c.project_id == project_id)
    if wanted.status:
        query = query.where(counts.c.status == wanted.status)
    if wanted.not_status:
        query = query.where(counts.c.status != wanted.not_status)
    return query


def _people_conditions(table: TableClause, wanted: ItemFilter) -> list[Any]:
    column = table.c
    conditions: list[Any] = []
    if wanted.assigned is not None:
        conditions.append(column.assignee.is_not(None) if wanted.assigned else column.assignee.is_(None))
    elif wanted.assignee and wanted.assignee.startswith("!"):
        conditions.append(column.assignee.is_distinct_from(wanted.assignee[1:]))
    elif wanted.assignee:
        conditions.append(column.assignee == wanted.assignee)
    if wanted.author:
        conditions.append(column.author == wanted.author)
    return conditions


def _tag_conditions(table: TableClause, wanted: ItemFilter) -> list[Any]:
    included = [tag for tag in wanted.tags if not tag.startswith("!")]
    excluded = [tag[1:] for tag in wanted.tags if tag.startswith("!")]
    conditions = []
    if included:
        conditions.append(table.c.tags.bool_op("&&")(literal(included, ARRAY(Text))))
    if excluded:
        conditions.append(~table.c.tags.bool_op("&&")(literal(excluded, ARRAY(Text))))
    return conditions


def in_range(column: ColumnElement[Any], span: Span) -> list[ColumnElement[Any]]:
    """Build the conditions that a time lies in the span, both ends included."""
    start, end = span
    conditions: list[ColumnElement[Any]] = []
    if start is not None:
        conditions.append(column >= start)
    if end is not None:
        conditions.append(column <= end)
    return conditions
