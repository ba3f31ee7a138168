"""Pagure's topics about projects, issues, pull requests and flags."""

from typing import Any

from app.dialects.pagure import render
from app.dialects.pagure.settings import NAMES
from app.dialects.pagure.stories import Said, Story, tells
from app.errors import NotFound
from app.queries import before, issues, pull_requests

FORGE = {"agent": "pagure"}  # who is behind what the forge notices by itself
OPTIONS = {ours: name for name, ours in NAMES.items()}
EDITS = ("title", "content", "status", "close_status", "milestone")  # of an issue; other fields have topics or none
METADATA = "**Metadata Update from "  # what comments begin with that are told of in no other way
REBASED = "rebased onto "

# ---------------------------------------------------------------- projects


@tells("project.created")
async def project_created(story: Story) -> list[Said]:
    return [("project.new", story.about)]


@tells("repository.created")
async def repository_created(story: Story) -> list[Said]:
    """A fork is told of when it is there to be cloned."""
    return [("project.forked", story.about)] if story.project["forker"] else []


@tells("project.configured")
async def project_configured(story: Story) -> list[Said]:
    return [("project.edit", {**story.about, "fields": sorted(OPTIONS[name] for name in story.data["settings"])})]


@tells("project.deleted")
async def project_deleted(story: Story) -> list[Said]:
    return [("project.deleted", story.about)]


@tells("access.granted")
async def access_granted(story: Story) -> list[Said]:
    party, name, level, branches = (story.data[field] for field in ("party", "name", "level", "branches"))
    if await before.held(story.db, story.seq, party, name):
        said = {f"new_{party}": name, "new_access": level, "new_branches": branches}
        return [(f"project.{party}.access.updated", {**story.about, **said})]
    return [(f"project.{party}.added", {**story.about, f"new_{party}": name, "access": level, "branches": branches})]


@tells("access.revoked")
async def access_revoked(story: Story) -> list[Said]:
    name = story.data["name"]
    if story.data["party"] == "user":
        return [("project.user.removed", {**story.about, "removed_user": name})]
    return [("project.group.removed", {**story.about, "removed_groups": [name]})]


@tells("tag.defined")
async def tag_defined(story: Story) -> list[Said]:
    """A new tag is not worth a word."""
    was = await before.chapter(story.db, story.seq)
    if was is None or was["type"] != "tag.defined":
        return []
    looks = {**_look("old", was["data"]), **_look("new", story.data)}
    return [("project.tag.edited", {**story.about, **looks})]


def _look(when: str, tag: Any) -> dict[str, Any]:
    return {
        f"{when}_tag": tag["tag"],
        f"{when}_tag_color": tag["color"],
        f"{when}_tag_description": tag["description"],
    }


@tells("tag.deleted")
async def tag_deleted(story: Story) -> list[Said]:
    return [("project.tag.removed", {**story.about, "tags": [story.data["tag"]]})]


# ---------------------------------------------------------------- issues


async def _issue(story: Story) -> dict[str, Any]:
    found = await issues.shown(story.db, story.project_id, story.data["number"])
    return {"issue": render.issue(story.base, story.project, found, found["thread"]), **story.about}


@tells("issue.opened")
async def issue_opened(story: Story) -> list[Said]:
    return [("issue.new", await _issue(story))]


@tells("issue.commented")
async def issue_commented(story: Story) -> list[Said]:
    return [("issue.comment.added", await _issue(story))]


@tells("issue.updated")
async def issue_updated(story: Story) -> list[Said]:
    """Comments that tell of metadata have no topic; those that tell of boards do."""
    changed = story.data["changed"]
    about = await _issue(story)
    said: list[Said] = []
    if "tags" in changed:
        added, removed = await _came_and_went(story, "tags")
        said += [(f"issue.tag.{what}", {**about, "tags": tags}) for what, tags in _both(added, removed)]
    if "depends" in changed:
        added, removed = await _came_and_went(story, "depends")
        said += [("issue.dependency.added", {**about, "added_dependency": number}) for number in added]
        if removed:
            said.append(("issue.dependency.removed", {**about, "removed_dependency": removed}))
    if "assignee" in changed:
        said.append((f"issue.assigned.{_assignment(changed)}", about))
    fields = sorted(name for name in EDITS if name in changed)
    if fields:
        said.append(("issue.edit", {**about, "fields": fields}))
    if "boards" in changed and story.data["comment_id"] is not None:
        said.append(("issue.comment.added", about))
    return said


async def _came_and_went(story: Story, field: str) -> tuple[list[Any], list[Any]]:
    was, now = set(await before.field(story.db, story.seq, field) or ()), set(story.data["changed"][field])
    return sorted(now - was), sorted(was - now)


def _both(added: list[Any], removed: list[Any]) -> list[tuple[str, list[Any]]]:
    return [(what, those) for what, those in (("added", added), ("removed", removed)) if those]


def _assignment(changed: dict[str, Any]) -> str:
    return "added" if changed["assignee"] else "reset"


# ---------------------------------------------------------------- pull requests


async def _request(story: Story, *, comments: bool = True) -> dict[str, Any]:
    found = await pull_requests.find(story.db, story.project_id, story.data["number"], thread=comments)
    return render.pull_request(story.base, story.project, found, comments=comments)


@tells("pull-request.opened")
async def pull_request_opened(story: Story) -> list[Said]:
    return [("pull-request.new", {"pullrequest": await _request(story), **story.agent})]


@tells("pull-request.commented")
async def pull_request_commented(story: Story) -> list[Said]:
    return [("pull-request.comment.added", {"pullrequest": await _request(story), **story.agent})]


@tells("pull-request.merged")
async def pull_request_merged(story: Story) -> list[Said]:
    told = {"pullrequest": await _request(story), **story.agent}
    return [("pull-request.comment.added", told), ("pull-request.closed", {**told, "merged": True})]


@tells("pull-request.updated")
async def pull_request_updated(story: Story) -> list[Said]:
    changed, note = story.data["changed"], story.data["note"] or ""
    whole, bare = await _request(story), await _request(story, comments=False)
    told, said = {"pullrequest": whole, **story.agent}, []
    if "tags" in changed:
        about = {"pull_request": whole, "pullrequest": whole, **story.about}
        for what, tags in _both(*await _came_and_went(story, "tags")):
            said.append((f"pull-request.tag.{what}", {**about, "tags": tags}))
    if "assignee" in changed:
        how, about = _assignment(changed), {"pullrequest": whole, **story.about}
        said.append((f"request.assigned.{how}", {"request": whole, **about}))
        said.append((f"pull-request.assigned.{how}", about))
    if changed.keys() & {"title", "initial_comment"}:
        said.append(("pull-request.initial_comment.edited", {"pullrequest": bare, **story.about}))
    if note and not note.startswith(METADATA):
        said.append(("pull-request.comment.added", told))
    if "commit_stop" in changed and note:
        what = "rebased" if note.startswith(REBASED) else "updated"
        said.append((f"pull-request.{what}", {"pullrequest": bare, **FORGE}))
    if changed.get("status") == "Closed":
        said.append(("pull-request.closed", {**told, "merged": False}))
    if changed.get("status") == "Open":
        said.append(("pull-request.reopened", told))
    return said


# ---------------------------------------------------------------- flags


@tells("commit.flagged")
async def commit_flagged(story: Story) -> list[Said]:
    """What is said of a pull request is said of its newest commit first."""
    row = await pull_requests.flag(story.db, story.project_id, story.data["commit"], story.data["uid"])
    if row is None:
        raise NotFound("flag")
    what = "updated" if await before.chapter(story.db, story.seq) else "added"
    flag = render.flag(story.base, row)
    repo = render.project(story.base, story.project)
    said: list[Said] = [(f"commit.flag.{what}", {"repo": repo, "flag": flag, **story.agent})]
    number = story.data["pull_request"]
    if number is not None:
        found = await pull_requests.find(story.db, story.project_id, number)
        shown = render.pull_request(story.base, story.project, found)
        named = {**flag, "pull_request_uid": found["uid"]}
        said.append((f"pull-request.flag.{what}", {"pullrequest": shown, "flag": named, **story.agent}))
    return said
