"""What descriptions and commits say of issues: links, and commits that land."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.core.mentions import Mention, linked, mentions
from tests.conftest import Client, Forge, commit, git

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
def test_a_line_mentions(line: str, found: list[tuple[int, str | None, bool]]) -> None:
    assert list(mentions(line, HOME)) == [Mention(*each) for each in found]


def test_a_description_is_about_issues_and_no_pull_requests() -> None:
    text = f"Fixes #2\r\nrelates to #1\nmerges {HOME}/pull-request/3\nfixes #2"
    assert linked(text, HOME) == [1, 2]
    assert linked(None, HOME) == []


def test_endless_blanks_are_read_at_once() -> None:
    """Once for every blank would take hours."""
    assert list(mentions("fix" + " " * 1_000_000 + "#", HOME)) == []


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


async def opened(client: Client, **form: Any) -> int:
    body = {"title": "Add one", "branch_to": "main", "branch_from": "topic", **form}
    status, found = await client.post("/nethack/pull-request/new", **body)
    assert status == 200, found
    number: int = found["id"]
    return number


async def related(client: Client, *numbers: int) -> list[Any]:
    return [(await client.pagure(f"/nethack/issue/{number}"))[1]["related_prs"] for number in numbers]


async def test_an_issue_shows_the_pull_requests_that_are_about_it(nethack: Client, work: Path) -> None:
    home = f"{nethack.forge.url}/nethack"
    first = await opened(nethack, initial_comment=f"Fixes #1\nrelates to {home}/issue/2\nfixes #77")
    second = await opened(nethack, title="More", initial_comment=f"fixes #1\nmerges {home}/pull-request/{first}")
    one, more = {"id": first, "title": "Add one"}, {"id": second, "title": "More"}
    assert await related(nethack, 1, 2, 3) == [[more, one], [one], []]
    _, listed = await nethack.pagure("/nethack/issues")
    assert {each["id"]: each["related_prs"] for each in listed["issues"]} == {1: [more, one], 2: [one], 3: []}
    assert (await nethack.pagure("/nethack/issue/1"))[1]["status"] == "Open"


async def test_links_follow_the_description_and_the_title(nethack: Client, work: Path) -> None:
    first = await opened(nethack, initial_comment="Fixes #1")
    second = await opened(nethack, initial_comment="Fixes #1")
    await nethack.post(f"/nethack/pull-request/{first}", title="Renamed", initial_comment="Fixes #1\nFixes #2")
    renamed, other = {"id": first, "title": "Renamed"}, {"id": second, "title": "Add one"}
    assert await related(nethack, 1, 2) == [[other, renamed], [renamed]]
    await nethack.post(f"/nethack/pull-request/{first}", title="Renamed", initial_comment="Fixes #3")
    assert await related(nethack, 1, 2, 3) == [[other], [], [renamed]]


async def test_the_commits_of_a_pull_request_link_it_for_good(nethack: Client, work: Path) -> None:
    number = await opened(nethack, initial_comment="relates to #3")
    await git("commit", "-q", "--allow-empty", "-m", "More\n\nFixes: #2", cwd=work)
    await git("push", "-q", "origin", "topic", cwd=work)
    shown = [{"id": number, "title": "Add one"}]
    await until(nethack, [[], shown, shown])
    await git("reset", "-q", "--hard", "HEAD~1", cwd=work)
    await git("commit", "-q", "--allow-empty", "-m", "Other\n\nrelates to #1", cwd=work)
    await git("push", "-qf", "origin", "topic", cwd=work)
    await until(nethack, [shown, shown, shown])


async def until(client: Client, wanted: list[Any]) -> None:
    async with asyncio.timeout(15):
        while await related(client, 1, 2, 3) != wanted:
            await asyncio.sleep(0.05)


async def test_the_commits_with_which_it_is_opened_link_it_too(nethack: Client, work: Path) -> None:
    await git("commit", "-q", "--allow-empty", "-m", "Fixes #1", cwd=work)
    await git("push", "-q", "origin", "topic", cwd=work)
    shown = [{"id": await opened(nethack), "title": "Add one"}]
    await until(nethack, [shown, [], []])


async def landed(forge: Forge) -> list[Any]:
    """What has landed, once there is something."""
    async with asyncio.timeout(15):
        while True:
            _, feed = await forge.admin.get("/v1/events?types=commits.landed&limit=100")
            if feed["events"]:
                return [each["data"] for each in feed["events"]]
            await asyncio.sleep(0.05)


async def test_what_lands_on_the_default_branch_is_told_with_whose_it_is(
    forge: Forge, nethack: Client, work: Path
) -> None:
    await git("-c", "user.email=x@y.example", "commit", "-q", "--allow-empty", "-m", "x",
              "--author", "Stranger <stranger@example.org>", cwd=work)  # fmt: skip
    await git("push", "-q", "origin", "topic:elsewhere", "topic:main", cwd=work)
    new, old = (await git("rev-parse", "HEAD", "HEAD~1", cwd=work)).split()
    [told] = await landed(forge)
    assert told["ref"] == "refs/heads/main"
    assert told["commits"] == [[new, None], [old, "alice"]]
