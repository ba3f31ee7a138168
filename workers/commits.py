"""What arrives on a project's default branch: told to the log, and heeded where it says "Fixes #3"."""

import asyncio
import uuid
from contextlib import suppress
from itertools import islice
from pathlib import Path

from app.core.access import Actor
from app.core.commands import execute
from app.core.commit_references import heeding
from app.core.mentions import mentions
from app.core.plugins import COMMIT_REFERENCES, installed
from app.errors import NotFound, Refused
from app.git import commits, refs, store
from app.git.errors import NoCommit
from app.git.objects import opened
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


@on(CommitsLanded, queue=FOLLOW, surrender=nothing_to_say, tracked=False)
async def heed_commits(hands: Hands, cause: Fact) -> list[Next]:
    """Do as the messages say, the oldest first, if the project wants that.

    Each is a wish with an id of its own, made from the event's, so that doing this again repeats none.
    """
    try:
        project = await projects.by_id(hands.db, cause.data["project_id"])
    except NotFound:
        return []
    if installed(project, COMMIT_REFERENCES) is None:
        return []
    home = f"{hands.settings.url}/{project['path']}"
    place = store.directory(hands.settings.repositories, project["project_id"])
    ids = [commit for commit, _ in reversed(cause.data["commits"])]
    for commit, message in zip(ids, await asyncio.to_thread(_messages, place, ids), strict=True):
        for mention in dict.fromkeys(mentions(message, home)):
            wish = heeding(project["project_id"], mention, commit, home)
            command_id = uuid.uuid5(cause.id, f"{commit} {mention}")
            with suppress(Refused):
                await execute(hands.db, Actor(cause.actor), wish, command_id=command_id, request=cause.request)
    return []


def _messages(place: Path, ids: list[str]) -> list[str]:
    """What the commits say; nothing if one is gone."""
    repository = opened(place)
    found = []
    for commit in ids:
        try:
            found.append(commits.read(repository, commit).message)
        except NoCommit:
            found.append("")
    return found
