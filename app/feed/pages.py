"""Pages, digests and representations of the event feed, filtered by what the reader may see."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from app.actor import Actor
from app.database import Database, Row
from app.feed.fields import select_fields
from app.queries import feed
from app.queries.feed import FeedFilter, Reader

MAX_SCANNED = 10_000  # numbers that one statement scans; a narrow filter gets an empty page with `next` meanwhile


@dataclass(frozen=True)
class FeedPage:
    """A page of events. `next` is the last number that was scanned, hidden events included."""

    rows: list[Row]
    next: int


def build_reader(actor: Actor) -> Reader:
    return Reader(username=actor.username, groups=sorted(actor.groups), everything=actor.admin)


async def read_page(db: Database, actor: Actor, after: int, head: int, limit: int, wanted: FeedFilter) -> FeedPage:
    """Read the events after `after` and up to `head` that the actor may see."""
    upto = max(min(head, after + MAX_SCANNED), after)
    if actor.token_project is not None:
        # A token that is bound to a project shows that project's events only.
        if wanted.project_id not in (None, actor.token_project):
            return FeedPage([], upto)
        wanted = replace(wanted, project_id=actor.token_project)
    rows = await feed.read(db, after, upto, limit, wanted, build_reader(actor))
    return FeedPage(rows, rows[-1]["seq"] if len(rows) == limit else upto)


async def compute_digest(db: Database, actor: Actor, first: int, last: int) -> tuple[int, str]:
    """Count the events in this range that the actor may see, and compute the SHA-256 in hex over their ids, in order,
    each followed by a newline. Both ends are included.
    """
    count, digest = 0, hashlib.sha256()
    wanted = FeedFilter(project_id=actor.token_project)
    for after in range(first - 1, last, MAX_SCANNED):
        rows = await feed.read_ids(db, after, min(after + MAX_SCANNED, last), wanted, build_reader(actor))
        count += len(rows)
        digest.update(b"".join(b"%s\n" % str(row["id"]).encode() for row in rows))
    return count, digest.hexdigest()


def render_event(row: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
    project = {"id": row["project_id"], "path": row["path"]} if row["project_id"] is not None else None
    return {
        "seq": row["seq"],
        "id": str(row["id"]),
        "type": row["type"],
        "at": row["at"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "actor": row["actor"],
        "project": project,
        "subject": row["stream"],
        "data": select_fields(row["type"], row["data"], administers=row["administers"] and actor.acls is None),
        "command": str(row["command_id"]),
        "cause": row["cause_id"] and str(row["cause_id"]),
        "request": row["request"],
    }


def render_cloudevent(event: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Render an event in the structured mode of CloudEvents 1.0.2; `source` is the forge's base URL."""
    attributes = {
        "specversion": "1.0",
        "id": event["id"],
        "source": source,
        "type": event["type"],
        "subject": event["subject"],
        "time": event["at"],
        "datacontenttype": "application/json",
        # CloudEvents' Sequence extension: a string that sorts like the numbers.
        "sequence": f"{event['seq']:020}",
    }
    return {**attributes, "data": event}


def render_sse(event: Mapping[str, Any]) -> bytes:
    """Render an event as a server-sent event."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event["seq"], event["type"].encode(), orjson.dumps(event))
