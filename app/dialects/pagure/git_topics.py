"""Pagure's topics about branches, tags and what was pushed to them."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from app.dialects.pagure import render
from app.dialects.pagure.stories import Said, Story, tells
from app.git import refs, store
from app.git.commits import Person
from app.git.errors import GitFailed
from app.git.received import author, received
from app.queries import before, users
from app.queries.refs import ZEROS

T = TypeVar("T")


@tells("ref.updated")
async def ref_updated(story: Story) -> list[Said]:
    ref: str = story.data["ref"]
    if ref.startswith(refs.TAGS):
        return await _tag(story, ref.removeprefix(refs.TAGS))
    if ref.startswith(refs.HEADS):
        return await _branch(story, ref.removeprefix(refs.HEADS))
    return []


async def _aside(story: Story, work: Callable[..., T], *arguments: Any) -> T:
    """git's work, beside the loop."""
    place = store.directory(story.root, story.project_id)
    try:
        return await asyncio.to_thread(work, place, *arguments)
    except (KeyError, ValueError) as damage:  # and GitErrors, which whoever asked for this knows
        raise GitFailed(type(damage).__name__) from None


async def _tag(story: Story, name: str) -> list[Said]:
    """One that was moved is another one: only what it is now is told of."""
    gone = story.data["new"] == ZEROS
    return [(f"git.tag.{'deletion' if gone else 'creation'}", {**await _ref(story), "tag": name})]


async def _branch(story: Story, name: str) -> list[Said]:
    old, new = story.data["old"], story.data["new"]
    if new == ZEROS:
        return [("git.branch.deletion", {**await _ref(story), "branch": name})]
    if story.data["ref"] in await _aside(story, refs.aliases):
        return []  # the branch that it stands for has moved as well
    said: list[Said] = []
    if old == ZEROS:
        said.append(("git.branch.creation", {**await _ref(story), "branch": name}))
    return [*said, *await _received(story, name)]


async def _ref(story: Story) -> dict[str, Any]:
    """Where it leads, or where the one that is gone led, and who wrote that."""
    gone = story.data["new"] == ZEROS
    rev = story.data["old" if gone else "new"]
    wrote = await _aside(story, author, rev if gone else story.data["commit"])
    repo = render.project(story.base, story.project)
    return {"authors": await _authors(story, [wrote] if wrote else []), "repo": repo, "rev": rev, **story.agent}


async def _received(story: Story, name: str) -> list[Said]:
    fresh = story.data["old"] == ZEROS
    others = await before.branches(story.db, story.seq, story.data["ref"]) if fresh else []
    found = await _aside(story, received, story.data["new"], None if fresh else story.data["old"], others)
    if found is None:
        return []
    told = {
        "total_commits": found.total,
        "start_commit": found.start,
        "end_commit": found.end,
        "old_commit": found.old or f"^{ZEROS}",
        "branch": name,
        "forced": found.forced,
        "authors": await _authors(story, found.authors),
        "changed_files": found.changed,
        "repo": render.project(story.base, story.project),
        "pull_request_id": story.data["pull_request"],
        **story.agent,
    }
    return [("git.receive", told)]


async def _authors(story: Story, people: list[Person]) -> list[dict[str, Any]]:
    """Each once, as the user who has the address, or by name."""
    known = await users.with_emails(story.db, sorted({each.email for each in people}))
    told: dict[str, dict[str, Any]] = {}
    for each in people:
        user = known.get(each.email.lower())
        if user:
            told.setdefault(f"@{user['username']}", render.user(story.base, user["username"], user["fullname"]))
        else:
            told.setdefault(f" {each.name}", {"fullname": each.name, "name": None, "url_path": None})
    return list(told.values())
