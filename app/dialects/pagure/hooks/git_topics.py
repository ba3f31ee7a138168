"""Pagure's topics about branches, tags and what was pushed to them."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from app.dialects.pagure import render
from app.dialects.pagure.hooks.registry import HookContext, Rendered, renders
from app.git import refs, store
from app.git.commits import Person
from app.git.errors import GitFailed
from app.git.push_summary import find_author, summarize_push
from app.queries import history, users
from app.queries.refs import ZEROS

T = TypeVar("T")


@renders("ref.updated")
async def ref_updated(ctx: HookContext) -> list[Rendered]:
    ref: str = ctx.data["ref"]
    if ref.startswith(refs.TAGS):
        return await _tag(ctx, ref.removeprefix(refs.TAGS))
    if ref.startswith(refs.HEADS):
        return await _branch(ctx, ref.removeprefix(refs.HEADS))
    return []


async def _in_thread(ctx: HookContext, work: Callable[..., T], *arguments: Any) -> T:
    """git's work, beside the loop."""
    repo_path = store.repository_path(ctx.root, ctx.project_id)
    try:
        return await asyncio.to_thread(work, repo_path, *arguments)
    except (KeyError, ValueError) as damage:  # and GitErrors, which whoever asked for this knows
        raise GitFailed(type(damage).__name__) from None


async def _tag(ctx: HookContext, name: str) -> list[Rendered]:
    """One that was moved is another one: only what it is now is told of."""
    gone = ctx.data["new"] == ZEROS
    return [(f"git.tag.{'deletion' if gone else 'creation'}", {**await _ref(ctx), "tag": name})]


async def _branch(ctx: HookContext, name: str) -> list[Rendered]:
    old, new = ctx.data["old"], ctx.data["new"]
    if new == ZEROS:
        return [("git.branch.deletion", {**await _ref(ctx), "branch": name})]
    if ctx.data["ref"] in await _in_thread(ctx, refs.list_aliases):
        return []  # the branch that it stands for has moved as well
    said: list[Rendered] = []
    if old == ZEROS:
        said.append(("git.branch.creation", {**await _ref(ctx), "branch": name}))
    return [*said, *await _summarize_push(ctx, name)]


async def _ref(ctx: HookContext) -> dict[str, Any]:
    """Where it leads, or where the one that is gone led, and who wrote that."""
    gone = ctx.data["new"] == ZEROS
    rev = ctx.data["old" if gone else "new"]
    wrote = await _in_thread(ctx, find_author, rev if gone else ctx.data["commit"])
    repo = render.project(ctx.base, ctx.project)
    return {"authors": await _authors(ctx, [wrote] if wrote else []), "repo": repo, "rev": rev, **ctx.agent}


async def _summarize_push(ctx: HookContext, name: str) -> list[Rendered]:
    fresh = ctx.data["old"] == ZEROS
    others = await history.list_branches(ctx.db, ctx.seq, ctx.data["ref"]) if fresh else []
    found = await _in_thread(ctx, summarize_push, ctx.data["new"], None if fresh else ctx.data["old"], others)
    if found is None:
        return []
    told = {
        "total_commits": found.total,
        "start_commit": found.start,
        "end_commit": found.end,
        "old_commit": found.old or f"^{ZEROS}",
        "branch": name,
        "forced": found.forced,
        "authors": await _authors(ctx, found.authors),
        "changed_files": found.changed,
        "repo": render.project(ctx.base, ctx.project),
        "pull_request_id": ctx.data["pull_request"],
        **ctx.agent,
    }
    return [("git.receive", told)]


async def _authors(ctx: HookContext, people: list[Person]) -> list[dict[str, Any]]:
    """Each once, as the user who has the address, or by name."""
    known = await users.list_with_emails(ctx.db, sorted({each.email for each in people}))
    told: dict[str, dict[str, Any]] = {}
    for each in people:
        user = known.get(each.email.lower())
        if user:
            told.setdefault(f"@{user['username']}", render.user(ctx.base, user["username"], user["fullname"]))
        else:
            told.setdefault(f" {each.name}", {"fullname": each.name, "name": None, "url_path": None})
    return list(told.values())
