"""Rules for all of Pagure's endpoints, tested on each of them, and the page that lists them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.access import ACLS, ACTIONS, Level
from app.dialects.pagure.urls import PROJECT_FORMS
from tests.conftest import Client, Forge
from tests.pagure.test_sharing import ADDRESSES, BLOCKED, NO_PROJECT, four_projects
from tests.routes import PREFIXES, Call, list_calls

PAGE = Path(__file__).parent.parent.parent / "docs" / "dialects" / "pagure.md"
ASKED = {
    None: "", Level.READ: "read", Level.TICKET: "ticket", Level.COLLABORATE: "collaborator", Level.WRITE: "commit",
    Level.ADMIN: "admin", Level.OWNER: "owner",
}  # fmt: skip

# Values for the parameters of paths.
NAMES = {
    "comment": "1", "date": "2020-02-02", "field": "x", "group": "hackers", "hash": "deadbeef", "issue": "1",
    "request": "1", "tag": "pet", "task": "x", "uid": "0" * 32, "username": "bob",
}  # fmt: skip

# Every endpoint in Pagure's documentation of its API, without the prefixes of projects.
DOCUMENTED = """
    POST /new                                     POST /fork
    GET /projects                                 PATCH /{P}
    GET /{P}                                      GET /{P}/git/tags
    GET /{P}/git/urls                             GET /{P}/git/branches
    GET /{P}/watchers                             POST /{P}/watchers/update
    GET /{P}/options                              POST /{P}/options/update
    POST /{P}/git/modifyacls                      POST /{P}/git/generateacls
    POST /{P}/git/branch                          POST /{P}/blockuser
    GET /{P}/c/{hash}/flag                        POST /{P}/c/{hash}/flag
    GET /{P}/tags                                 POST /{P}/new_issue
    GET /{P}/issues                               GET /{P}/issue/{issue}
    GET /{P}/issue/{issue}/comment/{comment}      POST /{P}/issue/{issue}/comment
    POST /{P}/issue/{issue}/custom/{field}        POST /{P}/issue/{issue}/custom
    POST /{P}/issue/{issue}/status                POST /{P}/issue/{issue}/milestone
    POST /{P}/issue/{issue}/assign                POST /{P}/issue/{issue}/subscribe
    POST /{P}/pull-request/new                    GET /{P}/pull-requests
    GET /{P}/pull-request/{request}               POST /{P}/pull-request/{request}
    GET /{P}/pull-request/{request}/diffstats     GET /pull-requests/{uid}
    POST /{P}/pull-request/{request}/merge        POST /{P}/pull-request/{request}/rebase
    POST /{P}/pull-request/{request}/close        POST /{P}/pull-request/{request}/comment
    GET /{P}/pull-request/{request}/flag          POST /{P}/pull-request/{request}/flag
    POST /{P}/pull-request/{request}/assign       GET /users
    GET /user/{username}                          GET /user/{username}/issues
    GET /user/{username}/activity/stats           GET /user/{username}/activity/{date}
    GET /user/{username}/requests/filed           GET /user/{username}/requests/actionable
    GET /groups                                   GET /group/{group}
    POST /-/whoami                                GET /-/version
    GET /-/error_codes
"""


def list_pagure_calls() -> list[Call]:
    """List Pagure's routes, one of each, ordered by path."""
    prefix = PREFIXES["app.dialects.pagure"]
    found = {(call.path, call.route.method): call for call in list_calls() if call.prefix == prefix}
    return [found[key] for key in sorted(found)]


def fill_path(path: str, project: str = ADDRESSES[0]) -> str:
    """Fill in the parameters of a path."""
    filled = path.replace("/{P}", project)
    return "/api/0" + re.sub(r"\{(\w+)\}", lambda found: NAMES.get(found[1], "x"), filled)


def list_project_calls() -> list[Call]:
    return [call for call in list_pagure_calls() if call.path.startswith("/{P}")]


def test_every_documented_endpoint_is_served() -> None:
    documented = set(re.findall(r"[A-Z]+ /\S+", DOCUMENTED))
    served = {f"{call.route.method} {call.path}" for call in list_pagure_calls()}
    assert len(documented) > 50
    assert documented <= served


def test_every_endpoint_of_a_project_has_four_paths() -> None:
    registered = {(route.method, route.path) for route in (call.route for call in list_calls())}
    for call in list_project_calls():
        rest = next(
            call.route.path.removeprefix(form) for form in reversed(PROJECT_FORMS) if call.route.path.startswith(form)
        )
        there = [form for form in PROJECT_FORMS if (call.route.method, form + rest) in registered]
        assert there == (list(PROJECT_FORMS[:2]) if call.route.method == "PATCH" else list(PROJECT_FORMS)), call.path


async def test_the_four_paths_of_a_project_answer_alike(forge: Forge, alice: Client) -> None:
    await four_projects(alice)
    for address in ADDRESSES:
        assert (await alice.post(f"{address}/options/update", issue_tracker="1", pull_requests="1"))[0] == 200
    bob = await forge.user("bob")
    for call in list_project_calls():
        answers = []
        for address in ADDRESSES[:2] if call.route.method == "PATCH" else ADDRESSES:
            for written in (address, address.replace("nethack", "NetHack").replace("rpms", "RPMS")):
                status, body = await bob.request(call.route.method, fill_path(call.path, written))
                answers.append((status, body.get("error_code"), body.keys()))
        assert answers == answers[:1] * len(answers), call.path
        assert answers[0][:2] not in ((404, "ENOPROJECT"), (405, "ENOCODE")), call.path


async def observe_token_rule(
    call: Call, nobody: Client, stale: Client, other: Client, bound: Client, bob: Client
) -> list[str]:
    """Which token a call takes and for which projects, found out by asking it."""
    method, path = call.route.method, fill_path(call.path)

    async def find_refusal(client: Client) -> str | None:
        """Return why the client's token is refused; None if it is accepted."""
        status, body = await client.request(method, path)
        taken = (status, body.get("error_code")) != (401, "EINVALIDTOK")
        return None if taken else body.get("errors", "")

    without, unknown, lacking = await find_refusal(nobody), await find_refusal(stale), await find_refusal(other)
    assert without in (None, "Invalid token") or path.endswith("whoami")
    assert unknown in (None, "Invalid token")
    assert lacking is None or lacking.startswith("Missing ACLs: ")
    assert lacking is None or without == "Invalid token"
    assert without is None or unknown == "Invalid token"
    if lacking:
        acls = lacking.removeprefix("Missing ACLs: ").split(", ")
        assert acls == sorted(set(acls) & ACLS)
        token = " or ".join(f"`{acl}`" for acl in acls)
    else:
        token = "" if unknown is None else "optional" if without is None else "any"
    if not call.path.startswith("/{P}"):
        return [token, ""]
    foreign, mine = await find_refusal(bound), await find_refusal(bob)
    assert {foreign, mine} <= {"", None}
    if mine == "":
        assert foreign == ""
        return [token, "its own"]
    return [token, "its own or none" if foreign == "" else ""]


async def test_the_page_documents_the_token_of_every_endpoint(forge: Forge, alice: Client) -> None:
    await four_projects(alice)
    await alice.post("/nethack/new_issue", title="t", issue_content="c", tag="pet")
    bob, stale = await forge.user("bob"), Client(forge, "a-token-that-nobody-has")
    other, bound = await bob.limited(acls=["internal_access"]), await bob.limited(project="rpms/nethack")
    table = ["| method | path | token | of which project | level | served by |", "|---|---|---|---|---|---|"]
    for call in list_pagure_calls():
        found = await observe_token_rule(call, forge.nobody, stale, other, bound, bob)
        handler = f"{call.route.handler.__module__.rpartition('.')[2]}.{call.route.handler.__name__}"
        cells = [
            f"`{call.route.method}`",
            f"`{call.path}`",
            *found,
            ASKED[ACTIONS[call.route.action].level],
            f"`{handler}`",
        ]
        table.append("| " + " | ".join(cells) + " |")
    if "\n".join(table) not in PAGE.read_text():
        pytest.fail("The table of docs/dialects/pagure.md should read:\n" + "\n".join(table), pytrace=False)


async def test_a_blocked_user_cannot_post_to_any_endpoint_of_the_project(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    bound = await nethack.limited(project="nethack")
    assert (await bound.post("/nethack/blockuser", username="bob"))[0] == 200
    for call in list_project_calls():
        answer = await bob.request(call.route.method, fill_path(call.path))
        assert (answer == (403, BLOCKED)) == (call.route.method == "POST"), (call.path, answer)


async def test_every_endpoint_of_a_private_project_is_hidden(forge: Forge, alice: Client) -> None:
    assert (await alice.post("/new", name="secret", description="d", private="1"))[0] == 200
    bob = await forge.user("bob")
    for call in list_project_calls():
        answer = await bob.request(call.route.method, fill_path(call.path, "/alice/secret"))
        assert answer == (404, NO_PROJECT), (call.path, answer)


def methods_by_path() -> Iterator[tuple[str, set[str]]]:
    """Return every path with its methods."""
    served: dict[str, set[str]] = {}
    for call in list_pagure_calls():
        served.setdefault(call.path, set()).add(call.route.method)
    yield from served.items()


async def test_readable_paths_answer_head_and_options_and_refuse_other_methods(forge: Forge, nethack: Client) -> None:
    for path, methods in methods_by_path():
        address = fill_path(path)
        if "GET" in methods:
            status, _ = await nethack.request("GET", address)
            length = nethack.headers.get("Content-Length")
            assert (await nethack.request("HEAD", address))[0] == status, path
            assert nethack.headers.get("Content-Length") == length, path
            assert await nethack.request("OPTIONS", address) == (200, None), path
            assert "GET" in nethack.headers["Allow"], path
        status, body = await nethack.request("PUT", address)
        assert (status, body) == (405, {"error": "Method not allowed", "error_code": "ENOCODE"}), path
        assert methods <= set(nethack.headers["Allow"].split(",")), path


async def test_a_trailing_slash_is_accepted_where_pagure_accepts_it(forge: Forge, nethack: Client) -> None:
    slashed = {path for path, _ in methods_by_path() if path.endswith("/")}
    assert slashed == {
        "/error_codes/", "/fork/", "/groups/", "/new/", "/task/{task}/status/", "/users/", "/version/", "/{P}/tags/",
    }  # fmt: skip
    for path, methods in methods_by_path():
        if path + "/" in slashed or path in slashed or "/tree" in path:
            continue
        for method in methods:
            status, body = await nethack.request(method, fill_path(path) + "/")
            # With the slash it matches another call, for a project named `git`.
            wrong = (405, "ENOCODE") if (method, path) == ("POST", "/{P}/git/tags") else (404, "ENOCODE")
            assert (status, body["error_code"]) in (wrong, (404, "ENOPROJECT")), (method, path)


async def test_literal_paths_take_precedence_over_project_names(forge: Forge, nethack: Client) -> None:
    for name in ("git", "tags", "options"):
        assert (await nethack.post("/new", name=name, description="d", namespace="rpms"))[0] == 200
    await nethack.post("/rpms/git/new_issue", title="t", issue_content="c", tag="pet")
    for path, code in (
        ("/rpms/tags", "ENOPROJECT"), ("/rpms/options", "ENOPROJECT"), ("/rpms/git/tags", "ENOPROJECT"),
        ("/user/nethack", "ENOUSER"), ("/group/nethack", "ENOGROUP"), ("/fork/nethack", "ENOPROJECT"),
        ("/-/whoami", "ENOPROJECT"), ("/new", "ENOPROJECT"), ("/new/", "ENOCODE"),
    ):  # fmt: skip
        status, body = await nethack.pagure(path)
        assert body["error_code"] == code, (path, status, body)
    assert (await nethack.pagure("/rpms/git"))[1]["fullname"] == "rpms/git"
    assert (await nethack.pagure("/rpms/git/tags/"))[1] == {"tags": ["pet"], "total_tags": 1}
    assert (await nethack.pagure("/rpms/tags/git/tags"))[1] == {"tags": [], "total_tags": 0}
