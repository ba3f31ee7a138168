"""Scenarios of maintainers who use ogr: creating, sharing and deleting projects, and errors."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from ogr import PagureService, get_instances_from_dict, get_project
from ogr.abstract import AccessLevel, PRStatus
from ogr.exceptions import IssueTrackerDisabled, OgrException, OperationNotSupported, PagureAPIException
from ogr.services.pagure import PagureProject
from urllib3.util import Retry

from tests.conftest import Client, Forge
from tests.pagure.clients.sessions import Checkout, session

Services = Callable[..., PagureService]


@session
def test_a_project_is_created_and_found(forge: Forge, ogr: Services, alice: Client, bob: Client) -> None:
    service = ogr(alice)
    assert service.user.get_username() == "alice"
    assert str(service.user) == 'PagureUser(username="alice")'
    assert service.get_api_version() == "1"
    assert service.get_error_codes()["ENOPROJECT"] == "Project not found"

    rogue = service.project_create("rogue", description="A dungeon crawler")
    assert rogue == PagureProject("rogue", None, service)
    assert rogue.exists()
    assert not service.get_project(repo="moria", namespace=None).exists()
    assert (rogue.description, rogue.get_description()) == ("A dungeon crawler", "A dungeon crawler")
    assert (rogue.get_owners(), rogue.full_repo_name) == (["alice"], "rogue")
    assert rogue.get_web_url() == f"{forge.url}/rogue"
    assert rogue.get_git_urls() == {"git": f"{forge.url}/rogue.git"}
    assert (rogue.get_branches(), rogue.get_tags(), rogue.get_releases()) == ([], [], [])
    assert rogue.default_branch is None
    assert not rogue.get_is_fork_from_api()
    assert rogue.parent is None
    assert rogue.has_issues

    packaged = service.project_create("rogue", namespace="rpms")
    assert (packaged.full_repo_name, packaged.description) == ("rpms/rogue", "rogue")
    with pytest.raises(OgrException, match=r"Namespace doesn't exist \(nowhere\)\."):
        service.project_create("rogue", namespace="nowhere")

    assert [each.full_repo_name for each in service.user.get_projects()] == ["rogue", "rpms/rogue"]
    assert service.user.get_forks() == []
    assert ogr(bob).user.get_projects() == []
    with pytest.raises(OperationNotSupported):
        service.user.get_email()
    with pytest.raises(OperationNotSupported):
        service.list_projects()


@session
def test_members_create_projects_in_the_namespace_of_their_group(
    ogr: Services, alice: Client, bob: Client, wizards: str
) -> None:
    assert ogr(alice).project_create("tower", namespace=wizards).get_owners() == ["alice"]
    assert ogr(bob).get_group(wizards).members == ["alice", "carol"]
    assert str(ogr(bob).get_group(wizards)) == 'PagureGroup(name="wizards")'
    with pytest.raises(OgrException, match=r"Cannot create project in given namespace \(permissions\)\."):
        ogr(bob).project_create("hovel", namespace=wizards)
    with pytest.raises(PagureAPIException) as missing:
        ogr(bob).get_group("warlocks")
    assert (missing.value.response_code, missing.value.pagure_error) == (404, "Group not found")


@session
def test_work_is_shared_with_people_and_groups(
    ogr: Services, nethack: Client, bob: Client, carol: Client, wizards: str, tmp_path: Path
) -> None:
    project = ogr(nethack).get_project(repo="nethack", namespace=None)
    everything = list(AccessLevel)
    assert project.who_can_merge_pr() == project.who_can_close_issue() == {"alice"}
    assert not project.can_merge_pr("bob")
    project.add_user("bob", AccessLevel.triage)
    assert project.who_can_close_issue() == {"alice", "bob"}
    assert project.who_can_merge_pr() == {"alice"}
    assert project.get_users_with_given_access([AccessLevel.pull]) == {"bob"}
    project.add_user("bob", AccessLevel.push)
    assert project.can_merge_pr("bob")
    assert project.users_with_write_access() == {"alice", "bob"}
    assert project.get_users_with_given_access([AccessLevel.maintain]) == {"alice"}
    work = Checkout(project.get_git_urls()["git"], tmp_path / "work", bob)
    head = work.push("main", "dog", "woof")
    assert project.get_sha_from_branch("main") == head

    project.add_group(wizards, AccessLevel.admin)
    assert project.which_groups_can_merge_pr() == {"wizards"}
    assert project.can_merge_pr("carol")
    assert project.users_with_write_access() == {"alice", "bob", "carol"}
    project.add_group(wizards, AccessLevel.maintain)
    assert project.get_users_with_given_access(everything) == {"alice", "bob", "carol"}
    carols = ogr(carol).get_project(repo="nethack", namespace=None)
    with pytest.raises(PagureAPIException, match="not allowed to modify ACL's") as refused:
        ogr(bob).get_project(repo="nethack", namespace=None).add_user("bob", AccessLevel.maintain)
    assert refused.value.response_code == 401

    project.add_user("nobody", AccessLevel.push)  # ogr checks no other refusal
    project.remove_user("bob")
    project.remove_group(wizards)
    assert project.get_users_with_given_access(everything) == {"alice"}
    assert not carols.can_merge_pr("carol")
    assert "403" in work.git("push", "origin", "HEAD:refs/heads/mine", fails=True)
    assert project.get_branches() == ["main"]
    with pytest.raises(OperationNotSupported):
        project.get_contributors()
    with pytest.raises(OperationNotSupported):
        project.request_access()


@session
def test_a_tracker_is_closed_and_a_project_ends(
    ogr: Services, nethack: Client, maintainer: Client, bob: Client
) -> None:
    service = ogr(maintainer)
    project = service.get_project(repo="nethack", namespace=None)
    assert project.create_issue("Hungry dog", "Feed it.").id == 1
    answer = service.call_api(
        service.get_api_url("nethack", "options", "update"), "POST", data={"issue_tracker": False}
    )
    assert answer["status"] == "ok"
    for each in (project, ogr(bob).get_project(repo="nethack", namespace=None)):
        assert not each.has_issues
        for call, arguments in ((each.get_issue_list, ()), (each.get_issue, (1,)), (each.create_issue, ("t", "c"))):
            with pytest.raises(IssueTrackerDisabled):
                call(*arguments)

    for other in (bob, nethack):  # only a token made for the project ends it
        ogr(other).get_project(repo="nethack", namespace=None).delete()
        assert project.exists()
    project.delete()
    assert not ogr(nethack).get_project(repo="nethack", namespace=None).exists()
    assert ogr(nethack).user.get_projects() == []


@pytest.fixture
async def secret(alice: Client) -> Client:
    """Alice, with a private project."""
    assert (await alice.post("/new", name="amulet", description="Of Yendor", private="1"))[0] == 200
    return alice


@session
def test_a_private_project_is_visible_to_its_owner_only(ogr: Services, secret: Client, bob: Client) -> None:
    mine = ogr(secret).get_project(repo="amulet", namespace="alice")
    assert (mine.exists(), mine.get_branches(), mine.get_issue_list()) == (True, [], [])
    mine.create_issue("Stolen", "By a nymph")
    for service in (ogr(bob), ogr()):
        hidden = PagureProject("amulet", "alice", service, username="bob")
        assert not hidden.exists()
        for call in (hidden.get_project_info, hidden.get_branches, hidden.get_pr_list, hidden.fork_create):
            with pytest.raises(PagureAPIException) as unseen:
                call()
            assert unseen.value.response_code in (401, 404)
    assert ogr(bob).call_api(ogr(bob).get_api_url("projects"))["projects"] == []


@pytest.fixture
async def stale(alice: Client) -> Client:
    """Alice with a revoked token."""
    issued = (await alice.json("POST", "/v1/users/alice/tokens", {"description": "old"}))[1]
    assert (await alice.request("DELETE", f"/v1/tokens/{issued['id']}"))[0] < 300
    return Client(alice.forge, issued["token"], "alice")


@session
def test_a_refusal_is_raised_and_changes_nothing(ogr: Services, nethack: Client, stale: Client, bob: Client) -> None:
    service = ogr(nethack)
    missing = service.get_project(repo="moria", namespace=None)
    for call in (missing.get_project_info, missing.get_branches, missing.get_pr_list, missing.get_issue_list):
        with pytest.raises(PagureAPIException) as unknown:
            call()
        assert (unknown.value.response_code, unknown.value.pagure_error) == (404, "Project not found")
    for denied in (ogr(), ogr(stale)):
        project = PagureProject("nethack", None, denied)
        for call in (denied.user.get_username, project.fork_create, lambda project=project: project.has_issues):
            with pytest.raises(PagureAPIException, match="Invalid or expired token") as unauthorised:
                call()
            assert unauthorised.value.response_code == 401
    assert PagureProject("nethack", None, ogr()).get_branches() == ["main"]

    # Like ogr's defaults for TLS, but with shorter pauses: a refused request is retried three times.
    again = Retry(total=3, allowed_methods=["GET", "POST"], status_forcelist=[500, 503, 403, 401, 429])
    insistent = ogr(insecure=True, max_retries=again)
    form = {"title": "t", "issue_content": "c"}
    with pytest.raises(requests.exceptions.RetryError):
        insistent.call_api(insistent.get_api_url("nethack", "new_issue"), "POST", data=form)
    assert service.get_project(repo="nethack", namespace=None).get_issue_list() == []

    careful = ogr(nethack, read_only=True).get_project(repo="nethack", namespace=None)
    assert careful.create_pr("t", "b", "main", "main").title == "t"
    assert careful.get_pr_list(PRStatus.all) == []

    turned = ogr(bob)
    turned.change_token(nethack.token)
    assert turned.user.get_username() == "alice"


@session
def test_projects_are_found_by_their_addresses(forge: Forge, ogr: Services, nethack: Client, packaged: Client) -> None:
    [service] = get_instances_from_dict({forge.url: {"token": packaged.token, "type": "pagure"}})
    assert service == ogr(packaged)
    for path, name in (
        ("nethack", "nethack"), ("nethack.git", "nethack"), ("rpms/rogue", "rpms/rogue"),
        ("fork/bob/nethack", "fork/bob/nethack"), ("fork/bob/rpms/rogue", "fork/bob/rpms/rogue"),
        ("forks/bob/rpms/rogue.git", "fork/bob/rpms/rogue"),
    ):  # fmt: skip
        found = get_project(f"{forge.url}/{path}", custom_instances=[service])
        assert found.exists(), path
        assert found.get_web_url() == f"{forge.url}/{name}"
    service.session.close()

    slashed = ogr(packaged, instance_url=f"{forge.url}/").get_project(repo="nethack", namespace=None)
    assert slashed.get_branches() == ["main"]
    assert slashed.create_issue("Two slashes", "Lead to one.").id == 1
    assert [len(slashed.get_issue_list(author=name)) for name in ("alice", "bob")] == [0, 1]
