"""Creating, deleting and sharing repositories in both dialects."""

import json
from typing import Any

import pytest

from app.http.keys import TAIL
from tests.conftest import Client, git
from tests.rpc import KALLITHEA, Rpc

pytestmark = pytest.mark.usefixtures("nethack")


def is_kallithea(rpc: Rpc) -> bool:
    return rpc.address == KALLITHEA


async def test_a_new_repository_can_be_cloned(rpc: Rpc, tmp_path: Any) -> None:
    made = await rpc.ask("create_repo", repo_name="moria", repo_type="git", description="A mine")
    assert (made["msg"], made["success"]) == ("Created new repository `moria`", True)
    if is_kallithea(rpc):
        assert made.keys() == {"msg", "success", "repo"}
        assert made["repo"]["repo_name"] == "moria"
    else:
        assert made.keys() == {"msg", "success", "task"}
        status, task = await rpc.client.get(f"/v1/tasks/{made['task']}?wait=20")
        assert (status, task["status"]) == (200, "succeeded")
    shown = await rpc.ask("get_repo", repoid="moria")
    assert (shown["description"], shown["owner"], shown["private"]) == ("A mine", "alice", False)
    await git("clone", "-q", rpc.client.git_url("moria"), str(tmp_path / "moria"))


async def test_a_repository_may_lie_in_a_namespace_and_be_private(rpc: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_repo", repo_name="rpms/vim", private="true")
    shown = await rpc.ask("get_repo", repoid="rpms/vim")
    assert (shown["private"], shown["description"]) == (True, "vim")
    assert await bob.fail("get_repo", repoid="rpms/vim") == "repository `rpms/vim` does not exist"


async def test_rhodecode_drops_empty_parts_of_a_name_and_kallithea_does_not(rpc: Rpc) -> None:
    if is_kallithea(rpc):
        assert await rpc.fail("create_repo", repo_name="/") == "repo group `` not found"
    else:
        made = await rpc.ask("create_repo", repo_name="//rpms//vim//")
        assert made["msg"] == "Created new repository `rpms/vim`"
        assert await rpc.fail("create_repo", repo_name="//") == "Validation failed: {'repo_name': u'Required'}"


async def test_a_repository_cannot_lie_where_its_owner_may_not_put_it(rpc: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    missing = "repo group `{}` not found" if is_kallithea(rpc) else "repository group `{}` does not exist"
    for parent in ("nothing", "a/b", "Rpms"):
        assert await rpc.fail("create_repo", repo_name=f"{parent}/x") == missing.format(parent)
    denied = "no permission to create repo in hackers" if is_kallithea(rpc) else missing.format("hackers")
    assert await bob.fail("create_repo", repo_name="hackers/x") == denied
    await rpc.ask("create_repo", repo_name="hackers/x")


async def test_administrators_choose_an_owner(rpc: Rpc, admin: Rpc) -> None:
    product = "Kallithea" if is_kallithea(rpc) else "RhodeCode"
    for owner in ("bob", "nobody"):
        error = await rpc.fail("create_repo", repo_name="moria", owner=owner)
        assert error == f"Only {product} admin can specify `owner` param"
    assert await admin.fail("create_repo", repo_name="moria", owner="nobody") == "user `nobody` does not exist"
    await admin.ask("create_repo", repo_name="moria", owner="alice")
    assert (await rpc.ask("get_repo", repoid="moria"))["owner"] == "alice"


async def test_a_limited_token_of_an_administrator_chooses_no_owner(rpc: Rpc, admin: Rpc) -> None:
    limited = Rpc(await admin.client.limited(acls=["create_project", "group_modify"]), rpc.address)
    denied = "Access was denied to this resource."
    assert await limited.fail("create_repo", repo_name="moria", owner="alice") == denied
    assert await limited.fail("create_user_group", group_name="hackers", owner="alice") == denied
    await limited.ask("create_repo", repo_name="moria")


async def test_a_taken_name_is_refused(rpc: Rpc) -> None:
    for name in ("nethack", "Nethack"):
        for more in ({}, {"repo_type": "svn"}):
            assert await rpc.fail("create_repo", repo_name=name, **more) == f"repo `{name}` already exist"


async def test_the_name_of_a_hidden_repository_is_refused_like_any_that_cannot_be_had(
    rpc: Rpc, admin: Rpc, bob: Rpc
) -> None:
    await rpc.ask("create_repo", repo_name="secret", private=True)
    for name in ("secret", "Secret", "api"):
        assert await bob.fail("create_repo", repo_name=name) == f"failed to create repository `{name}`"
    for reader in (rpc, admin):
        assert await reader.fail("create_repo", repo_name="secret") == "repo `secret` already exist"
    await rpc.client.post("/secret/git/modifyacls", user_type="user", name="bob", acl="ticket")
    assert await bob.fail("create_repo", repo_name="secret") == "repo `secret` already exist"


async def test_a_missing_group_comes_before_an_unknown_owner(rpc: Rpc, admin: Rpc) -> None:
    error = "repo group `nothing` not found" if is_kallithea(rpc) else "repository group `nothing` does not exist"
    assert await admin.fail("create_repo", repo_name="nothing/x", owner="nobody") == error


async def test_a_repository_that_is_not_there_when_the_process_ends_is_asked_for_again(
    nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpc = Rpc(nethack, KALLITHEA)
    sent = {"id": 1, "api_key": rpc.client.token, "method": "create_repo", "args": {"repo_name": "moria"}}
    with monkeypatch.context() as shutting_down:
        shutting_down.setattr(nethack.forge.app[TAIL], "closing", True)
        answer = await rpc.envelope(sent, Idempotency_Key="k")
    assert answer == {"id": 1, "result": None, "error": "The forge cannot answer at the moment; try again."}
    assert rpc.client.headers["Retry-After"] == "1"
    answer = await rpc.envelope(sent, Idempotency_Key="k")
    assert answer["result"]["msg"] == "Created new repository `moria`"


@pytest.mark.parametrize(
    "changed",
    [
        {"repo_type": "hg"}, {"repo_type": "svn"}, {"repo_name": "a.git"}, {"repo_name": "a b"},
        {"landing_rev": "branch:main"}, {"clone_uri": "https://example.org/x"}, {"enable_statistics": 1},
        {"copy_permissions": True}, {"repo_name": "api"},
    ],
)  # fmt: skip
async def test_a_repository_that_the_forge_cannot_have_is_refused(rpc: Rpc, changed: dict[str, Any]) -> None:
    sent = {"repo_name": "moria", **changed}
    assert await rpc.fail("create_repo", **sent) == f"failed to create repository `{sent['repo_name']}`"


async def test_owners_delete_repositories(rpc: Rpc, bob: Rpc) -> None:
    error = "repository `nethack` does not exist"
    assert await bob.fail("delete_repo", repoid="nethack") == error
    deleted = {"msg": "Deleted repository `nethack`", "success": True}
    assert await rpc.ask("delete_repo", repoid="nethack") == deleted
    assert await rpc.fail("delete_repo", repoid="nethack") == error


async def test_forks_are_detached_or_in_the_way(rpc: Rpc, bob: Rpc) -> None:
    await bob.client.post("/fork", repo="nethack")
    attached = "Cannot delete `nethack` it still contains attached forks"
    error = attached if is_kallithea(rpc) else "failed to delete repository `nethack`"
    for forks in ({}, {"forks": "unknown"}, {"forks": "delete"}):
        assert await rpc.fail("delete_repo", repoid="nethack", **forks) == error
    deleted = {"msg": "Deleted repository `nethack` Detached 1 forks", "success": True}
    assert await rpc.ask("delete_repo", repoid="nethack", forks="detach") == deleted
    assert (await bob.ask("get_repo", repoid="fork/bob/nethack"))["fork_of"] is None


async def test_a_repeated_deletion_gets_the_first_answer(rpc: Rpc) -> None:
    call = {"id": 1, "api_key": rpc.client.token, "method": "delete_repo", "args": {"repoid": "nethack"}}
    first = await rpc.envelope(call, Idempotency_Key="d")
    assert first["error"] is None
    assert await rpc.envelope(call, Idempotency_Key="d") == first


@pytest.mark.parametrize("http_method", ["GET", "POST"])
async def test_a_key_is_honoured_by_methods_that_write(rpc: Rpc, http_method: str) -> None:
    async def send(method: str, key: str, **args: Any) -> Any:
        sent = {"id": 1, "api_key": rpc.client.token, "method": method, "args": args}
        return json.loads(await rpc.send(json.dumps(sent).encode(), method=http_method, Idempotency_Key=key))

    first = await send("create_repo", "a key", repo_name="moria")
    assert first["error"] == "Idempotency-Key must have 1 to 255 visible ASCII characters."
    first = await send("create_repo", "made", repo_name="moria")
    assert first["error"] is None
    assert await send("create_repo", "made", repo_name="moria") == first
    assert rpc.client.headers["Idempotency-Replayed"] == "true"


async def test_a_key_is_ignored_by_methods_that_read(rpc: Rpc) -> None:
    sent = {"id": 1, "api_key": rpc.client.token, "method": "get_repos", "args": {}}
    before = await rpc.envelope(sent, Idempotency_Key="k")
    await rpc.ask("create_repo", repo_name="moria")
    after = await rpc.envelope(sent, Idempotency_Key="k")
    assert [each["repo_name"] for each in before["result"]] == ["nethack"]
    assert [each["repo_name"] for each in after["result"]] == ["moria", "nethack"]


async def test_writers_refresh_a_repository(rpc: Rpc, bob: Rpc) -> None:
    number = (await rpc.ask("get_repo", repoid="nethack"))["repo_id"]
    done = {"msg": f"Cache for repository `{number}` was invalidated", "repository": "nethack"}
    assert await rpc.ask("invalidate_cache", repoid=number) == done
    assert await bob.fail("invalidate_cache", repoid="nethack") == "repository `nethack` does not exist"


async def list_permissions(rpc: Rpc) -> dict[str, str]:
    members = (await rpc.ask("get_repo", repoid="nethack"))["members"]
    return {row["name"]: row["permission"] for row in members if row["name"] not in ("admin", "alice", "default")}


async def test_permissions_are_granted_and_revoked_repeatedly(rpc: Rpc, admin: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    manager = admin if is_kallithea(rpc) else rpc
    for method, field, name, word in (
        ("user", "userid", "bob", "user"),
        ("user_group", "usergroupid", "hackers", "user group"),
    ):
        named = {"repoid": "nethack", field: name}
        for perm in ("repository.admin", "repository.read", "repository.write", "repository.write"):
            done = {"msg": f"Granted perm: `{perm}` for {word}: `{name}` in repo: `nethack`", "success": True}
            assert await manager.ask(f"grant_{method}_permission", **named, perm=perm) == done
            assert (await list_permissions(rpc))[name] == perm
        done = {"msg": f"Revoked perm for {word}: `{name}` in repo: `nethack`", "success": True}
        for _ in range(2):
            assert await manager.ask(f"revoke_{method}_permission", **named) == done
        assert name not in await list_permissions(rpc)
        await manager.ask(f"grant_{method}_permission", **named, perm="repository.none")


@pytest.mark.parametrize(
    "perm",
    ["haha", "repository.haha", "", "hg.haha", "read", "hg.admin", "hg.fork.none", "group.read", "usergroup.admin"],
)
async def test_a_permission_must_be_one_on_repositories(rpc: Rpc, admin: Rpc, perm: str) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    error = f"permission `{perm}` does not exist"
    if perm in ("hg.admin", "hg.fork.none", "group.read", "usergroup.admin"):
        error = f"permission `{perm}` is invalid, should start with repository."
    for method, names in (("user", {"userid": "alice"}), ("user_group", {"usergroupid": "hackers"})):
        assert await admin.fail(f"grant_{method}_permission", repoid="nethack", **names, perm=perm) == error


async def test_others_may_not_grant(rpc: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_user_group", group_name="hackers")
    names = {"repoid": "nethack", "userid": "bob"}
    missing, denied = "repository `nethack` does not exist", "Access was denied to this resource."
    error = denied if is_kallithea(rpc) else missing
    assert await bob.fail("grant_user_permission", **names, perm="repository.admin") == error
    if is_kallithea(rpc):
        assert await rpc.fail("grant_user_permission", **names, perm="repository.admin") == denied
        assert await rpc.fail("revoke_user_permission", **names) == denied
    group = {"repoid": "nethack", "usergroupid": "hackers"}
    assert await bob.fail("grant_user_group_permission", **group, perm="repository.admin") == missing
    assert await bob.fail("revoke_user_group_permission", **group) == missing
    assert await list_permissions(rpc) == {}


async def test_a_user_without_administration_of_a_repository_revokes_nothing_on_it(rpc: Rpc, bob: Rpc) -> None:
    await rpc.client.post("/nethack/git/modifyacls", user_type="user", name="bob", acl="commit")
    denied = "Access was denied to this resource." if is_kallithea(rpc) else "repository `nethack` does not exist"
    assert await bob.fail("revoke_user_permission", repoid="nethack", userid="bob") == denied
    assert await list_permissions(rpc) == {"bob": "repository.write"}


async def test_kallithea_refuses_others_than_administrators_before_anything_is_looked_up(rpc: Rpc, bob: Rpc) -> None:
    if not is_kallithea(rpc):
        error = await bob.fail("revoke_user_permission", repoid="nethack", userid="nobody")
        assert error == "user `nobody` does not exist"
        return
    for repoid, userid in (("nothing", "bob"), ("nethack", "nobody")):
        named = {"repoid": repoid, "userid": userid}
        for reader in (rpc, bob):
            denied = "Access was denied to this resource."
            assert await reader.fail("grant_user_permission", **named, perm="haha") == denied
            assert await reader.fail("revoke_user_permission", **named) == denied


async def test_who_is_asked_about_is_looked_up_before_the_permission(rpc: Rpc, admin: Rpc) -> None:
    error = await admin.fail("grant_user_permission", repoid="nethack", userid="nobody", perm="haha")
    assert error == "user `nobody` does not exist"
    error = await admin.fail("grant_user_group_permission", repoid="nethack", usergroupid="nothing", perm="haha")
    assert error == "permission `haha` does not exist"
    error = await admin.fail("revoke_user_group_permission", repoid="nethack", usergroupid="nothing")
    assert error == "user group `nothing` does not exist"


async def test_a_hidden_repository_is_a_missing_one_to_who_would_change_it(rpc: Rpc, bob: Rpc) -> None:
    await rpc.ask("create_repo", repo_name="secret", private=True)
    await rpc.ask("create_user_group", group_name="hackers")
    for repoid in ("secret", "nothing"):
        error = f"repository `{repoid}` does not exist"
        for method in ("delete_repo", "invalidate_cache"):
            assert await bob.fail(method, repoid=repoid) == error
        if not is_kallithea(rpc):
            assert await bob.fail("grant_user_permission", repoid=repoid, userid="nobody", perm="haha") == error
            assert await bob.fail("revoke_user_permission", repoid=repoid, userid="nobody") == error
        assert await bob.fail("revoke_user_group_permission", repoid=repoid, usergroupid="nothing") == error
