"""Show repositories and the permissions on them."""

from collections.abc import Mapping
from typing import Any

from app.actor import NOBODY
from app.core import access
from app.core.access import GRANTS, Level
from app.database import Row
from app.dialects.jsonrpc import users as accounts
from app.dialects.jsonrpc.answers import render_in_thread
from app.dialects.jsonrpc.commits import format_date
from app.dialects.jsonrpc.dialect import Call
from app.dialects.jsonrpc.members import Grant
from app.dialects.jsonrpc.newest import find_newest
from app.queries import projects, users


def show(call: Call, row: Row, newest: Mapping[str, Any]) -> dict[str, Any]:
    """Render a repository with its newest commit."""
    parent = _find_parent(call, row)
    return {
        "repo_id": row["project_id"],
        "repo_name": row["path"],
        "repo_type": "git",
        "clone_uri": row["mirrored_from"] or call.dialect.unset_uri,
        "push_uri": call.dialect.unset_uri,
        "url": f"{call.url}/{row['path']}",
        "private": row["private"],
        "created_on": format_date(row["created_at"]),
        "description": row["description"],
        "landing_rev": ["rev", "tip"],
        "owner": row["owner"],
        "fork_of": parent["path"] if parent else None,
        "fork_of_id": parent["project_id"] if parent else None,
        "enable_statistics": False,
        "enable_downloads": False,
        "enable_locking": False,
        "last_changeset": newest,
        "locked_by": None,
        "locked_date": None,
        "lock_reason": None,
    }


def _find_parent(call: Call, row: Row) -> Mapping[str, Any] | None:
    """Find the repository that this one is a fork of, if it still exists and the actor may see it."""
    line: list[Mapping[str, Any]] = row["line"] or []
    parent = next((each for each in line if each["project_id"] == row["parent_id"]), None)
    return parent if parent is not None and access.level(call.actor, parent) >= Level.READ else None


async def show_all(call: Call) -> list[dict[str, Any]]:
    """Render all repositories that the actor may see."""
    rows = await projects.list_readable(call.db, call.actor)
    pairs = list(zip(rows, await find_newest(call, rows), strict=True))
    return await render_in_thread(lambda pair: show(call, *pair), pairs)


async def show_plain(call: Call, row: Row) -> dict[str, Any]:
    """Render a repository as listings do."""
    [newest] = await find_newest(call, [row])
    return show(call, row, newest)


async def show_one(call: Call, row: Row) -> dict[str, Any]:
    """Render a repository with its followers."""
    followers = await users.list_followers(call.db, row["project_id"], row["owner"])
    return {**await show_plain(call, row), "followers": [accounts.show(call, each) for each in followers]}


def list_grants(row: Row, party: str) -> list[Grant]:
    """List the grants to users or to groups, as permissions without their family, by name."""
    given = row["access"][party]
    return [(name, accounts.PERMISSIONS.get(GRANTS[given[name]["level"]], "admin")) for name in sorted(given)]


def default_grant(row: Row) -> Grant:
    """What anonymous clients may do, as a grant to `default`."""
    return "default", accounts.permission_of(NOBODY, row)
