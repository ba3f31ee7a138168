"""What was acknowledged survives a power cut: all that the log tells of the refs is on disk, with its objects."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from app.config import Settings
from app.git import store
from app.queries import projects, refs
from tests.conftest import Client, Forge, commit, git
from tests.synced import watch_disk

Step = Callable[[Client, Path], Awaitable[None]]
STEPS: dict[str, Step] = {}


def step(function: Step) -> Step:
    STEPS[function.__name__.replace("_", " ")] = function
    return function


async def post(client: Client, path: str, **form: str) -> None:
    status, body = await client.post(path, **form)
    assert status == 200, body


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    """A clone of nethack, which has the branches main, other, gone and in/a/folder, and the alias trunk/old."""
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    await git("push", "-q", "origin", "HEAD:gone", "HEAD:in/a/folder", cwd=work)
    await post(nethack, "/nethack/git/alias/new", alias_from="trunk/old", alias_to="main")
    await commit(work, "other")
    await git("push", "-q", "origin", "HEAD:other", cwd=work)
    await git("reset", "-q", "--hard", "origin/main", cwd=work)
    return work


async def read_head(work: Path) -> str:
    return (await git("rev-parse", "HEAD", cwd=work)).strip()


@step
async def push_a_few_objects(alice: Client, work: Path) -> None:
    await commit(work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)


@step
async def push_a_pack(alice: Client, work: Path) -> None:
    for number in range(150):
        (work / str(number)).write_text(str(number))
    await git("add", ".", cwd=work)
    await commit(work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)


@step
async def push_a_branch_in_folders(alice: Client, work: Path) -> None:
    await commit(work)
    await git("push", "-q", "origin", "HEAD:one/two/three", cwd=work)


@step
async def push_many_branches(alice: Client, work: Path) -> None:
    await commit(work)
    await git("push", "-q", "origin", *(f"HEAD:many/{n}/branch" for n in range(30)), cwd=work)


@step
async def delete_branches(alice: Client, work: Path) -> None:
    await git("push", "-q", "origin", ":gone", ":in/a/folder", cwd=work)


@step
async def create_a_branch(alice: Client, work: Path) -> None:
    await post(alice, "/nethack/git/branch", branch="new", from_branch="other")


@step
async def create_a_tag(alice: Client, work: Path) -> None:
    await post(alice, "/nethack/git/tags", tagname="v1", commit_hash=await read_head(work), message="One")


@step
async def choose_a_default_branch(alice: Client, work: Path) -> None:
    await post(alice, "/nethack/git/branches", branch_name="other")


@step
async def create_an_alias(alice: Client, work: Path) -> None:
    await post(alice, "/nethack/git/alias/new", alias_from="latest/one", alias_to="main")


@step
async def delete_an_alias(alice: Client, work: Path) -> None:
    await post(alice, "/nethack/git/alias/drop", alias_from="trunk/old", alias_to="main")


@step
async def merge_a_pull_request(alice: Client, work: Path) -> None:
    await post(alice, "/nethack/pull-request/new", title="Other", branch_from="other", branch_to="main")
    await commit(work)
    await git("push", "-q", "origin", "HEAD:main", cwd=work)
    await post(alice, "/nethack/pull-request/1/merge")


@step
async def create_a_project(alice: Client, work: Path) -> None:
    await post(alice, "/new", name="angband", description="New", create_readme="1")


@step
async def create_an_empty_project(alice: Client, work: Path) -> None:
    await post(alice, "/new", name="angband", description="New")


@step
async def fork_a_project(alice: Client, work: Path) -> None:
    await post(alice, "/fork", repo="nethack")


@pytest.mark.parametrize("name", STEPS)
async def test_after_a_power_cut_the_refs_are_those_in_the_log(
    forge: Forge, settings: Settings, alice: Client, work: Path, tmp_path: Path, name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await forge.idle()
    synced = watch_disk(settings.data, monkeypatch)
    before = await forge.db.fetchval("select max(position) from events")
    await STEPS[name](alice, work)
    left = await asyncio.to_thread(synced.restore, tmp_path / "left")
    await forge.idle()
    types = ["ref.updated", "head.moved", "repository.created"]
    told = "select count(*) from events where position > $1 and type = any($2)"
    assert await forge.db.fetchval(told, before, types)
    for project_id in await projects.list_ids(forge.db):
        repo_path = store.repository_path(left / "repositories", project_id)
        state = await asyncio.to_thread(store.read_state, repo_path)
        on_disk = {"HEAD": state.head, **{ref: target for ref, target, _ in state.refs}}
        known = await refs.list_known(forge.db, project_id)
        assert on_disk == {ref: target for ref, (target, _) in known.items() if target != refs.ZEROS}
        await git(f"--git-dir={repo_path}", "fsck", "--full", "--strict")


async def test_after_a_power_cut_files_of_issues_are_there(
    forge: Forge, settings: Settings, nethack: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await forge.idle()
    synced = watch_disk(settings.data, monkeypatch)
    form = aiohttp.FormData({"title": "A file", "issue_content": "<!!image>"})
    form.add_field("filestream", b"content", filename="notes.txt", content_type="text/plain")
    status, body = await nethack.request("POST", "/api/0/nethack/new_issue", data=form)
    assert status == 200, body
    left = await asyncio.to_thread(synced.restore, tmp_path / "left")
    assert [file.read_bytes() for file in (left / "attachments").rglob("*-notes.txt")] == [b"content"]
