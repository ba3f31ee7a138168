"""The conditions that listings of issues and of pull requests have in common."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, TableClause, Text, func, literal, select

Span = tuple[datetime | None, datetime | None]


@dataclass(frozen=True, kw_only=True)
class ItemFilter:
    """What a listing is narrowed to. A tag or an assignee with a leading ! is excluded."""

    status: str | None = "Open"
    not_status: str | None = None
    tags: list[str] = field(default_factory=list)
    assignee: str | None = None
    assigned: bool | None = None
    author: str | None = None


def build_conditions(table: TableClause, wanted: ItemFilter) -> list[Any]:
    found = [*_people_conditions(table, wanted), *_tag_conditions(table, wanted)]
    if wanted.status:
        found.append(table.c.status == wanted.status)
    if wanted.not_status:
        found.append(table.c.status != wanted.not_status)
    return found


def is_precounted(counts: TableClause, project_id: int, wanted: ItemFilter) -> Select[Any]:
    """How many a project has of this status, from the counts that are kept."""
    found = select(func.coalesce(func.sum(counts.c.total), 0).cast(BigInteger)).where(counts.c.project_id == project_id)
    if wanted.status:
        found = found.where(counts.c.status == wanted.status)
    if wanted.not_status:
        found = found.where(counts.c.status != wanted.not_status)
    return found


def _people_conditions(table: TableClause, wanted: ItemFilter) -> list[Any]:
    column = table.c
    found: list[Any] = []
    if wanted.assigned is not None:
        found.append(column.assignee.is_not(None) if wanted.assigned else column.assignee.is_(None))
    elif wanted.assignee and wanted.assignee.startswith("!"):
        found.append(column.assignee.is_distinct_from(wanted.assignee[1:]))
    elif wanted.assignee:
        found.append(column.assignee == wanted.assignee)
    if wanted.author:
        found.append(column.author == wanted.author)
    return found


def _tag_conditions(table: TableClause, wanted: ItemFilter) -> list[Any]:
    plain = [tag for tag in wanted.tags if not tag.startswith("!")]
    excluded = [tag[1:] for tag in wanted.tags if tag.startswith("!")]
    found = []
    if plain:
        found.append(table.c.tags.bool_op("&&")(literal(plain, ARRAY(Text))))
    if excluded:
        found.append(~table.c.tags.bool_op("&&")(literal(excluded, ARRAY(Text))))
    return found


def in_range(column: ColumnElement[Any], span: Span) -> list[ColumnElement[Any]]:
    """The conditions for a moment to lie in it, its ends included."""
    start, end = span
    conditions: list[ColumnElement[Any]] = []
    if start is not None:
        conditions.append(column >= start)
    if end is not None:
        conditions.append(column <= end)
    return conditions
