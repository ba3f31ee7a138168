"""Flags: the verdicts of programs on commits."""

from dataclasses import asdict, dataclass, replace

from app.core.access import require
from app.core.commands import Command, CommandContext, handles
from app.core.urls import require_no_login
from app.errors import Invalid, Subject
from app.queries import pull_requests
from events.pull_requests import CommitFlagged
from events.record import NewEvent

STATUSES = ("success", "failure", "error", "pending", "canceled")


@dataclass(frozen=True, kw_only=True)
class FlagCommit(Command):
    """Set a program's verdict on a commit; the same `uid` again changes it. `pull_request` is the number of the pull
    request that the verdict is about, if it is about one.
    """

    project_id: int
    commit: str
    uid: str
    username: str
    status: str
    percent: int | None
    comment: str
    url: str
    pull_request: int | None = None


@handles(FlagCommit)
async def flag_commit(ctx: CommandContext, command: FlagCommit) -> list[NewEvent]:
    project = await ctx.project(command.project_id)
    require(ctx.actor, "flag-commit", project)
    if command.status not in STATUSES:
        raise Invalid(Subject.CHOICE, "status", choices=STATUSES)
    require_no_login(command.url, "url")
    before = await pull_requests.find_flag(ctx.db, command.project_id, command.commit, command.uid)
    author = before["author"] if before else ctx.actor.username
    kept = replace(command, username=before["username"]) if before else command
    return [NewEvent(CommitFlagged(**asdict(kept), author=author), None)]
