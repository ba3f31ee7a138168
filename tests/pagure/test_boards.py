"""The boards of a tracker and their statuses."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

import pytest

from app.core import commands
from app.queries import boards
from tests.conftest import Client, Forge
from tests.pagure.test_sharing import ADDRESSES, BLOCKED, NO_PROJECT, NOT_HIGH_ENOUGH, four_projects, grant_access
from tests.pagure.trackers import Tracker, invalid_input, refusal

PLAIN = {"tag": "dev", "tag_color": "DeepSkyBlue", "tag_description": ""}
STATUSES = {
    "Done": {"rank": 3, "default": False, "bg_color": "#00ff00", "close": True, "close_status": "Fixed"},
    "Backlog": {"rank": 1, "default": True},
    "In Progress": {"rank": 2, "default": False, "bg_color": "lime", "close": False, "close_status": None},
}
BACKLOG = {"bg_color": None, "close": False, "close_status": None, "default": True, "name": "Backlog"}
PROGRESS = {"bg_color": "lime", "close": False, "close_status": None, "default": False, "name": "In Progress"}
DONE = {"bg_color": "#00ff00", "close": True, "close_status": "Fixed", "default": False, "name": "Done"}
WRONG = "Invalid or incomplete input submitted"
NO_DATA = "No (JSON) data provided"
NO_TAG = "No tag associated with at least one of the boards"
MISSING = (404, {"error": WRONG, "error_code": "EINVALIDREQ", "errors": "Board not found"})
WRITES = ["", "/delete", "/dev/status", "/dev/update_issue", "/dev/add_issue"]


async def send_json(who: Client, path: str, body: Any) -> tuple[int, Any]:
    return await who.json("POST", f"/api/0{path}", body)


async def add_tags(who: Client, *tags: str, path: str = "/nethack") -> None:
    """Create these tags in the project."""
    for tag in tags:
        assert (await who.post(f"{path}/tags/new", tag=tag, tag_color="DeepSkyBlue"))[0] == 200


async def make_boards(who: Client, *names: str) -> None:
    """Create these boards, each with a tag of the same name and three statuses."""
    await add_tags(who, *names)
    assert (await send_json(who, "/nethack/boards", {name: {"active": True, "tag": name} for name in names}))[0] == 200
    for name in names:
        assert (await send_json(who, f"/nethack/boards/{name}/status", STATUSES))[0] == 200


async def list_boards(who: Client) -> list[str]:
    return [board["name"] for board in (await who.pagure("/nethack/boards"))[1]["boards"]]


def run_before_call(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """Run `meanwhile` before the first call of a function, as if another process did it."""
    original = getattr(module, name)

    async def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(module, name, original)
        monkeypatch.setattr(commands, "_project_locks", WeakValueDictionary())
        found = await original(*arguments)
        await meanwhile()
        return found

    monkeypatch.setattr(module, name, interrupted)


def invalid_boards(errors: Any) -> tuple[int, dict[str, Any]]:
    return 400, {"error": WRONG, "error_code": "EINVALIDREQ", "errors": errors}


@pytest.mark.parametrize("path", ADDRESSES)
async def test_boards_are_set_given_statuses_listed_and_deleted(alice: Client, path: str) -> None:
    await four_projects(alice)
    if path.startswith("/fork"):
        assert (await alice.post(f"{path}/options/update", issue_tracker="1"))[0] == 200
    await add_tags(alice, "dev", path=path)
    board = {
        "active": False,
        "full_url": f"{alice.forge.url}{path}/boards/dev",
        "name": "dev",
        "status": [],
        "tag": PLAIN,
    }
    assert await send_json(alice, f"{path}/boards", {"dev": {"tag": "dev"}}) == (200, {"boards": [board]})
    board["status"] = [BACKLOG, PROGRESS, DONE]
    assert await send_json(alice, f"{path}/boards/dev/status", STATUSES) == (200, {"board": board})
    listed = {"boards": [board], "total_boards": 1, "total_requests": 1}
    assert await alice.forge.nobody.pagure(f"{path}/boards") == (200, listed)
    assert await alice.post(f"{path}/boards/delete", name="dev") == (200, {"boards": []})
    listed = {"boards": [], "total_boards": 0, "total_requests": 0}
    assert await alice.forge.nobody.pagure(f"{path}/boards") == (200, listed)


async def test_setting_boards_replaces_the_set_and_keeps_statuses(nethack: Client) -> None:
    await make_boards(nethack, "dev", "ops")
    wanted = {"dev": {"active": False, "tag": "ops"}, "Ärger & more": {"active": "1", "tag": "dev"}}
    status, body = await send_json(nethack, "/nethack/boards", wanted)
    assert status == 200
    assert [(each["name"], each["active"], each["tag"]["tag"], len(each["status"])) for each in body["boards"]] == [
        ("dev", False, "ops", 3),
        ("Ärger & more", True, "dev", 0),
    ]
    assert body["boards"][1]["full_url"].endswith("/nethack/boards/%C3%84rger%20%26%20more")
    assert (await send_json(nethack, "/nethack/boards/%C3%84rger%20%26%20more/status", STATUSES))[0] == 200


async def test_a_board_shows_the_current_style_of_its_tag(nethack: Client) -> None:
    await make_boards(nethack, "dev")
    tags = {"dev": {"color": "red", "description": "Work"}}
    await nethack.json("PATCH", "/v1/projects/nethack/tracker", {"tags": tags})
    [board] = (await nethack.pagure("/nethack/boards"))[1]["boards"]
    assert board["tag"] == {"tag": "dev", "tag_color": "red", "tag_description": "Work"}


async def test_several_boards_are_deleted_at_once_and_unknown_ones_are_ignored(nethack: Client) -> None:
    await make_boards(nethack, "dev", "ops", "web")
    status, body = await send_json(nethack, "/nethack/boards/delete", {"name": ["dev", "ghost", "web"]})
    assert (status, [each["name"] for each in body["boards"]]) == (200, ["ops"])
    for form in ({}, {"name": " "}):
        assert await nethack.post("/nethack/boards/delete", **form) == invalid_input(name=["This field is required"])
    assert await list_boards(nethack) == ["ops"]


NOTHING = [
    b"", b"{}", b"[]", b"null", b'"x"', b"7", b"{", b"name=dev", b'{"a":' * 5000, b'{"a":"\\ud800"}', b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("path", ["", "/dev/status", "/dev/update_issue", "/dev/add_issue"])
async def test_a_body_that_is_not_a_json_object_is_refused(nethack: Client, path: str) -> None:
    await make_boards(nethack, "dev")
    before = await nethack.pagure("/nethack/boards")
    headers = {"Content-Type": "application/json"}
    for body in NOTHING:
        answer = await nethack.request("POST", f"/api/0/nethack/boards{path}", data=body, headers=headers)
        assert answer == invalid_boards(NO_DATA), body
    assert await nethack.pagure("/nethack/boards") == before


NO_BOARDS: list[tuple[Any, Any]] = [
    ({"ops": {}}, invalid_boards(NO_TAG)),
    ({"dev": {"tag": "dev"}, "ops": {"active": True}}, invalid_boards(NO_TAG)),
    ({"ops": {"tag": None}}, invalid_boards(NO_TAG)),
    ({"ops": {"tag": ["dev"]}}, invalid_boards(NO_TAG)),
    ({"ops": "dev"}, invalid_boards(NO_TAG)),
    ({"ops": None}, invalid_boards(NO_TAG)),
    ({"ops": {"tag": ""}}, refusal("ENOCODE", "No tag found with the name ")),
    ({"ops": {"tag": "DEV"}}, refusal("ENOCODE", "No tag found with the name DEV")),
    ({"ops": {"tag": "a\x00b"}}, refusal("ENOCODE", "No tag found with the name a\x00b")),
    ({"ops": {"tag": "x" * 300}}, refusal("ENOCODE", "No tag found with the name " + "x" * 300)),
    ({"ops": {"tag": "dev", "active": {}}}, invalid_input(active=["Invalid input."])),
    ({"": {"tag": "dev"}}, invalid_input(name=["This field is required"])),
    ({" ops": {"tag": "dev"}}, invalid_input(name=["Invalid input."])),
    ({"a/b": {"tag": "dev"}}, invalid_input(name=["Invalid input."])),
    ({"..": {"tag": "dev"}}, invalid_input(name=["Invalid input."])),
    ({"a\x00b": {"tag": "dev"}}, invalid_input(name=["Invalid input."])),
    ({"a\nb": {"tag": "dev"}}, invalid_input(name=["Invalid input."])),
    ({"x" * 256: {"tag": "dev"}}, invalid_input(name=["Field cannot be longer than 255 characters."])),
    ({f"b{n}": {"tag": "dev"} for n in range(31)}, invalid_boards("A tracker has 30 boards at most.")),
]


async def test_invalid_boards_are_refused(nethack: Client) -> None:
    await make_boards(nethack, "dev")
    for body, answer in NO_BOARDS:
        assert await send_json(nethack, "/nethack/boards", body) == answer, body
        assert await list_boards(nethack) == ["dev"]


MANDATORY = invalid_boards("The 'rank' and 'default' fields are mandatory.")
ONE_DEFAULT = invalid_boards("There must be one and only one default.")
PATTERN = invalid_input(name=["Invalid status name provided, it should match: ^[a-zA-Z0-9][a-zA-Z0-9-_ .:]+$."])


def status(name: str = "New", **fields: Any) -> dict[str, Any]:
    return {name: {"rank": 1, "default": True, **fields}}


NO_STATUSES: list[tuple[Any, Any]] = [
    ({"New": {"rank": 1}}, MANDATORY),
    ({"New": {"default": True}}, MANDATORY),
    ({**status(), "Old": {}}, MANDATORY),
    ({"New": [1, True]}, MANDATORY),
    ({"New": None}, MANDATORY),
    ({**status(), **status("Old")}, ONE_DEFAULT),
    (status(default=False), ONE_DEFAULT),
    (status("-new"), PATTERN),
    (status("N"), PATTERN),
    (status("Ünew"), PATTERN),
    (status("New\n"), PATTERN),
    (status("a/b"), PATTERN),
    (status("a\x00b"), PATTERN),
    (status(""), invalid_input(name=["This field is required"])),
    (status("x" * 256), invalid_input(name=["Field cannot be longer than 255 characters."])),
    (status(rank="1"), invalid_input(rank=["Invalid input."])),
    (status(rank=True), invalid_input(rank=["Invalid input."])),
    (status(rank=1.5), invalid_input(rank=["Invalid input."])),
    (status(rank=None), invalid_input(rank=["Invalid input."])),
    (status(rank=2**31), invalid_input(rank=["Invalid input."])),
    (status(rank=-(10**30)), invalid_input(rank=["Invalid input."])),
    (status(default=[True]), invalid_input(default=["Invalid input."])),
    (status(close={}), invalid_input(close=["Invalid input."])),
    (status(bg_color=5), invalid_input(bg_color=["Invalid input."])),
    (status(bg_color="red;x:url(//y)"), invalid_input(bg_color=["Invalid input."])),
    (status(bg_color="a" * 256), invalid_input(bg_color=["Field cannot be longer than 255 characters."])),
    (status(close_status=[]), invalid_input(close_status=["Invalid input."])),
    (status(close_status="a\x00b"), invalid_input(close_status=["Invalid input."])),
    (status(close_status="a\nb"), invalid_input(close_status=["Invalid input."])),
    (status(close_status="a" * 256), invalid_input(close_status=["Field cannot be longer than 255 characters."])),
    (
        {**status(), **{f"s{n:03}": {"rank": n, "default": 0} for n in range(30)}},
        invalid_boards("A board has 30 statuses at most."),
    ),
]


async def test_invalid_statuses_are_refused(nethack: Client) -> None:
    await make_boards(nethack, "dev")
    before = await nethack.pagure("/nethack/boards")
    for body, answer in NO_STATUSES:
        assert await send_json(nethack, "/nethack/boards/dev/status", body) == answer, body
        assert await nethack.pagure("/nethack/boards") == before


@pytest.mark.parametrize("path", ["status", "update_issue", "add_issue"])
async def test_a_board_name_is_case_sensitive_and_checked_before_the_body(nethack: Client, path: str) -> None:
    await make_boards(nethack, "dev")
    for name in ("ghost", "DEV", "de", "%00", "dev%0a", "a%2Fb", "%ff"):
        assert await send_json(nethack, f"/nethack/boards/{name}/{path}", STATUSES) == MISSING
        assert await nethack.post(f"/nethack/boards/{name}/{path}") == MISSING


async def test_statuses_are_ordered_by_rank_and_name(nethack: Client) -> None:
    await make_boards(nethack, "dev")
    ranks = {"bb": (7, ""), "aa": (7, False), "cc": (-5, "False"), "dd": (2**31 - 1, 1)}
    body = {name: {"rank": rank, "default": default} for name, (rank, default) in ranks.items()}
    _, answer = await send_json(nethack, "/nethack/boards/dev/status", body)
    assert [each["name"] for each in answer["board"]["status"]] == ["cc", "aa", "bb", "dd"]
    assert [each["default"] for each in answer["board"]["status"]] == [False, False, False, True]


async def test_boards_are_changed_by_committers_with_the_scope(forge: Forge, nethack: Client) -> None:
    await make_boards(nethack, "dev")
    bob = await forge.user("bob")
    for level in (None, "ticket"):
        if level:
            await grant_access(nethack, "bob", level)
        for path in WRITES:
            assert await send_json(bob, f"/nethack/boards{path}", {"dev": {"tag": "dev"}}) == (401, NOT_HIGH_ENOUGH)
            assert await send_json(bob, f"/nethack/boards{path}", []) == (401, NOT_HIGH_ENOUGH)
    await grant_access(nethack, "bob", "commit")
    assert (await send_json(bob, "/nethack/boards", {"dev": {"tag": "dev"}}))[0] == 200
    limited = await nethack.limited(acls=["issue_update"])
    await nethack.post("/new", name="other", description="d")
    elsewhere = await nethack.limited(project="other")
    for path in WRITES:
        code, body = await send_json(forge.nobody, f"/nethack/boards{path}", {})
        assert (code, body["error_code"], body["errors"]) == (401, "EINVALIDTOK", "Invalid token")
        code, body = await send_json(limited, f"/nethack/boards{path}", {})
        assert (code, body["errors"]) == (401, "Missing ACLs: modify_project")
        code, body = await send_json(elsewhere, f"/nethack/boards{path}", {})
        assert (code, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
    assert (await send_json(await nethack.limited(project="nethack"), "/nethack/boards/dev/status", STATUSES))[0] == 200


async def test_blocked_users_cannot_change_boards_and_private_ones_are_hidden(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await grant_access(nethack, "bob", "commit")
    bound = await nethack.limited(project="nethack")
    assert (await bound.post("/nethack/blockuser", username="bob"))[0] == 200
    await nethack.post("/new", name="secret", description="d", private="1")
    for path in WRITES:
        assert await send_json(bob, f"/nethack/boards{path}", {}) == (403, BLOCKED)
        assert await send_json(bob, f"/alice/secret/boards{path}", {}) == (404, NO_PROJECT)
    assert await bob.pagure("/alice/secret/boards") == (404, NO_PROJECT)
    assert (await nethack.pagure("/alice/secret/boards"))[0] == 200


async def test_boards_need_an_enabled_tracker(tracker: Tracker) -> None:
    await make_boards(tracker.alice, "dev")
    readonly = {"error": "The issue tracker of this project is read-only", "error_code": "ETRACKERREADONLY"}
    await tracker.configure(issue_tracker_read_only=True)
    for path in WRITES:
        assert await send_json(tracker.alice, f"/nethack/boards{path}", {"dev": {"tag": "dev"}}) == (401, readonly)
    assert await list_boards(tracker.alice) == ["dev"]
    off = {"error": "Issue tracker disabled", "error_code": "ETRACKERDISABLED"}
    await tracker.configure(issue_tracker=False)
    for path in WRITES:
        assert await send_json(tracker.alice, f"/nethack/boards{path}", {"dev": {"tag": "dev"}}) == (404, off)
    assert await tracker.alice.pagure("/nethack/boards") == (404, off)


async def test_concurrent_sets_of_boards_leave_one_complete_set(nethack: Client) -> None:
    sets = [{f"{who} {n}": {"tag": "dev"} for n in range(5)} for who in "abcd"]
    await make_boards(nethack, "dev")
    done = await asyncio.gather(*(send_json(nethack, "/nethack/boards", each) for each in sets))
    assert [code for code, _ in done] == [200] * 4
    assert await list_boards(nethack) in [sorted(each) for each in sets]


async def test_a_tag_of_a_board_cannot_be_deleted(nethack: Client) -> None:
    await make_boards(nethack, "dev", "ops")
    await send_json(nethack, "/nethack/boards", {name: {"tag": "dev"} for name in ("web", "app")})
    bound = await nethack.limited(project="nethack")
    answer = await bound.request("DELETE", "/api/0/nethack/tag/dev")
    assert answer == refusal("ENOCODE", "This is the tag of a board: app, web")
    assert (await bound.request("DELETE", "/api/0/nethack/tag/ops"))[0] == 200
    await nethack.post("/nethack/boards/delete", name="web")
    await send_json(nethack, "/nethack/boards/delete", {"name": ["app"]})
    assert (await bound.request("DELETE", "/api/0/nethack/tag/dev"))[0] == 200


async def test_a_tag_deleted_during_the_creation_of_its_board_leaves_no_board(
    nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_tags(nethack, "dev")
    bound = await nethack.limited(project="nethack")

    async def meanwhile() -> None:
        assert (await bound.request("DELETE", "/api/0/nethack/tag/dev"))[0] == 200

    run_before_call(monkeypatch, boards, "list_of_project", meanwhile)
    answer = await send_json(nethack, "/nethack/boards", {"dev": {"tag": "dev"}})
    assert answer == refusal("ENOCODE", "No tag found with the name dev")
    assert await list_boards(nethack) == []
