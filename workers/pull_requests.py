"""The git work of pull requests: keeping their commits in the target, following their branches, merging, rebasing."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from app.core import paths, push_policy
from app.core.access import Actor
from app.core.mentions import linked
from app.core.pull_requests import over
from app.core.push_policy import ZEROS, Change
from app.core.pushes import record_refs
from app.core.settings import setting
from app.errors import NotFound
from app.git import commits, merge, pulls, rebase, refs, store
from app.git.errors import Conflict, Missing, NeedsRebase, NotForward, NotSignedOff, TooLarge
from app.git.receive import Fault, Verdict
from app.queries import comments, issues, projects, pull_requests, users
from events.event import Fact
from events.pull_requests import (
    MergeRequested,
    PullRequestMerged,
    PullRequestOpened,
    PullRequestRebased,
    PullRequestUpdated,
    RebaseRequested,
)
from events.record import Next
from events.repositories import RefUpdated
from events.tasks import TaskFailed
from workers.course import Course
from workers.reactions import FOLLOW, GIT, GiveUp, Hands, NotYet, nothing_to_say, on

Row = Mapping[str, Any]
T = TypeVar("T")
UNSIGNED = "This repo enforces that all commits are signed off by their author. "
UNMANAGED = "Did not manage to rebase this pull-request"
MOST = 1000  # commits whose messages are read
DECLINED = "Remote hook declined the push: "
FETCHED, COMPARED = 70, 90  # percent of a merge
SHOWN_COMMITS = 100  # in the comment that tells of new ones


def refuse(cause: Fact, reason: str) -> list[Next]:
    task = str(cause.command_id)
    return [Next(TaskFailed(task_id=task, project_id=cause.data["project_id"], reason=reason))]


async def aside(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """git's work, beside the loop."""
    return await asyncio.to_thread(work, *arguments, **options)


class Work:
    """A pull request with the places where its two ends lie."""

    def __init__(self, hands: Hands, found: Row, target: Row, source: Row | None, request: str) -> None:
        self.hands = hands
        self.request = request
        self.found = found
        self.target = target
        self.source = source
        root = hands.settings.repositories
        self.place = store.directory(root, found["project_id"])
        self.source_place: Path | None = store.directory(root, source["project_id"]) if source else None

    async def bring(self) -> str:
        """Its newest commit, which is in the target from now on. A source that is there has to have the branch."""
        number, branch = self.found["number"], self.found["branch_from"]
        try:
            if self.source_place is None:
                return await aside(pulls.source_head, self.place, number, None, branch)
            progress = Course(self.hands.progress.say, FETCHED)
            head = await aside(pulls.mirror, self.place, number, self.source_place, branch, progress)
        except Missing:
            raise lacking(branch, self.source or self.target) from None
        await self.record(self.target["project_id"], Actor("forge"), refs.pull(number))
        return head

    async def record(self, project_id: int, actor: Actor, *names: str, merged: int | None = None) -> None:
        """Tell the log of refs that were moved here."""
        db, root = self.hands.db, self.hands.settings.repositories
        await record_refs(db, root, project_id, actor, request=self.request, only=frozenset(names), merged=merged)

    async def about(self, head: str) -> list[int]:
        """The issues that its commits mention, those of commits included that it has lost since."""
        found, target = self.found, self.target
        ours = (await pull_requests.heads(self.hands.db, found["project_id"])).get(found["branch"])
        home = f"{self.hands.settings.url}/{target['path']}"
        said = await aside(lambda: [one.message for one in islice(commits.between(self.place, head, ours), MOST)])
        numbers = {number for message in said for number in linked(message, home)}
        known = await issues.existing(self.hands.db, found["project_id"], sorted(numbers))
        return sorted({*known, *found["commit_issues"]})

    async def outlook(self, head: str) -> merge.Outlook:
        signed = setting(self.target, "enforce_signed_off_commits")
        return await aside(merge.outlook, self.place, self.found["branch"], head, signed_off=signed)


def lacking(branch: str, project: Row) -> GiveUp:
    return GiveUp(f"Branch {branch} could not be found in the repo {paths.fullname(project)}")


async def begin(hands: Hands, cause: Fact, project_id: int, number: int) -> Work:
    try:
        found = await pull_requests.find(hands.db, project_id, number, thread=False)
        target = await projects.by_id(hands.db, project_id)
    except NotFound:
        raise GiveUp("The pull-request is gone.") from None
    source = None
    if found["repo_from"] is not None:
        try:
            source = await projects.by_id(hands.db, found["repo_from"])
        except NotFound:
            source = None
    return Work(hands, found, target, source, cause.request)


@on(PullRequestOpened, queue=FOLLOW, surrender=nothing_to_say, tracked=False)
async def keep_pull_request(hands: Hands, cause: Fact) -> list[Next]:
    """Its commits stay in the target, and how it could be merged is known."""
    work = await begin(hands, cause, cause.data["project_id"], cause.data["number"])
    head = await work.bring()
    changed: dict[str, Any] = {}
    if about := await work.about(head):
        changed["commit_issues"] = about
    with suppress(Missing, NotSignedOff):
        changed["merge_status"] = str((await work.outlook(head)).status)
    return [_updated(work.found, changed)] if changed else []


def _updated(found: Row, changed: dict[str, Any], note: str | None = None, comment_id: int | None = None) -> Next:
    event = PullRequestUpdated(
        project_id=found["project_id"], number=found["number"], changed=changed, note=note, comment_id=comment_id
    )
    return Next(event, None)


@on(RefUpdated, queue=FOLLOW, surrender=nothing_to_say, tracked=False)
async def follow_branch(hands: Hands, cause: Fact) -> list[Next]:
    """What was pushed to a branch is part of every open pull request from it."""
    ref: str = cause.data["ref"]
    if not ref.startswith("refs/heads/"):
        return []
    branch, answers = ref.removeprefix("refs/heads/"), []
    for row in await pull_requests.opened_from(hands.db, cause.data["project_id"], branch):
        answers += await _follow(hands, cause, row["project_id"], row["number"])
    return answers


@on(PullRequestUpdated, queue=FOLLOW, surrender=nothing_to_say, tracked=False)
async def catch_up(hands: Hands, cause: Fact) -> list[Next]:
    """What is open again hears of what was pushed meanwhile."""
    if cause.data["changed"].get("status") != "Open":
        return []
    return await _follow(hands, cause, cause.data["project_id"], cause.data["number"])


async def _follow(hands: Hands, cause: Fact, project_id: int, number: int) -> list[Next]:
    # A branch that is gone leaves what it brought; so does a target.
    with suppress(GiveUp):
        work = await begin(hands, cause, project_id, number)
        head = await work.bring()
        branches = await pull_requests.heads(hands.db, project_id)
        return await _followed(work, head, branches.get(work.found["branch"]))
    return []


async def _followed(work: Work, head: str, ours: str | None) -> list[Next]:
    """What a push to its branch has changed of it, with the comment that tells of it."""
    changed = await _moved(work, head, ours)
    if not changed:
        return []
    with suppress(Missing, NotSignedOff):
        changed["merge_status"] = str((await work.outlook(head)).status)
    note = await _note(work, changed["commit_start"], changed["commit_stop"], ours)
    return [_updated(work.found, changed, note, await comments.next_id(work.hands.db) if note else None)]


async def _moved(work: Work, head: str, ours: str | None) -> dict[str, Any]:
    """Which commits it brings and what they are about, if others than before: `head` is its newest commit, and `ours`
    the one of its branch.
    """
    span = await aside(commits.span, work.place, head, ours)
    if span is None and head == work.found["commit_stop"]:
        return {}  # the target has got it some other way
    start, stop = (span.start, span.stop) if span else (None, None)
    if (start, stop) == (work.found["commit_start"], work.found["commit_stop"]):
        return {}
    return {"commit_start": start, "commit_stop": stop, "commit_issues": await work.about(head)}


async def _note(work: Work, start: str | None, stop: str | None, ours: str | None) -> str | None:
    """What the comment says of the push."""
    found = work.found
    if stop is None or found["commit_stop"] is None:
        return None
    if start != found["commit_start"]:
        return f"rebased onto {ours or 'unknown target'}"
    fresh = await aside(lambda: list(commits.between(work.place, stop, found["commit_stop"])))
    if not fresh:
        return None
    lines = "\n".join(f" * ``{commit.subject}``" for commit in fresh[:SHOWN_COMMITS])
    count = "1 new commit added" if len(fresh) == 1 else f"{len(fresh)} new commits added"
    return f"**{count}**\n\n{lines}"


@on(MergeRequested, queue=GIT, surrender=refuse)
async def merge_pull_request(hands: Hands, cause: Fact) -> list[Next]:
    """Doing it again finds it merged: the same wish at the same time makes the same commit."""
    work = await begin(hands, cause, cause.data["project_id"], cause.data["number"])
    found = work.found
    if found["status"] != "Open":
        raise GiveUp(over(found))
    head = await work.bring()
    hands.progress.say("compare", FETCHED)
    try:
        look = await work.outlook(head)
    except NotSignedOff:
        raise GiveUp(UNSIGNED) from None
    except Missing:
        raise lacking(found["branch"], work.target) from None
    ref, actor, number = refs.branch(found["branch"]), Actor(cause.actor), found["number"]
    if look.status is merge.Status.NO_CHANGE:
        answers = []
        if await pull_requests.tried_before(hands.db, cause.position):
            # Whoever tried may have died when the branch had moved, and nobody had told of it.
            await work.record(found["project_id"], actor, ref, merged=number)
        elif await pull_requests.being_merged(hands.db, found["project_id"], number, besides=cause.position):
            raise NotYet  # they tell of it
        else:
            answers = refuse(cause, "Nothing to do, changes were already merged")
        return [*answers, await _merged(work, cause, look.ours or head)]
    # A push just before may not have been followed yet.
    moved = await _moved(work, head, look.ours)
    hands.progress.say("merge", COMPARED)
    caught_up = [_updated(found, moved)] if moved else []
    new = await _merge(work, cause, look)
    await work.record(found["project_id"], actor, ref, merged=number)
    return [*caught_up, await _merged(work, cause, new, behind=len(caught_up))]


async def _merge(work: Work, cause: Fact, look: merge.Outlook) -> str:
    target, found = work.target, work.found
    if look.status is not merge.Status.CONFLICTS:
        await _ask_plugins(work, look)
    signer = await _signer(work.hands, cause)
    signed = setting(target, "enforce_signed_off_commits") or push_policy.demands(target).signed
    message = merge.merge_message(found["number"], found["title"], signer if signed else None)
    await work.hands.point_of_no_return()
    try:
        return await aside(
            merge.merge,
            work.place,
            look,
            message,
            signer,
            always=setting(target, "always_merge"),
            only_forward=not setting(target, "non_fast_forward_merges"),
        )
    except Conflict:
        raise GiveUp("Merge conflicts!") from None
    except NeedsRebase:
        raise GiveUp("The pull-request must be rebased before merging") from None


async def _ask_plugins(work: Work, look: merge.Outlook) -> None:
    """A merge is for those who may, whatever they may push; what a push has to satisfy besides, it has to as well."""
    change = Change(refs.branch(work.found["branch"]), look.ours or ZEROS, look.theirs)
    if reason := push_policy.declined(work.target, change):
        raise GiveUp(DECLINED + reason)
    if push_policy.demands(work.target).signed:
        try:
            await aside(commits.require_sign_off, work.place, look.theirs, look.ours)
        except NotSignedOff as unsigned:
            raise _declined(Fault.UNSIGNED, unsigned.subject) from None


def _declined(fault: Fault, commit: str = "") -> GiveUp:
    return GiveUp(DECLINED + push_policy.sentence(Verdict(fault, commit)))


async def _signer(hands: Hands, cause: Fact) -> merge.Signer:
    user = await users.find(hands.db, cause.actor)
    name, email = (user["fullname"], user["email"]) if user else ("", "")
    return merge.Signer(name or cause.actor, email, int(cause.at.timestamp()))


async def _merged(work: Work, cause: Fact, commit: str, *, behind: int = 0) -> Next:
    """Not if it has become another one meanwhile, but for what is told before this: it is merged once."""
    event = PullRequestMerged(
        project_id=work.found["project_id"],
        number=work.found["number"],
        commit=commit,
        note=f"Pull-Request has been merged by {cause.actor}",
        comment_id=await comments.next_id(work.hands.db),
    )
    return Next(event, work.found["version"] + behind + 1)


@on(RebaseRequested, queue=GIT, surrender=refuse)
async def rebase_pull_request(hands: Hands, cause: Fact) -> list[Next]:
    work = await begin(hands, cause, cause.data["project_id"], cause.data["number"])
    found = work.found
    if found["status"] != "Open":
        raise GiveUp(over(found))
    if work.source is None or work.source_place is None:
        raise GiveUp(UNMANAGED)
    if not await aside(work.place.exists):
        raise GiveUp(f"Could not find the targeted git repository for {paths.fullname(work.target)}")
    for branch, project in ((found["branch_from"], work.source), (found["branch"], work.target)):
        if branch not in await pull_requests.heads(hands.db, project["project_id"]):
            raise lacking(branch, project)
    try:
        signer = merge.Signer(cause.actor, (await _signer(hands, cause)).email, int(cause.at.timestamp()))
        done = await aside(
            rebase.prepare,
            work.source_place,
            found["branch_from"],
            work.place,
            found["branch"],
            signer,
            push_policy.demands(work.source),
            progress=lambda percent: hands.progress.say("rebase", percent),
        )
        await hands.point_of_no_return()
        await aside(rebase.apply, work.source_place, done)
    except NotForward:
        raise _declined(Fault.NOT_FORWARD) from None
    except NotSignedOff as unsigned:
        raise _declined(Fault.UNSIGNED, unsigned.subject) from None
    except (Conflict, Missing, TooLarge):
        raise GiveUp(UNMANAGED) from None
    ref = refs.branch(found["branch_from"])
    await work.record(work.source["project_id"], Actor(cause.actor), ref)
    return [Next(PullRequestRebased(project_id=found["project_id"], number=found["number"], commit=done.new), None)]
