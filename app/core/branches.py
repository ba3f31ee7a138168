"""Create, move and delete branches, tags, aliases and HEAD without a push.

Each operation moves one ref from where it was seen, obeys the same policy as a push, and is recorded like one. What git
refuses is raised as a GitError (`app/git/errors.py`), what the actor may not do as Forbidden.

Tags and aliases take the right to write to every branch, since writing to an alias writes to the branch behind it.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from app.core import paths, push_policy
from app.core.access import require
from app.core.push_policy import ZEROS, Change, PushReason, PushRefusal
from app.core.pushes import RefWriter, recording_moves
from app.core.refs import HEAD
from app.errors import NotFound, Subject
from app.git import commits, refs
from app.git.errors import BadName, GitError, NoRepository, NotSignedOff
from app.queries import users

T = TypeVar("T")


async def write_ref(writer: RefWriter, change: Change, work: Callable[[Path], T], *others: str) -> T:
    """Run `work`, which changes a ref, if the actor could push that change; `others` are refs that may move with it."""
    push_policy.require(writer.actor, writer.project, change)
    if push_policy.find_requirements(writer.project).signed:
        try:
            await read_repository(writer, partial(commits.require_new_sign_off, start=change.new))
        except NotSignedOff as unsigned:
            raise PushRefusal(PushReason.UNSIGNED, unsigned.subject).error() from None
    return await run_and_record(writer, work, change.ref, *others)


async def run_and_record(writer: RefWriter, work: Callable[[Path], T], *names: str) -> T:
    """Run `work` in a thread and record what moved, also when git refuses half way."""
    refusal: GitError | None = None
    async with recording_moves(writer, frozenset(names)):
        try:
            done = await asyncio.to_thread(work, writer.repo_path)
        except NoRepository:
            raise NotFound(Subject.PROJECT) from None
        except GitError as no:
            refusal = no
    if refusal is not None:
        raise refusal
    return done


async def read_repository(writer: RefWriter, work: Callable[[Path], T]) -> T:
    """Read from the repository in a thread."""
    try:
        return await asyncio.to_thread(work, writer.repo_path)
    except NoRepository:
        raise NotFound(Subject.PROJECT) from None


async def create_branch(writer: RefWriter, name: str, from_branch: str | None, from_commit: str | None) -> None:
    """Create a branch. Raises as `refs.create_branch` does, and Forbidden."""
    if await writer.was_done_before():
        return
    require_name(name)
    start = await read_repository(
        writer, partial(refs.find_start, name=name, from_branch=from_branch, from_commit=from_commit)
    )
    change = Change(refs.branch_ref(name), ZEROS, start)
    await write_ref(writer, change, partial(refs.create_branch, name=name, from_commit=start))


async def create_tag(writer: RefWriter, name: str, target: str, message: str, *, force: bool) -> bool:
    """Create an annotated tag in the actor's name. Raises as `refs.create_tag` does, and Forbidden."""
    require(writer.actor, "manage-refs", writer.project)
    if await writer.was_done_before():
        return True
    require_name(name)
    ref = refs.TAGS + name
    old = await read_repository(writer, partial(refs.find_target, ref=ref))
    commit = await read_repository(writer, partial(commits.resolve, spelling=target))
    user = await users.find(writer.db, writer.actor.username)
    tagger = (user["fullname"], user["email"]) if user else (writer.actor.username, "")
    tag = partial(refs.create_tag, name=name, spelling=commit, tagger=tagger, at=int(time.time()), message=message)
    return await write_ref(writer, Change(ref, old or ZEROS, commit), partial(tag, force=force))


async def set_default_branch(writer: RefWriter, name: str) -> None:
    """Choose the branch that a clone checks out. Raises NoBranch and Forbidden."""
    require(writer.actor, "configure-project", writer.project)
    if await writer.was_done_before():
        return
    await read_repository(writer, partial(refs.find_branch_head, name=name))
    await run_and_record(writer, partial(refs.set_head, name=name), HEAD)


async def create_alias(writer: RefWriter, name: str, existing: str) -> None:
    """Create another name for a branch. Raises as `refs.create_alias` does, and Forbidden."""
    require(writer.actor, "manage-refs", writer.project)
    if await writer.was_done_before():
        return
    head = await read_repository(writer, partial(refs.find_branch_head, name=existing))
    require_name(name)
    change = Change(refs.branch_ref(name), ZEROS, head)
    await write_ref(writer, change, partial(refs.create_alias, name=name, existing=existing))


async def drop_alias(writer: RefWriter, one: str, other: str) -> None:
    """Delete the alias that one of the two is for the other, if either is. Raises NoBranch and Forbidden."""
    require(writer.actor, "manage-refs", writer.project)
    if await writer.was_done_before():
        return
    alias = await read_repository(writer, partial(refs.find_alias, one=one, other=other))
    if alias is not None:
        # No commits go with it, so this is no push that deletes a branch.
        await run_and_record(writer, partial(refs.delete_alias, one=one, other=other), alias, HEAD)


def require_name(name: str) -> None:
    """Raise BadName unless disk and log can both hold a branch or tag of this name."""
    if not paths.is_valid_branch_name(name):
        raise BadName(name)
