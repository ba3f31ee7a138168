"""Repositories that would cost a great deal to read, through everything that reads a repository."""

import asyncio
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.git import store
from tests.conftest import Client, Forge, commit, git
from tests.git import bombs
from tests.git.limits import using_limits
from tests.git.repositories import create_bare
from tests.receiver import Receiver
from tests.subscriptions import subscribe

OWN_MEMORY = 300 << 20  # bytes by which the process of the tests, which holds the forge, may grow
PATIENCE = 20.0  # seconds for one answer, on a machine that does other things too


@pytest.fixture
async def local(nethack: Client, tmp_path: Path) -> Path:
    """A bare repository with the project's commits, for objects that no ordinary client would make."""
    repo_path = await create_bare(tmp_path, "local")
    await git("fetch", "-q", nethack.git_url("nethack"), "main:main", cwd=repo_path)
    return repo_path


async def push_tree(client: Client, local: Path, tree: str) -> str:
    """Push a commit with this tree to the branch `topic`; return its id."""
    base = (await git("rev-parse", "main", cwd=local)).strip()
    made = bombs.write_commit(local, tree, base)
    await git("push", "-q", client.git_url("nethack"), f"{made}:refs/heads/topic", cwd=local)
    return made


async def read_status(client: Client, path: str) -> int:
    """Read an answer to its end, without keeping it; return its status, or 0 if it was cut short."""
    async with asyncio.timeout(PATIENCE), client.forge.session.get(client.forge.url + path) as answer:
        try:
            async for _ in answer.content.iter_chunked(1 << 16):
                pass
        except OSError:
            return 0
        return answer.status


async def read_all(client: Client, made: str, path: str) -> dict[str, int]:
    """Read everything that shows the branch `topic`; return the statuses."""
    form = {"title": "T", "branch_from": "topic", "branch_to": "main", "initial_comment": "c"}
    status, opened = await client.post("/nethack/pull-request/new", **form)
    assert status == 200, opened
    addresses = {
        "raw commit": f"/nethack/raw/{made}",
        "raw branch": "/nethack/raw/topic",
        "raw file": f"/nethack/raw/topic/f/{path}",
        "tree": "/api/0/nethack/tree/topic",
        "tree of commit": f"/api/0/nethack/tree/{made}",
        "tree of path": f"/api/0/nethack/tree/{made}/f/{path}",
        "commit": f"/api/0/nethack/c/{made}/info",
        "patch": f"/nethack/pull-request/{opened['id']}.patch",
        "diff": f"/nethack/pull-request/{opened['id']}.diff",
        "diffstats": f"/api/0/nethack/pull-request/{opened['id']}/diffstats",
    }
    return {name: await read_status(client, address) for name, address in addresses.items()}


async def serve_others(forge: Forge, served: list[int]) -> None:
    """Read another project again and again."""
    while True:
        served.append(await read_status(forge.nobody, "/api/0/other/tree/main"))
        await asyncio.sleep(0.05)


async def read_beside_others(forge: Forge, client: Client, made: str, path: str) -> dict[str, int]:
    """Read everything while another project is read too, and see that neither memory nor the others suffer."""
    assert (await client.post("/new", name="other", description="d", create_readme="1"))[0] == 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    served: list[int] = []
    others = asyncio.create_task(serve_others(forge, served))
    statuses = await read_all(client, made, path)
    await forge.idle()
    others.cancel()
    assert served
    assert set(served) == {200}
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < OWN_MEMORY
    return statuses


SHOWN_IN_PART = {"raw commit": 413, "raw branch": 413, "patch": 413, "diff": 413, "diffstats": 400}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bomb", "path", "expected"),
    [
        ("trees", "003/003", {**SHOWN_IN_PART, "raw file": 404, "tree": 200, "tree of commit": 200}),
        ("files", "0000003", {**SHOWN_IN_PART, "raw file": 200, "tree": 400, "tree of commit": 400}),
        ("line", "line", {**SHOWN_IN_PART, "diffstats": 200, "raw file": 200, "tree": 200, "tree of commit": 200}),
    ],
)
async def test_what_is_too_large_is_refused_and_others_are_served(
    forge: Forge, nethack: Client, local: Path, receiver: Receiver, bomb: str, path: str, expected: dict[str, int]
) -> None:
    await subscribe(nethack, receiver, format="pagure", types=["ref.updated"])
    write = {
        "trees": lambda: bombs.write_tree_of_trees(local),
        "files": lambda: bombs.write_many_files(local, 100_000),
        "line": lambda: bombs.write_long_line(local, 200 << 20),
    }
    made = await push_tree(nethack, local, await asyncio.to_thread(write[bomb]))
    statuses = await read_beside_others(forge, nethack, made, path)
    assert statuses == {**expected, "tree of path": 200, "commit": 200}
    topics = [each.json["topic"] for each in await receiver.wait_for(2)]
    assert [topic.rpartition("pagure.")[2] for topic in topics] == ["git.branch.creation", "git.receive"]


@pytest.mark.slow
async def test_a_pull_request_that_is_too_large_is_not_merged(forge: Forge, nethack: Client, local: Path) -> None:
    await push_tree(nethack, local, bombs.write_tree_of_trees(local))
    await push_to_main(nethack, local)
    form = {"title": "T", "branch_from": "topic", "branch_to": "main", "initial_comment": "c"}
    number = (await nethack.post("/nethack/pull-request/new", **form))[1]["id"]
    async with asyncio.timeout(PATIENCE):
        status, body = await nethack.post(f"/nethack/pull-request/{number}/merge")
    assert (status, body["errors"]) == (
        409, "The changes of this pull-request are too large to be merged or rebased here"
    )  # fmt: skip


async def push_to_main(client: Client, local: Path) -> None:
    """Move `main` on, so that a merge is needed."""
    work = local.with_name("work")
    await git("clone", "-q", client.git_url("nethack"), str(work))
    await commit(work, "ours")
    await git("push", "-q", "origin", "HEAD:main", cwd=work)


@pytest.mark.slow
async def test_a_push_that_unpacks_into_too_much_is_refused(forge: Forge, nethack: Client, local: Path) -> None:
    base = (await git("rev-parse", "main", cwd=local)).strip()
    made = bombs.write_commit(local, _plant_bomb(local), base)
    push = ("-c", "core.bigFileThreshold=1g", "push", "-q", nethack.git_url("nethack"))
    with using_limits("push", memory=256 << 20):
        await git(*push, f"{made}:refs/heads/topic", cwd=local, fails=True)
    assert list((await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]) == ["main"]


def _plant_bomb(repo_path: Path) -> str:
    """Add a pack of a few kilobytes with a file of 300 MiB; return a tree with that file."""
    pack = bombs.build_delta_bomb((1 << 24) - 1, 20)
    assert len(pack) < 50_000
    (repo_path / "objects" / "pack" / "pack-1.pack").write_bytes(pack)
    indexing = ["git", "index-pack", "objects/pack/pack-1.pack"]
    subprocess.run(indexing, cwd=repo_path, capture_output=True, check=True)
    [bomb] = [line.split()[0] for line in _list_blobs(repo_path) if int(line.split()[2]) > 1 << 28]
    [base] = [line.split()[0] for line in _list_blobs(repo_path) if int(line.split()[2]) == (1 << 24) - 1]
    return bombs.write_tree(repo_path, [("100644", "base", base), ("100644", "bomb", bomb)])


def _list_blobs(repo_path: Path) -> list[str]:
    listing = ["git", "cat-file", "--batch-all-objects", "--batch-check"]
    found = subprocess.run(listing, cwd=repo_path, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if " blob " in line]


@pytest.mark.slow
async def test_a_file_that_unpacks_into_too_much_is_refused(forge: Forge, nethack: Client, settings: Any) -> None:
    project = (await nethack.pagure("/nethack"))[1]["id"]
    repo_path = store.repository_path(settings.repositories, project)
    made = bombs.write_commit(repo_path, _plant_bomb(repo_path))
    bombs.set_branch(repo_path, "topic", made)
    with using_limits(memory=256 << 20):
        assert await read_status(nethack, "/nethack/raw/topic/f/bomb") == 413
        assert await read_status(nethack, f"/nethack/raw/{made}") == 413
