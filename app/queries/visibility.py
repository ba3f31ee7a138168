"""The conditions that hide what an actor may not see; the SQL twin of core/access.py."""

from typing import Any

from sqlalchemy import ColumnElement, or_, true

from events.tables import issues


def visible_issues(username: str, *, everything: bool) -> ColumnElement[Any]:
    """Issues somebody may see: public ones, and private ones they wrote or are assigned to."""
    if everything:
        return true()
    public = issues.c.private.is_(False)
    if not username:
        return public
    return or_(public, issues.c.author == username, issues.c.assignee == username)
