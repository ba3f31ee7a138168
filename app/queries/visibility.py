"""Conditions that hide what an actor may not see; the SQL counterpart of core/access.py."""

from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, and_, func, literal, or_, select, true

from app.actor import Actor
from events.tables import access, issues, projects

PUBLIC: ColumnElement[Any] = projects.c.private.is_(False)
WRITERS = ["commit", "admin"]


def visible_issues(username: str, *, everything: bool) -> ColumnElement[Any]:
    """The condition for a project's issues that a user may see: public ones, and private ones they wrote or are
    assigned to.
    """
    if everything:
        return true()
    public = issues.c.private.is_(False)
    if not username:
        return public
    return or_(public, issues.c.author == username, issues.c.assignee == username)


def granted_condition(actor: Actor, *levels: str) -> ColumnElement[Any]:
    """The condition that the actor or one of their groups has access to the project, at one of these levels if any are
    given.
    """
    grantee = or_(
        and_(access.c.party == "user", access.c.name == actor.username),
        and_(access.c.party == "group", access.c.name == func.any(literal(sorted(actor.groups), ARRAY(Text)))),
    )
    query = select(access.c.project_id).where(access.c.project_id == projects.c.project_id, grantee)
    if levels:
        query = query.where(access.c.level == func.any(literal(list(levels), ARRAY(Text))))
    return query.exists()


def _reached_projects(actor: Actor) -> ColumnElement[Any]:
    """The condition for projects where the actor's rights count: all, or only the one that the token is bound to."""
    if actor.token_project is None:
        return true()
    return projects.c.project_id == actor.token_project


def readable_projects(actor: Actor) -> ColumnElement[Any]:
    if actor.anonymous:
        return PUBLIC
    accessible = true() if actor.admin else or_(projects.c.owner == actor.username, granted_condition(actor))
    return or_(PUBLIC, and_(_reached_projects(actor), accessible))


def readable_issues(actor: Actor) -> ColumnElement[Any]:
    """The condition for issues that the actor may read, in a query that joins issues and projects."""
    public = issues.c.private.is_(False)
    if actor.anonymous:
        return and_(PUBLIC, public)
    own = visible_issues(actor.username, everything=False)
    writable = true() if actor.admin else or_(projects.c.owner == actor.username, granted_condition(actor, *WRITERS))
    return and_(readable_projects(actor), or_(public, and_(_reached_projects(actor), or_(own, writable))))
