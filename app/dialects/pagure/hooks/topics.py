"""Topics for projects, issues, pull requests and flags."""

from typing import Any

from app.core.project_settings import get_setting
from app.dialects.pagure import render
from app.dialects.pagure.hooks.registry import HookContext, Rendered, renders
from app.dialects.pagure.settings import NAMES
from app.errors import NotFound, Subject
from app.queries import as_of, history
from events.notes import NoteReason

FORGE = {"agent": "pagure"}  # the agent of changes that the forge makes by itself
OPTIONS = {setting: name for name, setting in NAMES.items()}
EDITS = ("title", "content", "status", "close_status", "milestone")  # fields of an issue without a topic of their own
METADATA = (NoteReason.ASSIGNED, NoteReason.UNASSIGNED)  # comments about these have no topic

# ---------------------------------------------------------------- projects


@renders("project.created")
async def render_project_created(ctx: HookContext) -> list[Rendered]:
    return [("project.new", ctx.about)]


@renders("repository.created")
async def render_repository_created(ctx: HookContext) -> list[Rendered]:
    """Render a fork, which is announced only when it can be cloned."""
    return [("project.forked", ctx.about)] if ctx.project["forker"] else []


@renders("project.configured")
async def render_project_configured(ctx: HookContext) -> list[Rendered]:
    return [("project.edit", {**ctx.about, "fields": sorted(OPTIONS[name] for name in ctx.data["settings"])})]


@renders("project.deleted")
async def render_project_deleted(ctx: HookContext) -> list[Rendered]:
    return [("project.deleted", ctx.about)]


@renders("access.granted")
async def render_access_granted(ctx: HookContext) -> list[Rendered]:
    party, name, level, branches = (ctx.data[field] for field in ("party", "name", "level", "branches"))
    if await history.find_grant(ctx.db, ctx.seq, party, name):
        changes = {f"new_{party}": name, "new_access": level, "new_branches": branches}
        return [(f"project.{party}.access.updated", {**ctx.about, **changes})]
    return [(f"project.{party}.added", {**ctx.about, f"new_{party}": name, "access": level, "branches": branches})]


@renders("access.revoked")
async def render_access_revoked(ctx: HookContext) -> list[Rendered]:
    name = ctx.data["name"]
    if ctx.data["party"] == "user":
        return [("project.user.removed", {**ctx.about, "removed_user": name})]
    return [("project.group.removed", {**ctx.about, "removed_groups": [name]})]


@renders("tag.defined")
async def render_tag_defined(ctx: HookContext) -> list[Rendered]:
    """Render the change of a tag. A new tag has no topic."""
    previous = await history.find_previous(ctx.db, ctx.seq)
    if previous is None or previous["type"] != "tag.defined":
        return []
    styles = {**_render_tag_style("old", previous["data"]), **_render_tag_style("new", ctx.data)}
    return [("project.tag.edited", {**ctx.about, **styles})]


def _render_tag_style(prefix: str, tag: Any) -> dict[str, Any]:
    return {
        f"{prefix}_tag": tag["tag"],
        f"{prefix}_tag_color": tag["color"],
        f"{prefix}_tag_description": tag["description"],
    }


@renders("tag.deleted")
async def render_tag_deleted(ctx: HookContext) -> list[Rendered]:
    return [("project.tag.removed", {**ctx.about, "tags": [ctx.data["tag"]]})]


# ---------------------------------------------------------------- issues


async def _render_issue(ctx: HookContext) -> dict[str, Any]:
    issue = await as_of.find_issue(ctx.db, ctx.seq, ctx.project_id, ctx.data["number"])
    return {"issue": render.issue(ctx.base, ctx.project, issue, issue["thread"]), **ctx.about}


@renders("issue.opened")
async def render_issue_opened(ctx: HookContext) -> list[Rendered]:
    return [("issue.new", await _render_issue(ctx))]


@renders("issue.commented")
async def render_issue_commented(ctx: HookContext) -> list[Rendered]:
    return [("issue.comment.added", await _render_issue(ctx))]


@renders("issue.updated")
async def render_issue_updated(ctx: HookContext) -> list[Rendered]:
    """Render the changes of an issue. Of the comments that describe them, only those about boards have a topic."""
    changed = ctx.data["changed"]
    about = await _render_issue(ctx)
    messages: list[Rendered] = []
    if "tags" in changed:
        messages += [
            (f"issue.tag.{action}", {**about, "tags": tags})
            for action, tags in _name_changes(*await _compare(ctx, "tags"))
        ]
    if "depends" in changed:
        added, removed = await _compare(ctx, "depends")
        messages += [("issue.dependency.added", {**about, "added_dependency": number}) for number in added]
        if removed:
            messages.append(("issue.dependency.removed", {**about, "removed_dependency": removed}))
    if "assignee" in changed:
        messages.append((f"issue.assigned.{_name_assignment(changed)}", about))
    fields = sorted(name for name in EDITS if name in changed)
    if fields:
        messages.append(("issue.edit", {**about, "fields": fields}))
    if "boards" in changed and ctx.data["comment_id"] is not None:
        messages.append(("issue.comment.added", about))
    return messages


async def _compare(ctx: HookContext, field: str) -> tuple[list[Any], list[Any]]:
    """Return what the event added to a list and what it removed from it."""
    old, new = set(await history.find_field(ctx.db, ctx.seq, field) or ()), set(ctx.data["changed"][field])
    return sorted(new - old), sorted(old - new)


def _name_changes(added: list[Any], removed: list[Any]) -> list[tuple[str, list[Any]]]:
    return [(action, items) for action, items in (("added", added), ("removed", removed)) if items]


def _name_assignment(changed: dict[str, Any]) -> str:
    return "added" if changed["assignee"] else "reset"


# ---------------------------------------------------------------- pull requests


async def _render_pull_request(ctx: HookContext, *, comments: bool = True) -> dict[str, Any]:
    pull_request = await as_of.find_pull_request(ctx.db, ctx.seq, ctx.project_id, ctx.data["number"], thread=comments)
    return render.pull_request(ctx.base, ctx.project, pull_request, comments=comments)


@renders("pull-request.opened")
async def render_pull_request_opened(ctx: HookContext) -> list[Rendered]:
    return [("pull-request.new", {"pullrequest": await _render_pull_request(ctx), **ctx.agent})]


@renders("pull-request.commented")
async def render_pull_request_commented(ctx: HookContext) -> list[Rendered]:
    return [("pull-request.comment.added", {"pullrequest": await _render_pull_request(ctx), **ctx.agent})]


@renders("pull-request.merged")
async def render_pull_request_merged(ctx: HookContext) -> list[Rendered]:
    message = {"pullrequest": await _render_pull_request(ctx), **ctx.agent}
    return [("pull-request.comment.added", message), ("pull-request.closed", {**message, "merged": True})]


@renders("pull-request.updated")
async def render_pull_request_updated(ctx: HookContext) -> list[Rendered]:
    changed = ctx.data["changed"]
    reason = ctx.data["note"]["reason"] if ctx.data["note"] else None
    pull_request = await _render_pull_request(ctx)
    without_comments = await _render_pull_request(ctx, comments=False)
    by_agent, messages = {"pullrequest": pull_request, **ctx.agent}, []
    if "tags" in changed:
        about = {"pull_request": pull_request, "pullrequest": pull_request, **ctx.about}
        for action, tags in _name_changes(*await _compare(ctx, "tags")):
            messages.append((f"pull-request.tag.{action}", {**about, "tags": tags}))
    if "assignee" in changed:
        action, about = _name_assignment(changed), {"pullrequest": pull_request, **ctx.about}
        messages.append((f"request.assigned.{action}", {"request": pull_request, **about}))
        messages.append((f"pull-request.assigned.{action}", about))
    if changed.keys() & {"title", "initial_comment"}:
        messages.append(("pull-request.initial_comment.edited", {"pullrequest": without_comments, **ctx.about}))
    if reason and reason not in METADATA:
        messages.append(("pull-request.comment.added", by_agent))
    if "commit_stop" in changed and reason:
        action = "rebased" if reason == NoteReason.REBASED else "updated"
        messages.append((f"pull-request.{action}", {"pullrequest": without_comments, **FORGE}))
    if changed.get("status") == "Closed":
        messages.append(("pull-request.closed", {**by_agent, "merged": False}))
    if changed.get("status") == "Open":
        messages.append(("pull-request.reopened", by_agent))
    return messages


# ---------------------------------------------------------------- flags


@renders("commit.flagged")
async def render_commit_flagged(ctx: HookContext) -> list[Rendered]:
    """Render a flag of a commit, and of the pull request that it was sent to."""
    row = await as_of.find_flag(ctx.db, ctx.event, ctx.project_id, ctx.data)
    if row is None:
        raise NotFound(Subject.FLAG)
    action = "updated" if await history.find_previous(ctx.db, ctx.seq) else "added"
    flag = render.flag(ctx.base, row)
    repo = render.project(ctx.base, ctx.project)
    messages: list[Rendered] = [(f"commit.flag.{action}", {"repo": repo, "flag": flag, **ctx.agent})]
    number = ctx.data["pull_request"]
    if number is not None and get_setting(ctx.project, "pull_requests"):
        row = await as_of.find_pull_request(ctx.db, ctx.seq, ctx.project_id, number)
        pull_request = render.pull_request(ctx.base, ctx.project, row)
        flag = {**flag, "pull_request_uid": row["uid"]}
        messages.append((f"pull-request.flag.{action}", {"pullrequest": pull_request, "flag": flag, **ctx.agent}))
    return messages
