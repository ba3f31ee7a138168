"""Mentions of issues in descriptions and commits."""

import asyncio
import dataclasses
import uuid
from pathlib import Path
from typing import Any

import pytest

from app.actor import Actor
from app.core import commands
from app.core.issue_metadata import AddDependency
from app.core.mentions import Mention, find_mentions, linked_issues
from events.event import StoredEvent
from events.record import NewEvent
from tests.conftest import Client, Forge, commit, git
from workers.reactions import REACTIONS, WorkerContext

HEEDED = "select 1 from work where reaction = 'heed-commits' and done_at is not null"
HOME = "https://forge.example/fork/bob/nethack"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Fixes #1, #2", [(1, None, True)]),
        ("fixes: #3 and fixes #4", [(4, None, True)]),
        ("This CLOSED:#5", [(5, None, True)]),
        ("merges #6 resolves #7", [(6, None, True), (7, None, True)]),
        ("relates to #8", [(8, None, False)]),
        ("related #8", [(8, None, False)]),
        (f"Fix {HOME}/issue/9", [(9, "issue", True)]),
        (f"Merge {HOME}/pull-request/9", [(9, "pull-request", True)]),
        (f"Relates to {HOME}/pull-request/9", []),
        ("Fixes https://forge.example/other/issue/9", []),
        ("closing #1", []),
        ("see #1", []),
        ("prefixes #1", []),
        ("fixes # 1", []),
        ("fixes #0", []),
        ("fixes #99999999999", []),
        ("fixes #9999999999", []),
    ],
)
def test_mentions_in_a_line_are_found(line: str, found: list[tuple[int, str | None, bool]]) -> None:
    assert list(find_mentions(line, HOME)) == [Mention(*each) for each in found]


def test_a_description_is_linked_to_issues_only() -> None:
    text = f"Fixes #2\r\nrelates to #1\nmerges {HOME}/pull-request/3\nfixes #2"
    assert linked_issues(text, HOME) == [1, 2]
    assert linked_issues(None, HOME) == []


def test_a_text_with_many_spaces_is_parsed_in_linear_time() -> None:
    """Quadratic time would take hours."""
    assert list(find_mentions("fix" + " " * 1_000_000 + "#", HOME)) == []


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    """Alice's clone of nethack, with three issues in the tracker and a branch `topic` one commit ahead."""
    for title in ("First", "Second", "Third"):
        await nethack.post("/nethack/new_issue", title=title, issue_content="c")
    clone = tmp_path / "clone"
    await git("clone", "-q", nethack.git_url("nethack"), str(clone))
    await git("checkout", "-qb", "topic", cwd=clone)
    await commit(clone, "one")
    await git("push", "-q", "origin", "topic", cwd=clone)
    return clone


async def open_pull_request(client: Client, **form: Any) -> int:
    body = {"title": "Add one", "branch_to": "main", "branch_from": "topic", **form}
    status, found = await client.post("/nethack/pull-request/new", **body)
    assert status == 200, found
    number: int = found["id"]
    return number


async def related_pull_requests(client: Client, *numbers: int) -> list[Any]:
    return [(await client.pagure(f"/nethack/issue/{number}"))[1]["related_prs"] for number in numbers]


async def test_an_issue_shows_its_related_pull_requests(nethack: Client, work: Path) -> None:
    home = f"{nethack.forge.url}/nethack"
    first = await open_pull_request(nethack, initial_comment=f"Fixes #1\nrelates to {home}/issue/2\nfixes #77")
    second = await open_pull_request(
        nethack, title="More", initial_comment=f"fixes #1\nmerges {home}/pull-request/{first}"
    )
    one, more = {"id": first, "title": "Add one"}, {"id": second, "title": "More"}
    assert await related_pull_requests(nethack, 1, 2, 3) == [[more, one], [one], []]
    _, listed = await nethack.pagure("/nethack/issues")
    assert {each["id"]: each["related_prs"] for each in listed["issues"]} == {1: [more, one], 2: [one], 3: []}
    assert (await nethack.pagure("/nethack/issue/1"))[1]["status"] == "Open"


async def test_links_follow_the_description_and_the_title(nethack: Client, work: Path) -> None:
    first = await open_pull_request(nethack, initial_comment="Fixes #1")
    second = await open_pull_request(nethack, initial_comment="Fixes #1")
    await nethack.post(f"/nethack/pull-request/{first}", title="Renamed", initial_comment="Fixes #1\nFixes #2")
    renamed, other = {"id": first, "title": "Renamed"}, {"id": second, "title": "Add one"}
    assert await related_pull_requests(nethack, 1, 2) == [[other, renamed], [renamed]]
    await nethack.post(f"/nethack/pull-request/{first}", title="Renamed", initial_comment="Fixes #3")
    assert await related_pull_requests(nethack, 1, 2, 3) == [[other], [], [renamed]]


async def test_links_from_commits_are_permanent(nethack: Client, work: Path) -> None:
    number = await open_pull_request(nethack, initial_comment="relates to #3")
    await git("commit", "-q", "--allow-empty", "-m", "More\n\nFixes: #2", cwd=work)
    await git("push", "-q", "origin", "topic", cwd=work)
    shown = [{"id": number, "title": "Add one"}]
    await wait_for_related(nethack, [[], shown, shown])
    await git("reset", "-q", "--hard", "HEAD~1", cwd=work)
    await git("commit", "-q", "--allow-empty", "-m", "Other\n\nrelates to #1", cwd=work)
    await git("push", "-qf", "origin", "topic", cwd=work)
    await wait_for_related(nethack, [shown, shown, shown])


async def wait_for_related(client: Client, wanted: list[Any]) -> None:
    async with asyncio.timeout(15):
        while await related_pull_requests(client, 1, 2, 3) != wanted:
            await asyncio.sleep(0.05)


async def test_the_first_commits_of_a_pull_request_link_it(nethack: Client, work: Path) -> None:
    await git("commit", "-q", "--allow-empty", "-m", "Fixes #1", cwd=work)
    await git("push", "-q", "origin", "topic", cwd=work)
    shown = [{"id": await open_pull_request(nethack), "title": "Add one"}]
    await wait_for_related(nethack, [shown, [], []])


async def list_landed(forge: Forge) -> list[Any]:
    """Wait for commits on the default branch and return the events."""
    async with asyncio.timeout(15):
        while True:
            _, feed = await forge.admin.get("/v1/events?types=commits.landed&limit=100")
            if feed["events"]:
                return [each["data"] for each in feed["events"]]
            await asyncio.sleep(0.05)


async def test_commits_on_the_default_branch_are_recorded_with_their_authors(
    forge: Forge, nethack: Client, work: Path
) -> None:
    await git("-c", "user.email=x@y.example", "commit", "-q", "--allow-empty", "-m", "x",
              "--author", "Stranger <stranger@example.org>", cwd=work)  # fmt: skip
    await git("push", "-q", "origin", "topic:elsewhere", "topic:main", cwd=work)
    new, old = (await git("rev-parse", "HEAD", "HEAD~1", cwd=work)).split()
    [landed] = await list_landed(forge)
    assert landed["ref"] == "refs/heads/main"
    assert landed["commits"] == [[new, None], [old, "alice"]]


@pytest.fixture
async def referencing(nethack: Client, work: Path) -> Path:
    """The same, and nethack applies references in commits."""
    status, body = await nethack.post("/nethack/settings/Pagure/install")
    assert status == 200, body
    return work


async def commit_message(work: Path, message: str) -> str:
    """Push a commit with this message to the default branch and return its id."""
    await git("commit", "-q", "--allow-empty", "-m", message, cwd=work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    return (await git("rev-parse", "HEAD", cwd=work)).strip()


async def wait_for_comments(client: Client, number: int, *, comments: int) -> Any:
    """Wait until the issue has so many comments and return it."""
    async with asyncio.timeout(15):
        while True:
            _, found = await client.pagure(f"/nethack/issue/{number}")
            if len(found["comments"]) >= comments:
                return found
            await asyncio.sleep(0.05)


async def test_a_commit_on_the_default_branch_closes_what_it_fixes(
    forge: Forge, nethack: Client, referencing: Path
) -> None:
    made = await commit_message(referencing, "Better\n\nFixes #1\nrelates to #2")
    home = f"[{made[:8]}]({forge.url}/nethack/c/{made[:8]})"
    fixed = await wait_for_comments(nethack, 1, comments=1)
    assert (fixed["status"], fixed["close_status"], fixed["closed_by"]["name"]) == ("Closed", "Fixed", "alice")
    assert [each["comment"] for each in fixed["comments"]] == [f" Commit {home} fixes this issue"]
    assert fixed["comments"][0]["user"]["name"] == "alice"
    remarked = await wait_for_comments(nethack, 2, comments=1)
    assert remarked["status"] == "Open"
    assert [each["comment"] for each in remarked["comments"]] == [f" Commit {home} relates to this ticket"]


async def test_commits_on_other_branches_or_without_the_plugin_close_nothing(
    forge: Forge, nethack: Client, referencing: Path
) -> None:
    await git("commit", "-q", "--allow-empty", "-m", "Fixes #1", cwd=referencing)
    await git("push", "-q", "origin", "HEAD:elsewhere", cwd=referencing)
    assert (await nethack.post("/nethack/settings/Pagure/remove"))[0] == 200
    await commit_message(referencing, "Fixes #2")
    async with asyncio.timeout(15):
        while not await forge.db.fetchval(HEEDED):
            await asyncio.sleep(0.02)
    assert (await nethack.post("/nethack/settings/Pagure/install"))[0] == 200
    await commit_message(referencing, "Fixes #3")
    assert (await wait_for_comments(nethack, 3, comments=1))["status"] == "Closed"
    assert [(await wait_for_comments(nethack, n, comments=0))["status"] for n in (1, 2)] == ["Open", "Open"]


async def test_commits_do_not_change_disabled_trackers_or_pull_requests(
    forge: Forge, nethack: Client, referencing: Path
) -> None:
    number = await open_pull_request(nethack)
    await git("checkout", "-q", "-B", "main", "origin/main", cwd=referencing)

    async def statuses(**options: str) -> list[str]:
        await nethack.post("/nethack/options/update", **options)
        await commit_message(referencing, f"Fixes #1\n\nMerges #{number}")
        await forge.idle()
        await nethack.post("/nethack/options/update", issue_tracker="true", pull_requests="true")
        pages = ("issue/1", f"pull-request/{number}")
        return [(await nethack.pagure(f"/nethack/{page}"))[1]["status"] for page in pages]

    assert await statuses(issue_tracker_read_only="true", pull_requests="false") == ["Open", "Open"]
    # A project without a tracker can have pull requests.
    assert await statuses(issue_tracker="false") == ["Open", "Merged"]
    assert await statuses(issue_tracker_read_only="false") == ["Closed", "Merged"]


async def test_an_issue_with_open_dependencies_is_only_commented_on(nethack: Client, referencing: Path) -> None:
    project = (await nethack.pagure("/nethack"))[1]["id"]
    command = AddDependency(project_id=project, number=1, depends_on=2)
    await commands.execute(nethack.forge.db, Actor("alice"), command, command_id=uuid.uuid4())
    await commit_message(referencing, "Fixes #1")
    assert (await wait_for_comments(nethack, 1, comments=2))["status"] == "Open"


async def test_a_commit_can_close_a_pull_request(nethack: Client, referencing: Path) -> None:
    number = await open_pull_request(nethack)
    await git("checkout", "-q", "-B", "main", "origin/main", cwd=referencing)
    made = await commit_message(referencing, f"The same in other words\n\nMerges #{number}")
    async with asyncio.timeout(15):
        while (found := (await nethack.pagure(f"/nethack/pull-request/{number}"))[1])["status"] != "Merged":
            await asyncio.sleep(0.05)
    assert found["comments"][-1]["comment"].startswith(f" Commit [{made[:8]}](")
    assert found["comments"][-1]["comment"].endswith("fixes this pull-request")


async def test_the_merge_of_a_pull_request_is_recorded_once(
    forge: Forge, nethack: Client, referencing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message of its commit begins with `Merge #4` and is parsed before the worker records the merge."""
    merging = REACTIONS["merge-pull-request"]

    async def lingers(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        answers = await merging.work(ctx, cause)
        async with asyncio.timeout(15):
            while not await forge.db.fetchval(HEEDED):
                await asyncio.sleep(0.02)
        return answers

    monkeypatch.setitem(REACTIONS, merging.name, dataclasses.replace(merging, work=lingers))
    assert (await nethack.post("/nethack/options/update", always_merge="true"))[0] == 200
    number = await open_pull_request(nethack, initial_comment="Fixes #1")
    assert (await nethack.post(f"/nethack/pull-request/{number}/merge"))[0] == 200
    found = (await nethack.pagure(f"/nethack/pull-request/{number}"))[1]
    assert [each["comment"] for each in found["comments"]] == ["Pull-Request has been merged by alice"]
    assert (await wait_for_comments(nethack, 1, comments=0))["status"] == "Open"
