"""The log for outsiders: what they may see of it, page by page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.core.access import Actor
from app.database import Database, Row
from app.queries import feed

SPAN = 10_000  # numbers that one page looks at: whoever wants few of many events gets `next` meanwhile


@dataclass(frozen=True)
class FeedPage:
    """`next` is how far has been looked, hidden events included."""

    rows: list[Row]
    next: int
    head: int


async def page(db: Database, actor: Actor, after: int, limit: int, wanted: feed.FeedFilter) -> FeedPage:
    head = await feed.head(db)
    upto = min(head, after + SPAN)
    if actor.token_project is not None:
        # A token that is bound to a project shows that project's story.
        if wanted.project_id not in (None, actor.token_project):
            return FeedPage([], max(upto, after), head)
        wanted = replace(wanted, project_id=actor.token_project)
    rows = await feed.read(
        db, after, upto, limit, wanted, username=actor.username, groups=sorted(actor.groups), everything=actor.admin
    )
    looked = rows[-1]["seq"] if len(rows) == limit else max(upto, after)
    return FeedPage(rows, looked, head)


def shown(row: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
    project = {"id": row["project_id"], "path": row["path"]} if row["project_id"] is not None else None
    return {
        "seq": row["seq"],
        "id": str(row["id"]),
        "type": row["type"],
        "at": row["at"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": row["actor"],
        "project": project,
        "subject": row["stream"],
        "data": row["data"] if actor.admin else _public(row["type"], row["data"]),
        "command": str(row["command_id"]),
        "cause": row["cause_id"] and str(row["cause_id"]),
        "request": row["request"],
    }


def _public(type: str, data: dict[str, Any]) -> dict[str, Any]:
    """Where a project's hooks go may be as good as a password, so it is not told to everybody."""
    if type != "project.configured" or "web_hooks" not in data["settings"]:
        return data
    return {**data, "settings": {**data["settings"], "web_hooks": None}}
