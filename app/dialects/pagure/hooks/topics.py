"""Pagure's topics about projects, issues, pull requests and flags."""

from typing import Any

from app.dialects.pagure import render
from app.dialects.pagure.hooks.registry import HookContext, Rendered, renders
from app.dialects.pagure.settings import NAMES
from app.errors import NotFound, Subject
from app.queries import history, issues, pull_requests
from events.notes import NoteReason

FORGE = {"agent": "pagure"}  # who is behind what the forge notices by itself
OPTIONS = {ours: name for name, ours in NAMES.items()}
EDITS = ("title", "content", "status", "close_status", "milestone")  # of an issue; other fields have topics or none
METADATA = (NoteReason.ASSIGNED, NoteReason.UNASSIGNED)  # comments about these have no topic

# ---------------------------------------------------------------- projects


@renders("project.created")
async def project_created(ctx: HookContext) -> list[Rendered]:
    return [("project.new", ctx.about)]


@renders("repository.created")
async def repository_created(ctx: HookContext) -> list[Rendered]:
    """A fork is told of when it is there to be cloned."""
    return [("project.forked", ctx.about)] if ctx.project["forker"] else []


@renders("project.configured")
async def project_configured(ctx: HookContext) -> list[Rendered]:
    return [("project.edit", {**ctx.about, "fields": sorted(OPTIONS[name] for name in ctx.data["settings"])})]


@renders("project.deleted")
async def project_deleted(ctx: HookContext) -> list[Rendered]:
    return [("project.deleted", ctx.about)]


@renders("access.granted")
async def access_granted(ctx: HookContext) -> list[Rendered]:
    party, name, level, branches = (ctx.data[field] for field in ("party", "name", "level", "branches"))
    if await history.find_grant(ctx.db, ctx.seq, party, name):
        said = {f"new_{party}": name, "new_access": level, "new_branches": branches}
        return [(f"project.{party}.access.updated", {**ctx.about, **said})]
    return [(f"project.{party}.added", {**ctx.about, f"new_{party}": name, "access": level, "branches": branches})]


@renders("access.revoked")
async def access_revoked(ctx: HookContext) -> list[Rendered]:
    name = ctx.data["name"]
    if ctx.data["party"] == "user":
        return [("project.user.removed", {**ctx.about, "removed_user": name})]
    return [("project.group.removed", {**ctx.about, "removed_groups": [name]})]


@renders("tag.defined")
async def tag_defined(ctx: HookContext) -> list[Rendered]:
    """A new tag is not worth a word."""
    was = await history.find_previous(ctx.db, ctx.seq)
    if was is None or was["type"] != "tag.defined":
        return []
    looks = {**_tag_style("old", was["data"]), **_tag_style("new", ctx.data)}
    return [("project.tag.edited", {**ctx.about, **looks})]


def _tag_style(when: str, tag: Any) -> dict[str, Any]:
    return {
        f"{when}_tag": tag["tag"],
        f"{when}_tag_color": tag["color"],
        f"{when}_tag_description": tag["description"],
    }


@renders("tag.deleted")
async def tag_deleted(ctx: HookContext) -> list[Rendered]:
    return [("project.tag.removed", {**ctx.about, "tags": [ctx.data["tag"]]})]


# ---------------------------------------------------------------- issues


async def _issue(ctx: HookContext) -> dict[str, Any]:
    found = await issues.find_with_thread(ctx.db, ctx.project_id, ctx.data["number"])
    return {"issue": render.issue(ctx.base, ctx.project, found, found["thread"]), **ctx.about}


@renders("issue.opened")
async def issue_opened(ctx: HookContext) -> list[Rendered]:
    return [("issue.new", await _issue(ctx))]


@renders("issue.commented")
async def issue_commented(ctx: HookContext) -> list[Rendered]:
    return [("issue.comment.added", await _issue(ctx))]


@renders("issue.updated")
async def issue_updated(ctx: HookContext) -> list[Rendered]:
    """Comments that tell of metadata have no topic; those that tell of boards do."""
    changed = ctx.data["changed"]
    about = await _issue(ctx)
    said: list[Rendered] = []
    if "tags" in changed:
        added, removed = await _added_and_removed(ctx, "tags")
        said += [(f"issue.tag.{what}", {**about, "tags": tags}) for what, tags in _zip_changes(added, removed)]
    if "depends" in changed:
        added, removed = await _added_and_removed(ctx, "depends")
        said += [("issue.dependency.added", {**about, "added_dependency": number}) for number in added]
        if removed:
            said.append(("issue.dependency.removed", {**about, "removed_dependency": removed}))
    if "assignee" in changed:
        said.append((f"issue.assigned.{_assignment(changed)}", about))
    fields = sorted(name for name in EDITS if name in changed)
    if fields:
        said.append(("issue.edit", {**about, "fields": fields}))
    if "boards" in changed and ctx.data["comment_id"] is not None:
        said.append(("issue.comment.added", about))
    return said


async def _added_and_removed(ctx: HookContext, field: str) -> tuple[list[Any], list[Any]]:
    was, now = set(await history.find_field(ctx.db, ctx.seq, field) or ()), set(ctx.data["changed"][field])
    return sorted(now - was), sorted(was - now)


def _zip_changes(added: list[Any], removed: list[Any]) -> list[tuple[str, list[Any]]]:
    return [(what, those) for what, those in (("added", added), ("removed", removed)) if those]


def _assignment(changed: dict[str, Any]) -> str:
    return "added" if changed["assignee"] else "reset"


# ---------------------------------------------------------------- pull requests


async def _pull_request(ctx: HookContext, *, comments: bool = True) -> dict[str, Any]:
    found = await pull_requests.find(ctx.db, ctx.project_id, ctx.data["number"], thread=comments)
    return render.pull_request(ctx.base, ctx.project, found, comments=comments)


@renders("pull-request.opened")
async def pull_request_opened(ctx: HookContext) -> list[Rendered]:
    return [("pull-request.new", {"pullrequest": await _pull_request(ctx), **ctx.agent})]


@renders("pull-request.commented")
async def pull_request_commented(ctx: HookContext) -> list[Rendered]:
    return [("pull-request.comment.added", {"pullrequest": await _pull_request(ctx), **ctx.agent})]


@renders("pull-request.merged")
async def pull_request_merged(ctx: HookContext) -> list[Rendered]:
    told = {"pullrequest": await _pull_request(ctx), **ctx.agent}
    return [("pull-request.comment.added", told), ("pull-request.closed", {**told, "merged": True})]


@renders("pull-request.updated")
async def pull_request_updated(ctx: HookContext) -> list[Rendered]:
    changed = ctx.data["changed"]
    reason = ctx.data["note"]["reason"] if ctx.data["note"] else None
    whole, bare = await _pull_request(ctx), await _pull_request(ctx, comments=False)
    told, said = {"pullrequest": whole, **ctx.agent}, []
    if "tags" in changed:
        about = {"pull_request": whole, "pullrequest": whole, **ctx.about}
        for what, tags in _zip_changes(*await _added_and_removed(ctx, "tags")):
            said.append((f"pull-request.tag.{what}", {**about, "tags": tags}))
    if "assignee" in changed:
        how, about = _assignment(changed), {"pullrequest": whole, **ctx.about}
        said.append((f"request.assigned.{how}", {"request": whole, **about}))
        said.append((f"pull-request.assigned.{how}", about))
    if changed.keys() & {"title", "initial_comment"}:
        said.append(("pull-request.initial_comment.edited", {"pullrequest": bare, **ctx.about}))
    if reason and reason not in METADATA:
        said.append(("pull-request.comment.added", told))
    if "commit_stop" in changed and reason:
        what = "rebased" if reason == NoteReason.REBASED else "updated"
        said.append((f"pull-request.{what}", {"pullrequest": bare, **FORGE}))
    if changed.get("status") == "Closed":
        said.append(("pull-request.closed", {**told, "merged": False}))
    if changed.get("status") == "Open":
        said.append(("pull-request.reopened", told))
    return said


# ---------------------------------------------------------------- flags


@renders("commit.flagged")
async def commit_flagged(ctx: HookContext) -> list[Rendered]:
    """What is said of a pull request is said of its newest commit first."""
    row = await pull_requests.find_flag(ctx.db, ctx.project_id, ctx.data["commit"], ctx.data["uid"])
    if row is None:
        raise NotFound(Subject.FLAG)
    what = "updated" if await history.find_previous(ctx.db, ctx.seq) else "added"
    flag = render.flag(ctx.base, row)
    repo = render.project(ctx.base, ctx.project)
    said: list[Rendered] = [(f"commit.flag.{what}", {"repo": repo, "flag": flag, **ctx.agent})]
    number = ctx.data["pull_request"]
    if number is not None:
        found = await pull_requests.find(ctx.db, ctx.project_id, number)
        shown = render.pull_request(ctx.base, ctx.project, found)
        named = {**flag, "pull_request_uid": found["uid"]}
        said.append((f"pull-request.flag.{what}", {"pullrequest": shown, "flag": named, **ctx.agent}))
    return said
