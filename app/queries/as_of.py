"""Issues, pull requests and flags as they were right after an event, for messages that are sent later.

The rows are those of today with what has changed since put back, from the events of their streams up to that one.
"""

from collections.abc import Mapping
from typing import Any

from app.database import Database, Row
from app.queries import issues, pull_requests
from events.upcasts import current_data_sql

# The events of a stream up to the one with a number.
STORY = f"""
    select   events.type, {current_data_sql()} as data, events.actor, events.at, events.position
    from     numbers join events as this using (position)
    join     events on events.stream = $2 and events.position <= this.position
    where    numbers.seq = $1
    order by events.version
"""
DELETED_TAGS = """
    select   events.data ->> 'tag' as tag, max(events.position) as position
    from     numbers join events as this using (position)
    join     events on events.type = 'tag.deleted' and events.position < this.position
             and events.stream = any (array(select 'tag-' || $2::bigint || '/' || tag from unnest($3::text[]) as tag))
    where    numbers.seq = $1
    group by 1
"""
FULLNAMES = "select username, fullname from users where username = any ($1)"


async def find_issue(db: Database, seq: int, project_id: int, number: int) -> dict[str, Any]:
    """Find an issue with its comments as of an event. Raises NotFound if it is gone by now.

    Its dependents, related pull requests and places on boards are those of today.
    """
    row = dict(await issues.find_with_thread(db, project_id, number))
    story = await db.fetch(STORY, seq, f"issue-{project_id}/{number}")
    tagged_at = 0
    for each in story:
        if each["type"] == "issue.opened":
            row |= {name: each["data"][name] for name in ("title", "content", "assignee", "milestone", "tags")}
            row |= {"status": "Open", "close_status": None, "depends": [], "custom_fields": {}}
            row |= {"closed_at": None, "closed_by": None}
        changed = each["data"].get("changed", {})
        row |= {name: value for name, value in changed.items() if name not in ("custom_fields", "boards")}
        _set_custom_fields(row, changed.get("custom_fields", {}))
        _close(row, each, changed.get("status") == "Closed")
        row["updated_at"] = each["at"]
        tagged_at = each["position"] if "tags" in changed or each["type"] == "issue.opened" else tagged_at
    deleted = {each["tag"]: each["position"] for each in await db.fetch(DELETED_TAGS, seq, project_id, row["tags"])}
    row["tags"] = [tag for tag in row["tags"] if deleted.get(tag, 0) < tagged_at]
    return await _finish(db, row, story)


# Statuses hold for the head of the target branch that they name.
MERGE_STATUS = """
    select   found ->> 'status'
    from     events join numbers using (position), jsonb_array_elements(data -> 'statuses') as found
    where    stream = $2 and seq <= $1 and (found ->> 'number')::int = $3 and found ->> 'commit_stop' = $4
    and      not exists (
        select 1
        from   events as move join numbers as moved using (position)
        where  move.stream = $5 and moved.seq between numbers.seq and $1
        and    move.data ->> 'new' is distinct from events.data ->> 'base'
    )
    order by seq desc
    limit    1
"""


async def find_pull_request(
    db: Database, seq: int, project_id: int, number: int, *, thread: bool = True
) -> dict[str, Any]:
    """Find a pull request as of an event, with its comments if asked for. Raises NotFound if it is gone by now."""
    row = dict(await pull_requests.find(db, project_id, number, thread=thread))
    story = await db.fetch(STORY, seq, f"pull-request-{project_id}/{number}")
    for each in story:
        data, changed = each["data"], each["data"].get("changed", {})
        row["last_updated"] = each["at"]
        match each["type"]:
            case "pull-request.opened":
                row |= {
                    name: data[name] for name in ("title", "initial_comment", "commit_start", "commit_stop", "issues")
                }
                row |= {"status": "Open", "assignee": None, "closed_at": None, "closed_by": None, "score": {}}
                row |= {"merge_status": "unknown", "commit_issues": [], "updated_on": each["at"]}
            case "pull-request.commented":
                vote = data["vote"]
                row["score"] = row["score"] if vote is None else {**row["score"], data["author"]: vote}
            case "pull-request.merged":
                row |= {"status": "Merged", "merge_status": "unknown"}
            case "pull-request.rebased":
                row["merge_status"] = "unknown"
        if "commit_stop" in changed:
            row["merge_status"] = "unknown"
        row |= changed
        _close(row, each, changed.get("status") == "Closed" or each["type"] == "pull-request.merged")
        if data.get("comment_id") is not None or "title" in changed:
            row["updated_on"] = each["at"]
    if row["status"] != "Merged":
        row["merge_status"] = await _find_merge_status(db, seq, row)
    return await _finish(db, row, story)


async def _find_merge_status(db: Database, seq: int, row: Mapping[str, Any]) -> str:
    """Find the merge status as of an event: the last one that was found, if target and commits are still the same."""
    project_id, branch = row["project_id"], row["branch"]
    status: str | None = await db.fetchval(
        MERGE_STATUS,
        seq,
        f"merge-statuses-{project_id}/{branch}",
        row["number"],
        row["commit_stop"],
        f"ref-{project_id}/refs/heads/{branch}",
    )
    return status or "unknown"


async def find_flag(db: Database, event: Mapping[str, Any], project_id: int, data: Mapping[str, Any]) -> Row | None:
    """Find a flag of a commit as its event set it; None if it is gone by now."""
    found = await pull_requests.find_flag(db, project_id, data["commit"], data["uid"])
    fields = ("username", "status", "percent", "comment", "url")
    return found and {**found, **{name: data[name] for name in fields}, "updated_at": event["at"]}


def _set_custom_fields(row: dict[str, Any], changed: Mapping[str, Any]) -> None:
    values = {**row["custom_fields"], **changed}
    row["custom_fields"] = {name: value for name, value in values.items() if value is not None}


def _close(row: dict[str, Any], event: Row, closes: bool) -> None:
    if closes:
        row |= {"closed_at": event["at"], "closed_by": event["actor"]}


async def _finish(db: Database, row: dict[str, Any], story: list[Row]) -> dict[str, Any]:
    """Leave out later comments, and add the full names of the users who act in the row."""
    said = {each["data"].get("comment_id") for each in story}
    row["thread"] = [each for each in row["thread"] or [] if each["comment_id"] in said]
    people = [name for name in (row["assignee"], row["closed_by"]) if name]
    names = dict(await db.fetch(FULLNAMES, people)) if people else {}
    for role in ("assignee", "closed_by"):
        row[f"{role}_fullname"] = names.get(row[role], row[role])
    return row
