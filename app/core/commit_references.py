"""The command that applies `Fixes #3` in the message of a commit that reached the default branch."""

from dataclasses import dataclass

from app.core.access import require_unblocked
from app.core.commands import Command, CommandContext, handles
from app.core.issues import previous_values, require_tracker
from app.core.mentions import ISSUE, PULL_REQUEST, Mention
from app.core.pull_requests import require_pull_requests
from app.errors import NotFound
from app.queries import comments, issues, pull_requests
from events.issues import IssueCommented, IssueUpdated
from events.notes import NoteReason
from events.pull_requests import PullRequestMerged
from events.record import NewEvent

FIXED = "Fixed"  # the close status


@dataclass(frozen=True, kw_only=True)
class ApplyCommitReference(Command):
    """A command of the forge itself. Its actor is the user who pushed or merged the commit: they may write to the
    default branch, so they may close what it fixes. `noun` is what the commit takes the number for.

    Source: pull-request contract 7.
    """

    project_id: int
    number: int
    noun: str | None
    fixes: bool
    commit_id: str


@handles(ApplyCommitReference)
async def apply_commit_reference(ctx: CommandContext, command: ApplyCommitReference) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require_unblocked(ctx.actor, "comment-on-issue", project)  # since the push
    if command.noun != PULL_REQUEST:
        try:
            return await _apply_to_issue(ctx, command)
        except NotFound:
            if command.noun == ISSUE:
                raise
    return await _apply_to_pull_request(ctx, command) if command.fixes else []


async def _apply_to_issue(ctx: CommandContext, command: ApplyCommitReference) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    issue, comment_id = await issues.for_comment(ctx.db, command.project_id, command.number)
    require_tracker(project, writing=True)
    said = IssueCommented(
        project_id=command.project_id,
        number=command.number,
        comment_id=comment_id,
        comment="",
        author=ctx.actor.username,
        note={
            "reason": NoteReason.ISSUE_FIXED if command.fixes else NoteReason.ISSUE_RELATED,
            "commit": command.commit_id,
        },
    )
    events = [NewEvent(said, issue["version"] + 1)]
    waits = await issues.list_open(ctx.db, command.project_id, issue["depends"])
    if command.fixes and issue["status"] == "Open" and not waits:
        changed = {"status": "Closed", "close_status": FIXED}
        closed = IssueUpdated(
            project_id=command.project_id,
            number=command.number,
            changed=changed,
            previous=previous_values(issue, changed),
            comment_id=None,
        )
        events.append(NewEvent(closed, issue["version"] + 2))
    return events


async def _apply_to_pull_request(ctx: CommandContext, command: ApplyCommitReference) -> list[NewEvent]:
    """Skip a pull request that is being merged: the commit may be that very merge."""
    project = await ctx.project(command.project_id)
    require_pull_requests(project)
    found = await pull_requests.find(ctx.db, command.project_id, command.number, thread=False)
    if found["status"] != "Open" or await pull_requests.is_being_merged(ctx.db, command.project_id, command.number):
        return []
    merged = PullRequestMerged(
        project_id=command.project_id,
        number=command.number,
        commit=command.commit_id,
        note={"reason": NoteReason.PULL_REQUEST_FIXED, "commit": command.commit_id},
        comment_id=await comments.next_id(ctx.db),
    )
    return [NewEvent(merged, found["version"] + 1)]


def build_reference_command(project_id: int, mention: Mention, commit_id: str) -> ApplyCommitReference:
    """The command that a mention in a commit's message stands for."""
    return ApplyCommitReference(
        project_id=project_id,
        number=mention.number,
        noun=mention.kind,
        fixes=mention.fixes,
        commit_id=commit_id,
    )
