"""Reactions to pushes to the default branch: record the new commits, follow references such as "Fixes #3"."""

import asyncio
import uuid
from contextlib import suppress
from itertools import islice
from pathlib import Path

from app.actor import Actor
from app.core.commands import execute
from app.core.commit_references import build_reference_command
from app.core.mentions import find_mentions
from app.core.plugins import COMMIT_REFERENCES, plugin_fields
from app.errors import NotFound, Refused
from app.git import commits, refs, store
from app.git.errors import GitFailed, NoCommit, TooLarge
from app.git.objects import open_repository
from app.queries import projects, users
from app.queries.refs import ZEROS
from events.event import StoredEvent
from events.record import NewEvent
from events.repositories import CommitsLanded, RefUpdated
from workers.reactions import FOLLOW, WorkerContext, ignore_failure, on

MAX_MESSAGE = 1 << 16  # characters of a commit's message that are searched for references
MAX_COMMITS = 1000  # commits of one push that are recorded


@on(RefUpdated, queue=FOLLOW, on_failure=ignore_failure, tracked=False, ref_prefix=refs.HEADS)
async def tell_of_commits(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Record which commits arrived on the default branch, and which users wrote them."""
    project_id, old, new = cause.data["project_id"], cause.data["old"], cause.data["new"]
    try:
        project = await projects.by_id(ctx.db, project_id)
    except NotFound:
        return []
    if project["head"] is None or cause.data["ref"] != refs.branch_ref(project["head"]) or new == ZEROS:
        return []
    repo_path = store.repository_path(ctx.settings.repositories, project_id)
    fresh = await asyncio.to_thread(_list_commits, repo_path, new, None if old == ZEROS else old)
    if not fresh:
        return []
    usernames = await users.by_emails(ctx.db, sorted({email for _, email in fresh}))
    landed = [[commit, usernames.get(email.lower())] for commit, email in fresh]
    return [NewEvent(CommitsLanded(project_id=project_id, ref=cause.data["ref"], commits=landed), None)]


def _list_commits(repo_path: Path, new: str, old: str | None) -> list[tuple[str, str]]:
    """List ids and authors' e-mail addresses, the newest first; nothing if one of the two ends no longer exists."""
    try:
        return [(each.id, each.author.email) for each in islice(commits.list_between(repo_path, new, old), MAX_COMMITS)]
    except NoCommit:
        return []


@on(CommitsLanded, queue=FOLLOW, on_failure=ignore_failure, tracked=False)
async def heed_commits(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
    """Carry out the references in commit messages, the oldest first, if the project has that plugin.

    Each becomes a command with an id derived from the event's id, so that a retry repeats none.
    """
    try:
        project = await projects.by_id(ctx.db, cause.data["project_id"])
    except NotFound:
        return []
    if plugin_fields(project, COMMIT_REFERENCES) is None:
        return []
    home = f"{ctx.settings.url}/{project['path']}"
    repo_path = store.repository_path(ctx.settings.repositories, project["project_id"])
    ids = [commit for commit, _ in reversed(cause.data["commits"])]
    for commit, message in zip(ids, await asyncio.to_thread(_read_messages, repo_path, ids), strict=True):
        for mention in dict.fromkeys(find_mentions(message, home)):
            command = build_reference_command(project["project_id"], mention, commit)
            command_id = uuid.uuid5(cause.id, f"{commit} {mention}")
            with suppress(Refused):
                await execute(ctx.db, Actor(cause.actor), command, command_id=command_id, request=cause.request)
    return []


def _read_messages(repo_path: Path, ids: list[str]) -> list[str]:
    """Read the beginnings of the commits' messages; a commit that no longer exists has an empty one."""
    repository = open_repository(repo_path)
    messages = []
    for commit in ids:
        try:
            messages.append(commits.read(repository, commit).message[:MAX_MESSAGE])
        except (NoCommit, TooLarge, GitFailed):
            messages.append("")
    return messages
