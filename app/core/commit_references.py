"""What a commit that came to the default branch says of issues and pull requests, and what comes of it."""

from dataclasses import dataclass

from app.core.commands import Command, Deciding, handles
from app.core.issues import require_tracker
from app.core.mentions import ISSUE, PULL_REQUEST, Mention
from app.core.pull_requests import require_pull_requests
from app.errors import NotFound
from app.queries import comments, issues, pull_requests
from events.issues import IssueCommented, IssueUpdated
from events.pull_requests import PullRequestMerged
from events.record import Next

FIXED = "Fixed"  # why an issue was closed


@dataclass(frozen=True, kw_only=True)
class HeedCommit(Command):
    """The forge's own wish, in the name of whoever brought the commit: they may write to the default branch, so they
    may close what it fixes. `noun` is what the commit takes the number for; `commit` says where it is shown, in
    Markdown.

    Source: pull-request contract 7.
    """

    project_id: int
    number: int
    noun: str | None
    fixes: bool
    commit: str
    commit_id: str


@handles(HeedCommit)
async def heed_commit(deciding: Deciding, wish: HeedCommit) -> list[Next]:
    if wish.noun != PULL_REQUEST:
        try:
            return await _heed_issue(deciding, wish)
        except NotFound:
            if wish.noun == ISSUE:
                raise
    return await _heed_pull_request(deciding, wish) if wish.fixes else []


async def _heed_issue(deciding: Deciding, wish: HeedCommit) -> list[Next]:
    project = await deciding.project(wish.project_id)
    issue, comment_id = await issues.for_comment(deciding.db, wish.project_id, wish.number)
    require_tracker(project, writing=True)
    said = IssueCommented(
        project_id=wish.project_id,
        number=wish.number,
        comment_id=comment_id,
        comment=f" Commit {wish.commit} {'fixes this issue' if wish.fixes else 'relates to this ticket'}",
        author=deciding.actor.username,
    )
    happened = [Next(said, issue["version"] + 1)]
    waits = await issues.open_among(deciding.db, wish.project_id, issue["depends"])
    if wish.fixes and issue["status"] == "Open" and not waits:
        changed = {"status": "Closed", "close_status": FIXED}
        closed = IssueUpdated(
            project_id=wish.project_id, number=wish.number, changed=changed, details=[], comment_id=None
        )
        happened.append(Next(closed, issue["version"] + 2))
    return happened


async def _heed_pull_request(deciding: Deciding, wish: HeedCommit) -> list[Next]:
    """One that is being merged needs no other word; the commit may well be the merge itself."""
    project = await deciding.project(wish.project_id)
    require_pull_requests(project)
    found = await pull_requests.find(deciding.db, wish.project_id, wish.number, thread=False)
    if found["status"] != "Open" or await pull_requests.being_merged(deciding.db, wish.project_id, wish.number):
        return []
    merged = PullRequestMerged(
        project_id=wish.project_id,
        number=wish.number,
        commit=wish.commit_id,
        note=f" Commit {wish.commit} fixes this pull-request",
        comment_id=await comments.next_id(deciding.db),
    )
    return [Next(merged, found["version"] + 1)]


def heeding(project_id: int, mention: Mention, commit_id: str, home: str) -> HeedCommit:
    """The wish that a mention in a commit's message is. `home` is where the project is in the web."""
    short = commit_id[:8]
    return HeedCommit(
        project_id=project_id,
        number=mention.number,
        noun=mention.kind,
        fixes=mention.fixes,
        commit=f"[{short}]({home}/c/{short})",
        commit_id=commit_id,
    )
