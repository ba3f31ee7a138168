"""Access to pull requests, the order of the checks, and the responses."""

import uuid
from typing import Any

import pytest

from app.actor import Actor
from app.core import commands
from app.core.projects import BlockUsers
from app.core.sharing import GrantAccess
from tests.conftest import Client, Forge
from tests.pagure.pulls import configure_project, create_branch, open_pull_request

ONE = "/nethack/pull-request/1"
FLAG = {"username": "CI", "comment": "passed", "url": "https://ci.example.org/1"}
# Every change of a pull request by the end of its path, and a form for it.
FORMS: dict[str, dict[str, str]] = {
    "": {"title": "Better"},
    "/comment": {"comment": "c"},
    "/assign": {"assignee": "alice"},
    "/subscribe": {"status": "1"},
    "/flag": FLAG,
    "/close": {},
    "/reopen": {},
    "/merge": {},
    "/rebase": {},
}
OWN_TOKEN = {"/assign", "/subscribe"}


def refusal(status: int, code: str, message: str, errors: Any = None) -> tuple[int, dict[str, Any]]:
    body = {"error": message, "error_code": code}
    return status, body if errors is None else {**body, "errors": errors}


NOT_CLOSER = refusal(403, "ENOPRCLOSE", "You are not allowed to merge/close pull-request for this project")
TOO_LOW = refusal(401, "ENOTHIGHENOUGH", "You do not have sufficient permissions to perform this action")
NOT_TENDER = refusal(403, "EPRNOTALLOWED", "You are not allowed to view this pull-request")
NO_REBASE = refusal(403, "EREBASENOTALLOWED", "You are not authorized to rebase this pull-request")


def invalid_input(errors: Any) -> tuple[int, dict[str, Any]]:
    return refusal(400, "EINVALIDREQ", "Invalid or incomplete input submitted", errors)


async def execute(forge: Forge, client: Client, kind: Any, **fields: Any) -> None:
    project = (await client.pagure("/nethack"))[1]["id"]
    await commands.execute(forge.db, Actor("alice"), kind(project_id=project, **fields), command_id=uuid.uuid4())


async def add_person(forge: Forge, nethack: Client, name: str, level: str | None = None) -> Client:
    """Create a user with a token for nethack."""
    client = await forge.user(name)
    if level:
        branches = "*" if level == "collaborator" else None
        await execute(forge, nethack, GrantAccess, party="user", name=name, level=level, branches=branches)
    return await client.limited(project="nethack")


@pytest.mark.parametrize(
    ("who", "level", "allowed"),
    [
        ("stranger", None, {"/comment", "/subscribe", "/flag"}),
        ("bob", None, {"", "/comment", "/subscribe", "/flag", "/close", "/reopen"}),
        ("assignee", None, {"", "/comment", "/subscribe", "/flag", "/assign"}),
        ("helper", "ticket", {"", "/comment", "/subscribe", "/flag", "/assign"}),
        ("collaborator", "collaborator", {"", "/comment", "/subscribe", "/flag", "/assign"}),
        ("committer", "commit", {"", "/comment", "/subscribe", "/flag", "/assign", "/close", "/reopen", "/merge"}),
    ],
)
async def test_each_role_may_do_what_it_is_allowed_to(
    forge: Forge, nethack: Client, bob: Client, who: str, level: str | None, allowed: set[str]
) -> None:
    await open_pull_request(bob)
    actor, alice = await add_person(forge, nethack, who, level), await nethack.limited(project="nethack")
    await add_person(forge, nethack, "assignee")
    denied = {"": NOT_TENDER, "/assign": NOT_TENDER, "/rebase": NO_REBASE}
    for path, form in FORMS.items():
        await alice.post(ONE + "/assign", assignee="assignee")
        answer = await actor.post(ONE + path, **form)
        if path in allowed:
            assert answer[0] == 200, (path, answer)
            continue
        assert answer == denied.get(path, NOT_CLOSER), path
        if path == "":
            assert await actor.post(ONE) == NOT_TENDER  # checked before the form
        if path == "/close":
            assert (await alice.post(ONE + "/close"))[0] == 200  # for the next user


@pytest.mark.parametrize("path", FORMS)
async def test_token_project_setting_scope_and_request_are_checked_in_this_order(
    forge: Forge, nethack: Client, bob: Client, path: str
) -> None:
    form, here, missing = FORMS[path], ONE + path, f"/nethack/pull-request/99{path}"
    await open_pull_request(bob)
    await nethack.post("/new", name="other", description="d")
    alice, elsewhere = await nethack.limited(project="nethack"), await nethack.limited(project="other")
    weak = await nethack.limited(project="nethack", acls=["issue_create"])
    assert (await forge.nobody.post(missing))[1]["errors"] == "Invalid token"
    status, body = await weak.post("/gone/pull-request/1" + path)
    assert (status, body["error_code"]) == (401, "EINVALIDTOK")
    assert body["errors"].startswith("Missing ACLs: pull_request_")
    status, body = await elsewhere.post(missing)
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    status, body = await nethack.post(missing)  # with a token for every project
    if path in OWN_TOKEN:
        assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    for number in ("99", "0", "9" * 20):
        assert await alice.post(f"/nethack/pull-request/{number}{path}") == refusal(
            404, "ENOREQ", "Pull-Request not found"
        )
    assert (await alice.post(f"/nethack/pull-request/one{path}", **form))[0] == 404
    await execute(forge, nethack, BlockUsers, usernames=["bob"])
    assert await bob.post(missing) == refusal(403, "EUBLOCKED", "You have been blocked from this project")
    assert (await bob.pagure(ONE))[0] == 200
    await configure_project(forge, nethack, pull_requests=False)
    off = refusal(404, "EPULLREQUESTSDISABLED", "Pull-Request have been deactivated for this project")
    assert await elsewhere.post(here) == off
    assert await alice.post(missing) == off


async def test_opening_checks_branches_before_access_and_access_before_commits(
    forge: Forge, nethack: Client, bob: Client
) -> None:
    await configure_project(forge, nethack, enforce_signed_off_commits=True)
    carol = await forge.user("carol")
    new = "/nethack/pull-request/new"
    form = {
        "title": "t", "branch_to": "main", "branch_from": "topic", "repo_from": "nethack", "repo_from_username": "bob",
    }  # fmt: skip
    assert await carol.post(new, **form) == TOO_LOW
    assert await carol.post(new, **{**form, "branch_from": "x"}) == invalid_input("Branch x does not exist")
    gone = invalid_input("Branch y could not be found in the target repo")
    assert await carol.post(new, **{**form, "branch_from": "x", "branch_to": "y"}) == gone
    assert await carol.post(new) == invalid_input({"title": ["This field is required."]})
    # A private source is not found; this is checked before the form.
    await nethack.post("/new", name="secret", description="d", private="1")
    for name in ("secret", "missing"):
        status, body = await carol.post(new, repo_from=name, repo_from_namespace="alice")
        assert (status, body["error_code"]) == (404, "ENOPROJECT"), name
    # The token must be valid for the source, and the target must not have blocked the caller.
    for path, status in (("nethack", 401), ("fork/bob/nethack", 400)):
        code, body = await (await bob.limited(project=path)).post(new, **form)
        assert (code, "errors" in body) == (status, False)
    await execute(forge, nethack, BlockUsers, usernames=["bob"])
    assert (await bob.post(new, **{**form, "repo_from": "gone"}))[1]["error_code"] == "EUBLOCKED"
    await execute(forge, nethack, BlockUsers, usernames=[])
    await configure_project(forge, nethack, pull_requests=False)
    assert (await bob.post(new, **{**form, "repo_from": "gone"}))[1]["error_code"] == "ENOPROJECT"
    assert (await bob.post(new, **form))[1]["error_code"] == "EPULLREQUESTSDISABLED"


async def test_collaborators_of_the_fork_cannot_open_or_rebase(forge: Forge, nethack: Client, bob: Client) -> None:
    carol, fork = await forge.user("carol"), (await bob.pagure("/fork/bob/nethack"))[1]["id"]
    some = GrantAccess(project_id=fork, party="user", name="carol", level="collaborator", branches="*")
    await commands.execute(forge.db, Actor("bob"), some, command_id=uuid.uuid4())
    form = {
        "title": "t", "branch_to": "main", "branch_from": "topic", "repo_from": "nethack", "repo_from_username": "bob",
    }  # fmt: skip
    assert await carol.post("/nethack/pull-request/new", **form) == TOO_LOW
    await open_pull_request(bob)
    assert await carol.post(f"{ONE}/rebase") == NO_REBASE


async def test_users_whom_the_fork_has_blocked_cannot_rebase_its_branch(forge: Forge, bob: Client) -> None:
    await open_pull_request(bob)
    fork = (await bob.pagure("/fork/bob/nethack"))[1]["id"]
    block = BlockUsers(project_id=fork, usernames=["bob"])
    await commands.execute(forge.db, Actor("bob"), block, command_id=uuid.uuid4())
    status, body = await bob.post(f"{ONE}/rebase")
    assert (status, body["error_code"]) == (403, "EUBLOCKED")


async def test_empty_forks_and_unrelated_projects_are_refused(forge: Forge, nethack: Client, bob: Client) -> None:
    await bob.post("/new", name="moria", description="d", create_readme="1")
    form = {"title": "t", "branch_to": "main", "branch_from": "main", "repo_from": "moria"}
    assert await bob.post("/nethack/pull-request/new", **form) == invalid_input(
        {"repo_from": ["The two projects have no history in common."]}
    )
    await nethack.post("/new", name="bare", description="d")
    await bob.post("/fork", repo="bare")
    form = {"title": "t", "branch_to": "main", "branch_from": "main", "repo_from": "bare", "repo_from_username": "bob"}
    assert await bob.post("/bare/pull-request/new", **form) == invalid_input(
        "Fork is empty, there are no commits to create a pull request with"
    )


async def test_a_project_can_let_only_the_assignee_merge(forge: Forge, nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    await configure_project(forge, nethack, only_assignee_can_merge=True, minimum_score_to_merge=1)
    assert await nethack.post(ONE + "/merge") == refusal(
        403, "ENOTASSIGNED", "This request must be assigned to be merged"
    )
    alice = await nethack.limited(project="nethack")
    await alice.post(ONE + "/assign", assignee="admin")
    another = refusal(403, "ENOTASSIGNEE", "Only the assignee can merge this request")
    assert await nethack.post(ONE + "/merge") == another
    await alice.post(ONE + "/assign", assignee="alice")
    low = "This request does not have the minimum review score necessary to be merged"
    assert await forge.admin.post(ONE + "/merge") == another
    assert await nethack.post(ONE + "/merge") == refusal(403, "EPRSCORE", low)
    for remark, reached in (("+1", True), (":thumbsup: but -1", False), (":thumbsup:", True), ("no word", True)):
        await bob.post(ONE + "/comment", comment=remark)  # the author may vote too, and the last vote counts
        assert (await nethack.pagure(ONE))[1]["threshold_reached"] is reached
    assert (await nethack.post(ONE + "/merge"))[0] == 200


async def test_changes_work_without_a_body_and_have_their_own_messages(
    forge: Forge, nethack: Client, bob: Client
) -> None:
    await open_pull_request(bob)
    alice = await nethack.limited(project="nethack")

    async def bare(path: str) -> tuple[int, Any]:
        return await alice.request("POST", f"/api/0{ONE}{path}", skip_auto_headers=["Content-Type"])

    required = ["This field is required."]
    assert await bare("") == invalid_input({"title": required})
    assert await bare("/comment") == invalid_input({"comment": required})
    assert await bare("/flag") == invalid_input({"username": required, "comment": required, "url": required})
    assert await bare("/assign") == (200, {"message": "Nothing to change"})
    status, body = await bare("/subscribe")
    assert (status, body["message"]) == (200, "You are no longer watching this pull-request")
    assert await bare("/close") == (200, {"message": "Pull-request closed!"})
    assert await bare("/reopen") == (200, {"message": "Pull-request reopened!"})
    status, body = await bare("/rebase")
    assert (status, body["error_code"]) == (403, "EREBASENOTALLOWED")
    assert await bare("/merge") == (200, {"message": "Changes merged!"})


async def test_an_assignee_is_set_changed_and_removed(forge: Forge, nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    alice = await nethack.limited(project="nethack")
    bobs = await bob.limited(project="nethack")
    assert await bobs.post(ONE + "/assign", assignee="bob") == NOT_TENDER  # the author has no special access
    nobody = refusal(400, "ENOCODE", 'No user "ghost" found')
    assert await alice.post(ONE + "/assign", assignee="ghost") == nobody
    for client, form, message, assignee in (
        (alice, {"assignee": " bob "}, "pull-request assigned", "bob"),
        (alice, {"assignee": "BOB@example.org"}, "Nothing to change", "bob"),
        (bobs, {"assignee": "alice"}, "pull-request assigned", "alice"),
        (alice, {"assignee": ""}, "Request assignee reset", None),
        (alice, {}, "Nothing to change", None),
    ):
        assert await client.post(ONE + "/assign", **form) == (200, {"message": message})
        shown = (await alice.pagure(ONE))[1]["assignee"]
        assert (shown and shown["name"]) == assignee
    comments = [each["comment"] for each in (await alice.pagure(ONE))[1]["comments"]]
    assert comments == [
        "**Metadata Update from @alice**:\n- Request assigned",
        "**Metadata Update from @bob**:\n- Request assigned",
        "**Metadata Update from @alice**:\n- Request assignee reset",
    ]


async def test_a_reopened_pull_request_still_names_who_closed_it(forge: Forge, nethack: Client, bob: Client) -> None:
    await open_pull_request(bob, initial_comment="  ")
    assert (await bob.pagure(ONE))[1]["initial_comment"] is None
    assert (await nethack.post(ONE + "/close"))[0] == 200
    _, closed = await bob.pagure(ONE)
    assert (closed["status"], closed["closed_by"]["name"]) == ("Closed", "alice")
    assert closed["closed_at"] == closed["updated_on"]
    # The same response again, and nothing is recorded.
    assert await bob.post(ONE + "/close") == (200, {"message": "Pull-request closed!"})
    assert (await bob.pagure(ONE))[1] == closed
    assert (await bob.post(ONE + "/reopen"))[0] == 200
    _, again = await bob.pagure(ONE)
    assert (again["status"], again["closed_by"], again["closed_at"]) == (
        "Open", closed["closed_by"], closed["closed_at"]
    )  # fmt: skip
    assert [each["comment"] for each in again["comments"]] == [
        "Pull-Request has been closed by alice", "Pull-Request has been reopened by bob"
    ]  # fmt: skip
    _, edited = await bob.post(ONE, title=" Better ")
    assert (edited["title"], edited["initial_comment"], edited["comments"]) == ("Better", "", again["comments"])
    assert (await nethack.post(ONE + "/merge"))[0] == 200
    over = refusal(400, "ENOCODE", "This pull-request was merged or closed by alice")
    assert await bob.post(ONE + "/close") == over
    assert (await bob.post(ONE + "/reopen"))[1]["error"] == "Trying to reopen a pull request that is not closed"


async def test_pull_requests_of_private_projects_are_visible_to_readers(forge: Forge, alice: Client) -> None:
    await alice.post("/new", name="secret", description="d", private="1", create_readme="1")
    path = "/alice/secret/pull-request"
    await create_branch(alice, path="/alice/secret")
    status, made = await alice.post(f"{path}/new", title="t", branch_to="main", branch_from="still")
    assert (status, made["commit_start"], made["commit_stop"]) == (200, None, None)
    stale = Client(forge, "stale", "nobody")
    for read in ("s", "/1", "/1/diffstats", "/1/flag", "/1/comment/1"):
        for stranger in (forge.nobody, stale, await forge.user("bob")):
            assert (await stranger.pagure(path + read))[1]["error_code"] == "ENOPROJECT"
    for stranger in (forge.nobody, stale):
        assert (await stranger.pagure(f"/pull-requests/{made['uid']}"))[1]["error_code"] == "ENOREQ"
    assert (await alice.pagure(f"{path}/1"))[0] == (await alice.pagure(f"/pull-requests/{made['uid']}"))[0] == 200
    assert await alice.pagure(f"{path}/1/diffstats") == refusal(
        400, "ENOPRSTATS", "No statistics could be computed for this PR"
    )
    status, body = await alice.post(f"{path}/1/flag", **FLAG)
    assert (status, body["error_code"]) == (400, "ENOCODE")
