"""What a push may do to each ref, told by the ordinary git client."""

import asyncio
import os
from pathlib import Path

import pytest

from app.config import Settings
from app.core import push_policy
from app.core.access import Actor
from app.core.push_policy import ZEROS, Change
from app.errors import Forbidden
from app.git import receive, refs, store
from app.queries import projects
from app.transports.pktline import line
from tests.conftest import Client, Forge, commit, git
from tests.pagure.test_plugins import installed, removed
from tests.pagure.test_sharing import collaborate, grant, group

FORWARD, SIGNED = "Block non fast-forward pushes", "Block Un-Signed commits"
NO_BRANCHES = "Prevent creating new branches by git push"


@pytest.fixture
async def work(nethack: Client, tmp_path: Path) -> Path:
    """Alice's work tree, with a commit that is not pushed."""
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    await commit(work)
    return work


async def push(work: Path, *wanted: str, by: Client | None = None, fails: bool = False) -> str:
    to = by.git_url("nethack") if by else "origin"
    options = [each for each in wanted if each.startswith("--")]
    return await git("push", *options, to, *(each for each in wanted if each not in options), cwd=work, fails=fails)


async def heads(client: Client) -> dict[str, str]:
    found: dict[str, str] = (await client.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]
    return found


async def head(work: Path, of: str = "HEAD") -> str:
    return (await git("rev-parse", of, cwd=work)).strip()


async def id_of(client: Client) -> int:
    return int((await client.pagure("/nethack"))[1]["id"])


async def signed(work: Path, name: str) -> str:
    (work / name).write_text("text")
    await git("add", name, cwd=work)
    await git("commit", "-qsm", f"Add {name}", cwd=work)
    return await head(work)


def no(ref: str, why: str) -> str:
    return f"-> {ref} ({why})\n"


# ---------------------------------------------------------------- who may push where


async def test_a_collaborator_pushes_to_the_branches_that_match_and_to_nothing_else(
    forge: Forge, nethack: Client, work: Path
) -> None:
    bob = await forge.user("bob")
    await collaborate(forge, await id_of(nethack), "bob", "epel*, f*")
    await git("tag", "v1", cwd=work)
    said = await push(work, "HEAD:f40", "HEAD:main", "v1", "HEAD:refs/notes/x", by=bob, fails=True)
    assert no("main", "You may not push to this branch.") in said
    assert no("v1", "You may push to some branches only.") in said
    assert no("refs/notes/x", "You may push to some branches only.") in said
    assert " * [new branch]      HEAD -> f40" in said
    new, old = await head(work), await head(work, "origin/main")
    assert await heads(nethack) == {"f40": new, "main": old}
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == []
    actors = await forge.db.fetch("select actor, data ->> 'ref' as ref from events where type = 'ref.updated'")
    assert [tuple(row) for row in actors] == [("bob", "refs/heads/f40")]
    await push(work, ":f40", by=bob)
    assert await heads(nethack) == {"main": old}


async def test_a_group_of_collaborators_is_let_in_likewise(forge: Forge, nethack: Client, work: Path) -> None:
    bob, carol = [await forge.user(name) for name in ("bob", "carol")]
    await group(nethack, "testers", "bob")
    await collaborate(forge, await id_of(nethack), "testers", "test/*", "group")
    await push(work, "HEAD:test/one", by=bob)
    assert "(You may not push to this branch.)" in await push(work, "HEAD:main", by=bob, fails=True)
    assert "403" in await push(work, "HEAD:test/two", by=carol, fails=True)
    assert (await heads(nethack)).keys() == {"main", "test/one"}


async def test_who_has_only_tickets_pushes_nothing(forge: Forge, nethack: Client, work: Path) -> None:
    bob = await forge.user("bob")
    await grant(nethack, "bob", "ticket")
    assert "403" in await push(work, "HEAD:topic", by=bob, fails=True)


async def test_a_collaborators_token_for_another_project_opens_nothing(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    key = await id_of(nethack)
    await collaborate(forge, key, "bob", "f*")
    project = await projects.by_id(forge.db, key)
    change = Change("refs/heads/f40", ZEROS, "1" * 40)
    assert push_policy.refusal(Actor(bob.name), project, change) is None
    assert push_policy.refusal(Actor(bob.name, token_project=key + 1), project, change)


async def test_a_push_through_an_alias_is_a_push_to_the_branch_it_stands_for(
    forge: Forge, nethack: Client, settings: Settings, work: Path
) -> None:
    bob = await forge.user("bob")
    key = await id_of(nethack)
    await collaborate(forge, key, "bob", "f*")
    refs.create_alias(store.directory(settings.repositories, key), "f-alias", "main")
    old = (await heads(nethack))["main"]
    assert no("f-alias", "You may not push to this branch.") in await push(work, "HEAD:f-alias", by=bob, fails=True)
    assert (await heads(nethack))["main"] == old
    await push(work, "HEAD:f-alias")
    await installed(nethack, FORWARD, branches="main")
    await git("reset", "-q", "--hard", old, cwd=work)
    await commit(work, "other")
    assert no("f-alias", "This branch only moves forward.") in await push(work, "--force", "HEAD:f-alias", fails=True)


@pytest.mark.parametrize("ref", ["refs/pull/1/head", "refs/pull/1/merge", "refs/internal/x"])
async def test_what_is_the_forges_own_is_nobodys_to_push(forge: Forge, nethack: Client, work: Path, ref: str) -> None:
    for client in (nethack, forge.admin):
        assert no(ref, "This ref is the forge's own.") in await push(work, f"HEAD:{ref}", by=client, fails=True)


async def test_where_only_pull_requests_change_branches_nobody_pushes_to_one(
    forge: Forge, nethack: Client, work: Path
) -> None:
    await nethack.post("/nethack/options/update", pull_request_access_only="true")
    await git("tag", "v1", cwd=work)
    why = "Branches of this project are changed by pull-requests only."
    for client in (nethack, forge.admin):
        said = await push(work, "HEAD:main", "HEAD:topic", "v1", by=client, fails=True)
        assert no("main", why) in said
        assert no("topic", why) in said
    assert (await heads(nethack)).keys() == {"main"}
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == ["v1"]


# ---------------------------------------------------------------- plugins


@pytest.mark.parametrize("branches", ["", "*", "main", " next , main", "*, next"])
async def test_a_branch_that_only_moves_forward(nethack: Client, work: Path, branches: str) -> None:
    await push(work, "HEAD:main", "HEAD:topic")
    await installed(nethack, FORWARD, branches=branches)
    await git("commit", "-q", "--amend", "-m", "Rewritten", cwd=work)
    new, old = await head(work), (await heads(nethack))["main"]
    said = await push(work, "--force", "HEAD:main", "HEAD:topic", "HEAD:fresh", fails=True)
    assert no("main", "This branch only moves forward.") in said
    every = branches != "main" and "next , main" not in branches
    assert (no("topic", "This branch only moves forward.") in said) == every
    assert await heads(nethack) == {"fresh": new, "main": old, "topic": old if every else new}
    assert "main (This branch is not to be deleted.)" in await push(work, ":main", fails=True)
    await git("reset", "-q", "--hard", old, cwd=work)
    new = await commit(work, "more")
    await push(work, "HEAD:main")
    assert (await heads(nethack))["main"] == new
    await removed(nethack, FORWARD)
    await push(work, "--force", "HEAD~1:main", ":topic")
    assert (await heads(nethack))["main"] == old


async def test_every_new_commit_is_signed_off(nethack: Client, work: Path) -> None:
    await installed(nethack, SIGNED)
    unsigned, last = await head(work), await signed(work, "more")
    old = (await heads(nethack))["main"]
    said = await push(work, "HEAD:main", "HEAD:topic", f"{old}:refs/heads/same", fails=True)
    for ref in ("main", "topic"):
        assert no(ref, f"Commit {unsigned} is not signed off.") in said
    assert await heads(nethack) == {"main": old, "same": old}
    await git("tag", "v1", last, cwd=work)
    assert f"(Commit {unsigned} is not signed off.)" in await push(work, "v1", fails=True)
    await git("reset", "-q", "--hard", old, cwd=work)
    new = await signed(work, "more")
    await git("tag", "-a", "-m", "first", "v2", cwd=work)
    await push(work, "HEAD:main", "v2", ":same")
    assert await heads(nethack) == {"main": new}


async def test_a_sign_off_counts_in_any_case_and_commits_from_before_need_none(nethack: Client, work: Path) -> None:
    before = await head(work)
    await push(work, "HEAD:topic")
    await installed(nethack, SIGNED)
    await git("commit", "-q", "--allow-empty", "-m", "More\n\nSIGNED-OFF-BY: Alice <a@example.org>", cwd=work)
    await push(work, "HEAD:main")
    assert await heads(nethack) == {"main": await head(work), "topic": before}


async def test_commits_of_pull_requests_are_new_to_the_branches(
    nethack: Client, settings: Settings, work: Path
) -> None:
    place = store.directory(settings.repositories, await id_of(nethack))
    await git("push", "-q", str(place), "HEAD:refs/pull/1/head", cwd=work)
    await installed(nethack, SIGNED)
    assert "is not signed off.)" in await push(work, "HEAD:main", fails=True)


async def test_a_push_makes_no_branch(nethack: Client, work: Path) -> None:
    await push(work, "HEAD:gone")
    await installed(nethack, NO_BRANCHES)
    await git("tag", "v1", cwd=work)
    said = await push(work, "HEAD:topic", "HEAD:main", "v1", ":gone", fails=True)
    assert no("topic", "This project takes no new branches.") in said
    assert await heads(nethack) == {"main": await head(work)}
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == ["v1"]


# ---------------------------------------------------------------- all or nothing


@pytest.mark.parametrize("plugin", [FORWARD, NO_BRANCHES])
async def test_an_atomic_push_moves_all_refs_or_none(forge: Forge, nethack: Client, work: Path, plugin: str) -> None:
    old = (await heads(nethack))["main"]
    await push(work, "HEAD:topic")
    before = await heads(nethack)
    await installed(nethack, plugin, branches="topic")
    refused = "HEAD~1:topic" if plugin == FORWARD else "HEAD:fresh"
    said = await push(work, "--atomic", "--force", refused, "HEAD:main", fails=True)
    assert no("main", "Another ref of this atomic push was refused.") in said
    why = "This branch only moves forward." if plugin == FORWARD else "This project takes no new branches."
    assert no(refused.partition(":")[2], why) in said
    assert await heads(nethack) == before
    assert before == {"main": old, "topic": await head(work)}
    await push(work, "--atomic", "HEAD:main", "HEAD:topic", "HEAD:refs/tags/v1")
    assert (await heads(nethack))["main"] == before["topic"]
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0


async def test_a_push_of_which_nothing_is_taken_leaves_nothing_behind(
    nethack: Client, settings: Settings, work: Path
) -> None:
    place = store.directory(settings.repositories, await id_of(nethack))

    def objects() -> set[Path]:
        return {path for path in (place / "objects").rglob("*") if path.is_file()}

    before = objects()
    (work / "big").write_bytes(os.urandom(3 << 20))
    await git("add", "big", cwd=work)
    await git("commit", "-qm", "Add much", cwd=work)
    await installed(nethack, SIGNED)
    assert "is not signed off.)" in await push(work, "HEAD:main", fails=True)
    assert "is not signed off.)" in await push(work, "--atomic", "HEAD:main", "HEAD~2:refs/heads/fine", fails=True)
    await installed(nethack, NO_BRANCHES)
    assert "(This project takes no new branches.)" in await push(work, "HEAD:topic", fails=True)
    assert objects() == before
    for left in ("--no-thin", "--quiet"):
        assert "(This project takes no new branches.)" in await push(work, left, "HEAD:topic", fails=True)


async def test_a_push_of_many_refs_is_told_of_each_of_them(nethack: Client, work: Path) -> None:
    await installed(nethack, SIGNED)
    old = await head(work, "HEAD~1")
    names = [f"{'unsigned' if n % 2 else 'fine'}-{n}" + "x" * 150 for n in range(400)]
    wanted = [f"{'HEAD' if name.startswith('unsigned') else old}:refs/heads/{name}" for name in names]
    said = await push(work, *wanted, fails=True)
    assert said.count("is not signed off.)") == 200
    assert (await heads(nethack)).keys() == {"main", *(name for name in names if name.startswith("fine"))}


@pytest.mark.parametrize(
    ("able", "band"),
    [
        (b"report-status", None),
        (b"report-status side-band-64k", b"\1"),
        (b"report-status-v2 side-band", None),
        (b"", None),
    ],
)
async def test_clients_of_every_kind_are_told_in_their_own_way(
    nethack: Client, work: Path, able: bytes, band: bytes | None
) -> None:
    async def sent(*wishes: bytes) -> bytes:
        headers = {"Content-Type": "application/x-git-receive-pack-request"}
        first, *others = wishes
        body = b"".join(line(each) for each in (first + b"\0" + able, *others)) + b"0000"
        url = nethack.git_url("nethack") + "/git-receive-pack"
        async with nethack.forge.session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200
            return await answer.read()

    def told(*lines: bytes) -> bytes:
        report = b"".join(line(each) for each in lines) + b"0000"
        return b"" if not able else report if band is None else line(band + report) + b"0000"

    zeros, new = ZEROS.encode(), (await head(work, "origin/main")).encode()
    refused = b"ng refs/pull/1/head This ref is the forge's own.\n"
    wish = zeros + b" " + new + b" refs/pull/1/head"
    assert await sent(wish) == told(b"unpack ok\n", refused)
    await push(work, "origin/main:refs/heads/gone")
    said = await sent(wish, new + b" " + zeros + b" refs/heads/gone")
    assert said == told(b"unpack ok\n", b"ok refs/heads/gone\n", refused)
    assert (await heads(nethack)).keys() == {"main"}


async def test_hooks_that_cannot_run_let_nothing_through(
    nethack: Client, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await heads(nethack)
    monkeypatch.setattr(receive, "HOOKS", tmp_path)
    await installed(nethack, SIGNED)
    assert "500" in await push(work, "HEAD:main", fails=True)
    assert await heads(nethack) == before
    await removed(nethack, SIGNED)
    await push(work, "HEAD:main")


async def test_a_project_that_demands_nothing_runs_no_hook(
    nethack: Client, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError("nothing is demanded")

    monkeypatch.setattr(receive, "judging", never)
    monkeypatch.setattr(refs, "meant", never)
    await push(work, "HEAD:main", "HEAD:topic")
    await installed(nethack, FORWARD)
    await removed(nethack, FORWARD)
    await push(work, "--force", "HEAD~1:main", ":topic")


# ---------------------------------------------------------------- other ways to a ref


async def test_whoever_makes_a_branch_in_another_way_asks_the_same(forge: Forge, nethack: Client) -> None:
    await installed(nethack, NO_BRANCHES)
    project = await projects.by_id(forge.db, await id_of(nethack))
    push_policy.require(Actor("alice"), project, Change("refs/heads/main", "1" * 40, "2" * 40))
    push_policy.require(Actor("alice"), project, Change("refs/tags/v1", ZEROS, "2" * 40))
    with pytest.raises(Forbidden, match="takes no new branches"):
        push_policy.require(Actor("alice"), project, Change("refs/heads/x", ZEROS, "2" * 40))
    with pytest.raises(Forbidden, match="may not push to this branch"):
        push_policy.require(Actor("bob"), project, Change("refs/heads/main", "1" * 40, "2" * 40))


async def opened(client: Client, work: Path, *, title: str = "Topic") -> int:
    await push(work, "HEAD:topic")
    form = {"title": title, "branch_to": "main", "branch_from": "topic"}
    status, found = await client.post("/nethack/pull-request/new", **form)
    assert status == 200, found
    return int(found["id"])


async def test_a_merge_is_subject_to_the_plugins(nethack: Client, work: Path) -> None:
    unsigned = await head(work)
    number = await opened(nethack, work)
    await installed(nethack, SIGNED)
    merge = f"/nethack/pull-request/{number}/merge"
    old = (await heads(nethack))["main"]
    assert await nethack.post(merge) == (
        409,
        {
            "error": "This pull-request conflicts and thus cannot be merged",
            "error_code": "EPRCONFLICTS",
            "errors": f"Remote hook declined the push: Commit {unsigned} is not signed off.",
        },
    )
    assert (await heads(nethack))["main"] == old
    await removed(nethack, SIGNED)
    await installed(nethack, FORWARD)
    await installed(nethack, NO_BRANCHES)
    assert (await nethack.post(merge))[0] == 200
    assert (await heads(nethack))["main"] == unsigned


async def test_the_forge_signs_the_merge_commits_that_have_to_be_signed(nethack: Client, work: Path) -> None:
    await installed(nethack, SIGNED)
    await nethack.post("/nethack/options/update", always_merge="true", pull_request_access_only="false")
    await git("reset", "-q", "--hard", "HEAD~1", cwd=work)
    await signed(work, "more")
    number = await opened(nethack, work)
    await nethack.post("/nethack/options/update", pull_request_access_only="true")
    assert (await nethack.post(f"/nethack/pull-request/{number}/merge"))[0] == 200
    await git("fetch", "-q", cwd=work)
    message = await git("log", "-1", "--format=%B", "origin/main", cwd=work)
    assert message.startswith(f"Merge #{number} `Topic`")
    assert "Signed-off-by: alice <alice@example.org>" in message


async def test_a_merge_makes_no_branch_where_none_are_made(forge: Forge, nethack: Client, work: Path) -> None:
    bob = await forge.user("bob")
    await nethack.post("/new", name="empty", description="d")
    assert (await bob.post("/fork", repo="empty"))[0] == 200
    await git("push", "-q", bob.git_url("fork/bob/empty"), "HEAD:topic", cwd=work)
    form = {
        "title": "T",
        "branch_to": "main",
        "branch_from": "topic",
        "repo_from": "empty",
        "repo_from_username": "bob",
    }
    assert (await bob.post("/empty/pull-request/new", **form))[0] == 200
    await installed(nethack, NO_BRANCHES, "/empty")
    status, body = await nethack.post("/empty/pull-request/1/merge")
    assert (status, body["errors"]) == (409, "Remote hook declined the push: This project takes no new branches.")


@pytest.mark.parametrize("plugin", [FORWARD, SIGNED])
async def test_a_rebase_is_subject_to_the_plugins_of_the_source(nethack: Client, work: Path, plugin: str) -> None:
    number = await opened(nethack, work)
    topic = await head(work)
    await git("reset", "-q", "--hard", "origin/main", cwd=work)
    await commit(work, "other")
    await push(work, "HEAD:main")
    await installed(nethack, plugin, branches="topic")
    status, body = await nethack.post(f"/nethack/pull-request/{number}/rebase")
    assert (status, body["error_code"]) == (400, "ENOCODE")
    assert body["error"].startswith("Remote hook declined the push: ")
    assert body["error"].endswith("only moves forward." if plugin == FORWARD else "is not signed off.")
    assert (await heads(nethack))["topic"] == topic
    await removed(nethack, plugin)
    assert (await nethack.post(f"/nethack/pull-request/{number}/rebase"))[0] == 200
    assert (await heads(nethack))["topic"] != topic


async def test_pushes_at_once_are_judged_each_by_itself(nethack: Client, work: Path) -> None:
    await installed(nethack, SIGNED)
    old = await head(work, "HEAD~1")
    said = await asyncio.gather(
        *(push(work, f"{old}:refs/heads/fine-{n}") for n in range(4)),
        *(push(work, f"HEAD:refs/heads/unsigned-{n}", fails=True) for n in range(4)),
    )
    assert ["is not signed off.)" in each for each in said] == [False] * 4 + [True] * 4
    assert (await heads(nethack)).keys() == {"main", *(f"fine-{n}" for n in range(4))}
