"""The JSON of pull requests, key by key."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Client, Forge, commit, git
from tests.pagure.pulls import KEYS, create_branch, open_pull_request, push_commit, wait_for_pull_request

ONE = "/nethack/pull-request/1"
USER = {"full_url", "fullname", "name", "url_path"}
COMMENT = {
    "comment", "commit", "date_created", "edited_on", "editor", "filename", "id", "line", "notification", "parent",
    "reactions", "tree", "user",
}  # fmt: skip
FLAG = {
    "comment", "commit_hash", "date_created", "date_updated", "percent", "pull_request_uid", "status", "url", "user",
    "username",
}  # fmt: skip
LOGIN = "It would show a user or password to everybody."
FORM = {"username": "CI", "comment": " passed ", "url": "https://ci.example.org/1"}


def user(forge: Forge, name: str) -> dict[str, str]:
    path = f"user/{name}"
    return {"full_url": f"{forge.url}/{path}", "fullname": name, "name": name, "url_path": path}


async def test_a_pull_request_is_shown_alike_on_every_page(forge: Forge, nethack: Client, bob: Client) -> None:
    alice = await nethack.limited(project="nethack")
    await open_pull_request(bob, title=" Add one", initial_comment=" Please ")
    await wait_for_pull_request(bob, 1, "cached_merge_status", "FFORWARD")
    await alice.post(ONE + "/comment", comment="Nice", filename="one", row="+3")
    await alice.post(ONE + "/assign", assignee="bob")
    await nethack.post(ONE + "/close")
    _, shown = await forge.nobody.pagure(ONE)
    assert set(shown) == KEYS
    assert [set(comment) for comment in shown["comments"]] == [COMMENT] * 3
    rest = {key: shown[key] for key in (
        "assignee", "branch", "branch_from", "closed_by", "full_url", "id", "initial_comment", "remote_git", "status",
        "tags", "threshold_reached", "title", "user",
    )}  # fmt: skip
    assert rest == {
        "assignee": user(forge, "bob"), "branch": "main", "branch_from": "topic", "closed_by": user(forge, "alice"),
        "full_url": f"{forge.url}{ONE}", "id": 1, "initial_comment": "Please", "remote_git": None, "status": "Closed",
        "tags": [], "threshold_reached": None, "title": " Add one", "user": user(forge, "bob"),
    }  # fmt: skip
    for key in ("closed_at", "date_created", "last_updated", "updated_on"):
        assert isinstance(shown[key], str), key
        assert shown[key].isdigit(), key
    assert len(shown["uid"]) == 32
    project = (await forge.nobody.pagure("/nethack"))[1]
    assert shown["project"] == project
    assert (shown["repo_from"]["url_path"], shown["repo_from"]["parent"]) == ("fork/bob/nethack", project)
    assert (shown["repo_from"]["name"], shown["repo_from"]["namespace"]) == ("nethack", None)
    comment = shown["comments"][0]
    assert {key: comment[key] for key in COMMENT - {"date_created", "id"}} == {
        "comment": "Nice", "commit": None, "edited_on": None, "editor": None, "filename": "one", "line": 3,
        "notification": False, "parent": None, "reactions": {}, "tree": None, "user": user(forge, "alice"),
    }  # fmt: skip
    assert await forge.nobody.pagure(f"{ONE}/comment/{comment['id']}") == (200, comment)
    assert await forge.nobody.pagure(f"/pull-requests/{shown['uid']}") == (200, shown)
    _, listing = await forge.nobody.pagure("/nethack/pull-requests?status=Closed")
    assert listing["requests"] == [shown]
    for query in ("0", "no", "false"):
        assert (await forge.nobody.pagure(f"{ONE}?comments={query}"))[1] == {**shown, "comments": []}


async def test_unknown_pull_requests_and_comments_are_not_found(nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    await open_pull_request(bob)
    await bob.post("/nethack/pull-request/2/comment", comment="c")
    _, second = await bob.pagure("/nethack/pull-request/2")
    for path in (f"{ONE}/comment/{second['comments'][0]['id']}", f"{ONE}/comment/{'9' * 25}", f"{ONE}/comment/0"):
        assert await bob.pagure(path) == (404, {"error": "Comment not found", "error_code": "ENOCOMMENT"})
    missing = (404, {"error": "Pull-Request not found", "error_code": "ENOREQ"})
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    uids = [f"/pull-requests/{uid}" for uid in ("f" * 32, "nonsense")]
    for path in ("/nethack/pull-request/3", "/nethack/pull-request/9/flag", *uids):
        assert await bob.pagure(path) == missing, path


async def test_a_listing_repeats_its_arguments_and_links_to_other_pages(
    forge: Forge, nethack: Client, bob: Client
) -> None:
    base = f"{forge.url}/api/0/nethack/pull-requests?per_page="
    assert (await forge.nobody.pagure("/nethack/pull-requests"))[1] == {
        "args": {"assignee": None, "author": None, "page": 1, "per_page": 20, "status": True, "tags": []},
        "pagination": {
            "first": f"{base}20&page=1", "last": f"{base}20&page=1", "next": None, "page": 1, "pages": 0,
            "per_page": 20, "prev": None,
        },
        "requests": [],
        "total_requests": 0,
    }  # fmt: skip
    for n in range(3):
        await open_pull_request(bob, title=f"t{n}")
    _, body = await forge.nobody.pagure("/nethack/pull-requests?status=OPEN&tags=!a&tags=!b&author=bob&per_page=2")
    assert body["args"] == {
        "assignee": None, "author": "bob", "page": 1, "per_page": 2, "status": "OPEN", "tags": ["!a", "!b"],
    }  # fmt: skip
    assert ([each["id"] for each in body["requests"]], body["total_requests"]) == ([3, 2], 3)
    status, body = await forge.nobody.get(body["pagination"]["next"])
    assert (status, [each["id"] for each in body["requests"]], body["total_requests"]) == (200, [1], 3)
    assert (await forge.nobody.pagure("/nethack/pull-requests?page=9"))[1]["requests"] == []
    no = "The per_page value must be between 1 and 100"
    for size in ("0", "101"):
        assert await forge.nobody.pagure(f"/nethack/pull-requests?per_page={size}") == (
            400, {"error": no, "error_code": "EINVALIDPERPAGEVALUE"}
        )  # fmt: skip
    for query in ("page=0", "page=x", "per_page=x"):
        assert await forge.nobody.pagure(f"/nethack/pull-requests?{query}") == (
            400, {"error": "Invalid or incomplete input submitted", "error_code": "EINVALIDREQ"}
        )  # fmt: skip


FILTERS = {
    "": [4, 1], "status=all": [4, 3, 2, 1], "status=ALL": [4, 3, 2, 1], "status=closed": [2],
    "status=MERGED": [3], "status=0": [3, 2], "status=false": [3, 2], "status=true": [4, 1],
    "status=1": [4, 1], "status=Fixed": [], "assignee=1": [4], "assignee=FALSE": [1],
    "assignee=alice": [4], "assignee=!alice": [1], "assignee=ghost": [], "author=alice": [4],
    "author=bob": [1], "author=ghost": [], "tags=a": [], "tags=!a": [4, 1], "tags=a&tags=!a": [],
}  # fmt: skip


async def test_every_filter_of_the_listing_works(nethack: Client, bob: Client) -> None:
    for _ in range(3):
        await open_pull_request(bob)
    await create_branch(nethack)
    status, body = await nethack.post("/nethack/pull-request/new", title="t", branch_to="main", branch_from="still")
    assert status == 200, body
    alice = await nethack.limited(project="nethack")
    await alice.post("/nethack/pull-request/4/assign", assignee="alice")
    await bob.post("/nethack/pull-request/2/close")
    assert (await nethack.post("/nethack/pull-request/3/merge"))[0] == 200
    reader = nethack.forge.nobody
    found = {query: (await reader.pagure(f"/nethack/pull-requests?{query}"))[1] for query in FILTERS}
    assert {query: [each["id"] for each in listing["requests"]] for query, listing in found.items()} == FILTERS


async def test_changes_are_counted_by_their_new_path(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    work = tmp_path / "bob"
    await git("mv", "one", "two", cwd=work)
    await git("rm", "-q", "README.md", cwd=work)
    await git("commit", "-qm", "Move", cwd=work)
    await commit(work, "three", "a\nb\n")
    (work / "picture").write_bytes(bytes(range(256)))
    await git("add", "-A", cwd=work)
    await git("commit", "-qm", "Paint", cwd=work)
    await git("push", "-q", "origin", "HEAD:topic", cwd=work)
    await open_pull_request(bob)
    status, found = await forge.nobody.pagure(ONE + "/diffstats")
    assert (status, set(found)) == (200, {"README.md", "picture", "three", "two"})
    for change in found.values():
        assert set(change) == {"lines_added", "lines_removed", "new_id", "old_id", "old_path", "status"}
    counted = {path: (each["status"], each["lines_added"], each["lines_removed"]) for path, each in found.items()}
    assert counted == {"README.md": ("D", 0, 3), "picture": ("A", 0, 0), "three": ("A", 2, 0), "two": ("A", 1, 0)}
    assert found["README.md"]["new_id"] == found["three"]["old_id"] == "0" * 40
    await bob.post(ONE + "/close")
    assert (await forge.nobody.pagure(ONE + "/diffstats"))[1] == found


async def test_empty_pull_requests_have_no_statistics_and_no_flags(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    await git("checkout", "-q", "-B", "still", "origin/main", cwd=tmp_path / "bob")
    await git("commit", "-q", "--allow-empty", "-m", "Say something", cwd=tmp_path / "bob")
    await git("push", "-q", "origin", "HEAD:still", cwd=tmp_path / "bob")
    none = {"error": "No statistics could be computed for this PR", "error_code": "ENOPRSTATS"}
    for number, branch in ((1, "still"), (2, "main")):
        assert ((await open_pull_request(bob, branch_from=branch))["commit_stop"] is None) == (branch == "main")
        assert await forge.nobody.pagure(f"/nethack/pull-request/{number}/diffstats") == (400, none)
    assert (await bob.post(ONE + "/flag", **FORM))[0] == 200
    assert await bob.post("/nethack/pull-request/2/flag", **FORM) == (
        400, {"error": "This pull-request has no commit to flag", "error_code": "ENOCODE"},
    )  # fmt: skip
    assert await forge.nobody.pagure("/nethack/pull-request/2/flag") == (200, {"flags": []})


async def test_a_comment_can_be_about_a_line(nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    added = (200, {"message": "Comment added"})
    assert await nethack.json("POST", f"/api/0{ONE}/comment", {"comment": "c", "row": 7, "commit": None}) == added

    def no(**errors: list[str]) -> tuple[int, Any]:
        message = "Invalid or incomplete input submitted"
        return 400, {"error": message, "error_code": "EINVALIDREQ", "errors": errors}

    long = ["Field cannot be longer than 40 characters."]
    for form, answer in (
        ({"comment": " \n"}, no(comment=["This field is required."])),
        ({"comment": "c", "row": "x"}, no(row=["Not a valid integer value."])),
        ({"row": "1.5", "commit": "a" * 41, "tree_id": "b" * 41}, no(
            comment=["This field is required."], row=["Not a valid integer value."], commit=long, tree_id=long
        )),
    ):  # fmt: skip
        assert await nethack.post(ONE + "/comment", **form) == answer
    await bob.post(ONE + "/close")
    assert await nethack.post(ONE + "/comment", comment="Late", row="") == added
    found = (await bob.pagure(ONE))[1]["comments"]
    assert [(each["comment"], each["line"], each["commit"]) for each in found if not each["notification"]] == [
        ("c", 7, None), ("Late", None, None)
    ]  # fmt: skip


async def test_a_flag_shows_its_author_and_belongs_to_the_commit(
    forge: Forge, nethack: Client, bob: Client, tmp_path: Path
) -> None:
    await open_pull_request(bob)
    status, answer = await bob.post(ONE + "/flag", **FORM)
    assert (status, set(answer)) == (200, {"avatar_url", "flag", "message", "uid", "user"})
    assert (answer["message"], answer["user"], len(answer["uid"])) == ("Flag added", "bob", 32)
    assert answer["avatar_url"].endswith("?s=30&d=retro")
    flag = answer["flag"]
    assert set(flag) == FLAG
    assert set(flag["user"]) == USER | {"default_email", "emails"}
    assert (flag["comment"], flag["status"], flag["percent"], flag["username"]) == ("passed", "pending", None, "CI")
    public = {**flag, "user": user(forge, "bob")}
    assert await forge.nobody.pagure(ONE + "/flag") == (200, {"flags": [public]})
    # Another user changes its content, but not its author.
    _, changed = await nethack.post(
        ONE + "/flag", **{**FORM, "uid": answer["uid"], "username": "Other", "percent": "7"}
    )
    assert (changed["message"], changed["uid"]) == ("Flag updated", answer["uid"])
    assert (changed["flag"]["username"], changed["flag"]["user"]) == ("CI", user(forge, "bob"))
    assert (changed["flag"]["status"], changed["flag"]["percent"]) == ("success", 7)
    made = await push_commit(tmp_path / "bob", "topic", "two")
    await wait_for_pull_request(bob, 1, "commit_stop", made)
    assert await forge.nobody.pagure(ONE + "/flag") == (200, {"flags": []})


@pytest.mark.parametrize(
    ("form", "status", "percent"),
    [
        ({}, "pending", None), ({"percent": 0}, "failure", 0), ({"percent": "0"}, "failure", 0),
        ({"percent": 100}, "success", 100), ({"percent": -5}, "success", -5),
        ({"percent": 0, "status": "canceled"}, "canceled", 0), ({"status": None}, "pending", None),
    ],
)  # fmt: skip
async def test_the_status_of_a_flag_defaults_to_its_percentage(
    bob: Client, form: dict[str, Any], status: str, percent: int | None
) -> None:
    await open_pull_request(bob)
    code, answer = await bob.json("POST", f"/api/0{ONE}/flag", {**FORM, **form})
    assert (code, answer["flag"]["status"], answer["flag"]["percent"]) == (200, status, percent)


async def test_all_errors_of_a_flag_are_reported_at_once(bob: Client) -> None:
    await open_pull_request(bob)
    form = {"username": "", "comment": " ", "url": "x", "status": "", "percent": "x", "uid": "u" * 33}
    status, body = await bob.post(ONE + "/flag", **form)
    assert (status, body["error_code"]) == (400, "EINVALIDREQ")
    required = ["This field is required."]
    assert body["errors"] == {
        "comment": required, "percent": ["Not a valid integer value."], "status": required,
        "uid": ["Field cannot be longer than 32 characters."], "url": ["Invalid input."], "username": required,
    }  # fmt: skip
    for field, value, message in (
        ("status", "odd", "Not a valid choice"), ("url", "javascript:x", "Invalid input."),
        ("url", "http://localhost:12345/a?b#c", None), ("url", "ftp://u:p@a.example", LOGIN),
    ):  # fmt: skip
        status, body = await bob.post(ONE + "/flag", **{**FORM, field: value})
        assert (status, body.get("errors")) == ((400, {field: [message]}) if message else (200, None))


async def test_subscribing_answers_with_the_user(nethack: Client, bob: Client) -> None:
    await open_pull_request(bob)
    bobs = await bob.limited(project="nethack")
    for form, message in (
        ({"status": "1"}, "You are now watching this pull-request"),
        ({"status": "no"}, "You are now watching this pull-request"),
        ({"status": "False"}, "You are no longer watching this pull-request"),
    ):
        status, body = await bobs.post(ONE + "/subscribe", **form)
        assert body.pop("avatar_url").endswith("?s=30&d=retro")
        assert (status, body) == (200, {"message": message, "user": "bob"})
    stored = await nethack.forge.db.fetch("select number, username, subscribed from pull_request_subscriptions")
    assert [tuple(row) for row in stored] == [(1, "bob", False)]
