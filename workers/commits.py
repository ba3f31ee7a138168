"""What arrives on a project's default branch: told to the log, and heeded where it says "Fixes #3"."""

import asyncio
from itertools import islice
from pathlib import Path

from app.errors import NotFound
from app.git import commits, refs, store
from app.git.errors import NoCommit
from app.queries import projects, users
from app.queries.refs import ZEROS
from events.event import Fact
from events.record import Next
from events.repositories import CommitsLanded, RefUpdated
from workers.reactions import FOLLOW, Hands, nothing_to_say, on

MOST = 1000  # commits of one push that are told


@on(RefUpdated, queue=FOLLOW, surrender=nothing_to_say, tracked=False)
async def tell_of_commits(hands: Hands, cause: Fact) -> list[Next]:
    """Which commits came to the default branch, and whose they are."""
    project_id, old, new = cause.data["project_id"], cause.data["old"], cause.data["new"]
    try:
        project = await projects.by_id(hands.db, project_id)
    except NotFound:
        return []
    if project["head"] is None or cause.data["ref"] != refs.branch(project["head"]) or new == ZEROS:
        return []
    place = store.directory(hands.settings.repositories, project_id)
    fresh = await asyncio.to_thread(_between, place, new, None if old == ZEROS else old)
    if not fresh:
        return []
    known = await users.by_emails(hands.db, sorted({email for _, email in fresh}))
    told = [[commit, known.get(email.lower())] for commit, email in fresh]
    return [Next(CommitsLanded(project_id=project_id, ref=cause.data["ref"], commits=told), None)]


def _between(place: Path, new: str, old: str | None) -> list[tuple[str, str]]:
    """Ids and authors' addresses, the newest first; none if one of the two ends is gone by now."""
    try:
        return [(each.id, each.author.email) for each in islice(commits.between(place, new, old), MOST)]
    except NoCommit:
        return []
