"""The rules for each ref of a push, tested with the real git client."""

from pathlib import Path

import pytest

from app.actor import Actor
from app.config import Settings
from app.core import push_policy
from app.core.push_policy import ZEROS, Change, PushReason
from app.errors import Forbidden
from app.git import refs, store
from app.queries import projects
from tests.conftest import Client, Forge, commit, git
from tests.git.pushes import FORWARD, NO_BRANCHES, SIGNED, head, heads, id_of, no, push, signed
from tests.pagure.test_plugins import install_plugin, remove_plugin
from tests.pagure.test_sharing import add_collaborator, create_group, grant_access

FORWARD_ONLY = "This branch accepts only fast-forward pushes."
RESERVED = "Refs below this name are reserved for the server."

# ---------------------------------------------------------------- who may push where


async def test_a_collaborator_pushes_to_the_branches_that_match_and_to_nothing_else(
    forge: Forge, nethack: Client, work: Path
) -> None:
    bob = await forge.user("bob")
    await add_collaborator(forge, await id_of(nethack), "bob", "epel*, f*")
    await git("tag", "v1", cwd=work)
    output = await push(work, "HEAD:f40", "HEAD:main", "v1", "HEAD:refs/notes/x", by=bob, fails=True)
    assert no("main", "You may not push to this branch.") in output
    assert no("v1", "You may push only to certain branches.") in output
    assert no("refs/notes/x", "You may push only to certain branches.") in output
    assert " * [new branch]      HEAD -> f40" in output
    new, old = await head(work), await head(work, "origin/main")
    assert await heads(nethack) == {"f40": new, "main": old}
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == []
    actors = await forge.db.fetch("select actor, data ->> 'ref' as ref from events where type = 'ref.updated'")
    assert [tuple(row) for row in actors] == [("bob", "refs/heads/f40")]
    await push(work, ":f40", by=bob)
    assert await heads(nethack) == {"main": old}


async def test_a_group_of_collaborators_pushes_to_matching_branches(forge: Forge, nethack: Client, work: Path) -> None:
    bob, carol = [await forge.user(name) for name in ("bob", "carol")]
    await create_group(nethack, "testers", "bob")
    await add_collaborator(forge, await id_of(nethack), "testers", "test/*", "group")
    await push(work, "HEAD:test/one", by=bob)
    assert "(You may not push to this branch.)" in await push(work, "HEAD:main", by=bob, fails=True)
    assert "403" in await push(work, "HEAD:test/two", by=carol, fails=True)
    assert (await heads(nethack)).keys() == {"main", "test/one"}


async def test_a_user_with_ticket_access_cannot_push(forge: Forge, nethack: Client, work: Path) -> None:
    bob = await forge.user("bob")
    await grant_access(nethack, "bob", "ticket")
    assert "403" in await push(work, "HEAD:topic", by=bob, fails=True)


async def test_a_collaborators_token_for_another_project_gives_no_access(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    key = await id_of(nethack)
    await add_collaborator(forge, key, "bob", "f*")
    project = await projects.by_id(forge.db, key)
    change = Change("refs/heads/f40", ZEROS, "1" * 40)
    assert push_policy.find_refusal(Actor(bob.name), project, change) is None
    assert push_policy.find_refusal(Actor(bob.name, token_project=key + 1), project, change)


async def test_a_push_to_an_alias_is_treated_like_a_push_to_its_branch(
    forge: Forge, nethack: Client, settings: Settings, work: Path
) -> None:
    bob = await forge.user("bob")
    key = await id_of(nethack)
    await add_collaborator(forge, key, "bob", "f*")
    refs.create_alias(store.repository_path(settings.repositories, key), "f-alias", "main")
    old = (await heads(nethack))["main"]
    assert no("f-alias", "You may not push to this branch.") in await push(work, "HEAD:f-alias", by=bob, fails=True)
    assert (await heads(nethack))["main"] == old
    await push(work, "HEAD:f-alias")
    await install_plugin(nethack, FORWARD, branches="main")
    await git("reset", "-q", "--hard", old, cwd=work)
    await commit(work, "other")
    assert no("f-alias", FORWARD_ONLY) in await push(work, "--force", "HEAD:f-alias", fails=True)


@pytest.mark.parametrize("ref", ["refs/pull/1/head", "refs/pull/1/merge", "refs/internal/x"])
async def test_reserved_refs_cannot_be_pushed(forge: Forge, nethack: Client, work: Path, ref: str) -> None:
    for client in (nethack, forge.admin):
        assert no(ref, RESERVED) in await push(work, f"HEAD:{ref}", by=client, fails=True)


async def test_branches_cannot_be_pushed_where_only_pull_requests_change_them(
    forge: Forge, nethack: Client, work: Path
) -> None:
    await nethack.post("/nethack/options/update", pull_request_access_only="true")
    await git("tag", "v1", cwd=work)
    reason = "Branches of this project can be changed only by pull requests."
    for client in (nethack, forge.admin):
        output = await push(work, "HEAD:main", "HEAD:topic", "v1", by=client, fails=True)
        assert no("main", reason) in output
        assert no("topic", reason) in output
    assert (await heads(nethack)).keys() == {"main"}
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == ["v1"]


# ---------------------------------------------------------------- plugins


@pytest.mark.parametrize("branches", ["", "*", "main", " next , main", "*, next"])
async def test_a_branch_can_be_limited_to_fast_forwards(nethack: Client, work: Path, branches: str) -> None:
    await push(work, "HEAD:main", "HEAD:topic")
    await install_plugin(nethack, FORWARD, branches=branches)
    await git("commit", "-q", "--amend", "-m", "Rewritten", cwd=work)
    new, old = await head(work), (await heads(nethack))["main"]
    output = await push(work, "--force", "HEAD:main", "HEAD:topic", "HEAD:fresh", fails=True)
    assert no("main", FORWARD_ONLY) in output
    every = branches != "main" and "next , main" not in branches
    assert (no("topic", FORWARD_ONLY) in output) == every
    assert await heads(nethack) == {"fresh": new, "main": old, "topic": old if every else new}
    assert "main (This branch cannot be deleted.)" in await push(work, ":main", fails=True)
    await git("reset", "-q", "--hard", old, cwd=work)
    new = await commit(work, "more")
    await push(work, "HEAD:main")
    assert (await heads(nethack))["main"] == new
    await remove_plugin(nethack, FORWARD)
    await push(work, "--force", "HEAD~1:main", ":topic")
    assert (await heads(nethack))["main"] == old


async def test_every_new_commit_must_be_signed_off(nethack: Client, work: Path) -> None:
    await install_plugin(nethack, SIGNED)
    unsigned, last = await head(work), await signed(work, "more")
    old = (await heads(nethack))["main"]
    output = await push(work, "HEAD:main", "HEAD:topic", f"{old}:refs/heads/same", fails=True)
    for ref in ("main", "topic"):
        assert no(ref, f"Commit {unsigned} is not signed off.") in output
    assert await heads(nethack) == {"main": old, "same": old}
    await git("tag", "v1", last, cwd=work)
    assert f"(Commit {unsigned} is not signed off.)" in await push(work, "v1", fails=True)
    await git("reset", "-q", "--hard", old, cwd=work)
    new = await signed(work, "more")
    await git("tag", "-a", "-m", "first", "v2", cwd=work)
    await push(work, "HEAD:main", "v2", ":same")
    assert await heads(nethack) == {"main": new}


async def test_a_sign_off_counts_in_any_case_and_old_commits_need_none(nethack: Client, work: Path) -> None:
    before = await head(work)
    await push(work, "HEAD:topic")
    await install_plugin(nethack, SIGNED)
    await git("commit", "-q", "--allow-empty", "-m", "More\n\nSIGNED-OFF-BY: Alice <a@example.org>", cwd=work)
    await push(work, "HEAD:main")
    assert await heads(nethack) == {"main": await head(work), "topic": before}


async def test_commits_of_pull_requests_are_new_to_the_branches(
    nethack: Client, settings: Settings, work: Path
) -> None:
    repo_path = store.repository_path(settings.repositories, await id_of(nethack))
    await git("push", "-q", str(repo_path), "HEAD:refs/pull/1/head", cwd=work)
    await install_plugin(nethack, SIGNED)
    assert "is not signed off.)" in await push(work, "HEAD:main", fails=True)


async def test_new_branches_can_be_forbidden(nethack: Client, work: Path) -> None:
    await push(work, "HEAD:gone")
    await install_plugin(nethack, NO_BRANCHES)
    await git("tag", "v1", cwd=work)
    output = await push(work, "HEAD:topic", "HEAD:main", "v1", ":gone", fails=True)
    assert no("topic", "This project takes no new branches.") in output
    assert await heads(nethack) == {"main": await head(work)}
    assert (await nethack.pagure("/nethack/git/tags"))[1]["tags"] == ["v1"]


# ---------------------------------------------------------------- other ways to a ref


async def test_the_same_rules_apply_to_branches_that_are_not_pushed(forge: Forge, nethack: Client) -> None:
    await install_plugin(nethack, NO_BRANCHES)
    project = await projects.by_id(forge.db, await id_of(nethack))
    push_policy.require(Actor("alice"), project, Change("refs/heads/main", "1" * 40, "2" * 40))
    push_policy.require(Actor("alice"), project, Change("refs/tags/v1", ZEROS, "2" * 40))
    with pytest.raises(Forbidden, match=PushReason.NEW_BRANCH):
        push_policy.require(Actor("alice"), project, Change("refs/heads/x", ZEROS, "2" * 40))
    with pytest.raises(Forbidden, match=PushReason.BRANCH):
        push_policy.require(Actor("bob"), project, Change("refs/heads/main", "1" * 40, "2" * 40))


async def open_pull_request(client: Client, work: Path, *, title: str = "Topic") -> int:
    await push(work, "HEAD:topic")
    form = {"title": title, "branch_to": "main", "branch_from": "topic"}
    status, found = await client.post("/nethack/pull-request/new", **form)
    assert status == 200, found
    return int(found["id"])


async def test_a_merge_is_subject_to_the_plugins(nethack: Client, work: Path) -> None:
    unsigned = await head(work)
    number = await open_pull_request(nethack, work)
    await install_plugin(nethack, SIGNED)
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
    await remove_plugin(nethack, SIGNED)
    await install_plugin(nethack, FORWARD)
    await install_plugin(nethack, NO_BRANCHES)
    assert (await nethack.post(merge))[0] == 200
    assert (await heads(nethack))["main"] == unsigned


async def test_the_forge_signs_off_merge_commits_where_required(nethack: Client, work: Path) -> None:
    await install_plugin(nethack, SIGNED)
    await nethack.post("/nethack/options/update", always_merge="true", pull_request_access_only="false")
    await git("reset", "-q", "--hard", "HEAD~1", cwd=work)
    await signed(work, "more")
    number = await open_pull_request(nethack, work)
    await nethack.post("/nethack/options/update", pull_request_access_only="true")
    assert (await nethack.post(f"/nethack/pull-request/{number}/merge"))[0] == 200
    await git("fetch", "-q", cwd=work)
    message = await git("log", "-1", "--format=%B", "origin/main", cwd=work)
    assert message.startswith(f"Merge #{number} `Topic`")
    assert "Signed-off-by: alice <alice@example.org>" in message


async def test_a_merge_creates_no_branch_where_new_branches_are_forbidden(
    forge: Forge, nethack: Client, work: Path
) -> None:
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
    await install_plugin(nethack, NO_BRANCHES, "/empty")
    status, body = await nethack.post("/empty/pull-request/1/merge")
    assert (status, body["errors"]) == (409, "Remote hook declined the push: This project takes no new branches.")


@pytest.mark.parametrize("plugin", [FORWARD, SIGNED])
async def test_a_rebase_is_subject_to_the_plugins_of_the_source(nethack: Client, work: Path, plugin: str) -> None:
    number = await open_pull_request(nethack, work)
    topic = await head(work)
    await git("reset", "-q", "--hard", "origin/main", cwd=work)
    await commit(work, "other")
    await push(work, "HEAD:main")
    await install_plugin(nethack, plugin, branches="topic")
    status, body = await nethack.post(f"/nethack/pull-request/{number}/rebase")
    assert (status, body["error_code"]) == (400, "ENOCODE")
    assert body["error"].startswith("Remote hook declined the push: ")
    assert body["error"].endswith("only moves forward." if plugin == FORWARD else "is not signed off.")
    assert (await heads(nethack))["topic"] == topic
    await remove_plugin(nethack, plugin)
    assert (await nethack.post(f"/nethack/pull-request/{number}/rebase"))[0] == 200
    assert (await heads(nethack))["topic"] != topic
