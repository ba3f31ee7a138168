"""Topics for branches, tags and pushes."""

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
async def render_ref_updated(ctx: HookContext) -> list[Rendered]:
    ref: str = ctx.data["ref"]
    if ref.startswith(refs.TAGS):
        return await _render_tag(ctx, ref.removeprefix(refs.TAGS))
    if ref.startswith(refs.HEADS):
        return await _render_branch(ctx, ref.removeprefix(refs.HEADS))
    return []


async def _run_git(ctx: HookContext, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function of app/git with the repository path in a thread. Raises GitError."""
    repo_path = store.repository_path(ctx.root, ctx.project_id)
    try:
        return await asyncio.to_thread(function, repo_path, *arguments)
    except (KeyError, ValueError) as error:  # a damaged repository
        raise GitFailed(type(error).__name__) from None


async def _render_tag(ctx: HookContext, name: str) -> list[Rendered]:
    """Render the creation or deletion of a tag. A tag that was moved counts as created."""
    deleted = ctx.data["new"] == ZEROS
    return [(f"git.tag.{'deletion' if deleted else 'creation'}", {**await _render_ref(ctx), "tag": name})]


async def _render_branch(ctx: HookContext, name: str) -> list[Rendered]:
    old, new = ctx.data["old"], ctx.data["new"]
    if new == ZEROS:
        return [("git.branch.deletion", {**await _render_ref(ctx), "branch": name})]
    if ctx.data["ref"] in await _run_git(ctx, refs.list_aliases):
        return []  # the branch that the alias points to has an event of its own
    creation: list[Rendered] = []
    if old == ZEROS:
        creation.append(("git.branch.creation", {**await _render_ref(ctx), "branch": name}))
    return [*creation, *await _render_push(ctx, name)]


async def _render_ref(ctx: HookContext) -> dict[str, Any]:
    """Render the object that the ref points to, or pointed to if it is deleted, and the author of its commit."""
    deleted = ctx.data["new"] == ZEROS
    rev = ctx.data["old" if deleted else "new"]
    author = await _run_git(ctx, find_author, rev if deleted else ctx.data["commit"])
    repo = render.project(ctx.base, ctx.project)
    return {"authors": await _render_authors(ctx, [author] if author else []), "repo": repo, "rev": rev, **ctx.agent}


async def _render_push(ctx: HookContext, name: str) -> list[Rendered]:
    created = ctx.data["old"] == ZEROS
    others = await history.list_branches(ctx.db, ctx.seq, ctx.data["ref"]) if created else []
    summary = await _run_git(ctx, summarize_push, ctx.data["new"], None if created else ctx.data["old"], others)
    if summary is None:
        return []
    message = {
        "total_commits": summary.total,
        "start_commit": summary.start,
        "end_commit": summary.end,
        "old_commit": summary.old or f"^{ZEROS}",
        "branch": name,
        "forced": summary.forced,
        "authors": await _render_authors(ctx, summary.authors),
        "changed_files": summary.changed,
        "repo": render.project(ctx.base, ctx.project),
        "pull_request_id": ctx.data["pull_request"],
        **ctx.agent,
    }
    return [("git.receive", message)]


async def _render_authors(ctx: HookContext, authors: list[Person]) -> list[dict[str, Any]]:
    """Render each author once: the user with the e-mail address, or else the name."""
    users_by_email = await users.list_with_emails(ctx.db, sorted({author.email for author in authors}))
    rendered: dict[str, dict[str, Any]] = {}
    for author in authors:
        user = users_by_email.get(author.email.lower())
        if user:
            rendered.setdefault(f"@{user['username']}", render.user(ctx.base, user["username"], user["fullname"]))
        else:
            rendered.setdefault(f" {author.name}", {"fullname": author.name, "name": None, "url_path": None})
    return list(rendered.values())
