"""Tracker settings that Pagure has only in its web pages."""

import json

import pytest

from tests.conftest import Client, Forge

WORDS = {
    "milestones": {"v1": {"date": "2030-01-01", "active": True}, "v0": {"date": None, "active": False}},
    "milestones_keys": ["v1", "v0"],
    "priorities": {"1": "High", "2": "Low"},
    "default_priority": "Low",
    "close_status": ["Fixed", "Invalid"],
    "custom_keys": [["sprint", "list", ["a", "b"], True], ["upstream", "link"]],
}
CYCLE = "An issue cannot depend on itself, directly or through other issues."
TAGS = {"pet": {"color": "red", "description": "Needs food"}, "toy": {"color": "DeepSkyBlue", "description": ""}}


async def test_the_settings_of_a_tracker_are_changed_and_shown(forge: Forge, nethack: Client) -> None:
    command = {**WORDS, "milestones": {"v1": {"date": "2030-01-01"}, "v0": {"active": False}}}
    status, now = await nethack.json(
        "PATCH", "/v1/projects/nethack/tracker", {**command, "tags": {"pet": TAGS["pet"], "toy": {}}}
    )
    assert (status, now) == (200, {**WORDS, "tags": TAGS})
    shown = (await nethack.pagure("/nethack"))[1]
    assert {name: shown[name] for name in ("milestones", "priorities", "close_status", "custom_keys")} == {
        "milestones": WORDS["milestones"],
        "priorities": WORDS["priorities"],
        "close_status": WORDS["close_status"],
        "custom_keys": [["sprint", "list"], ["upstream", "link"]],
    }
    assert (await nethack.pagure("/nethack/tags"))[1]["tags"] == ["pet", "toy"]
    assert (await nethack.pagure("/nethack/tag/pet"))[1]["tag_color"] == "red"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (["s", "list", "a, b,c "], ["s", "list", ["a", "b", "c"]]),
        (["s", "list", "a", True], ["s", "list", ["a"], True]),
        (["s", "list", " "], ["s", "list", None]),
        (["s", "list", ["a,b", " c"]], ["s", "list", ["a,b", " c"]]),
        (["s", "date", "2030-01-01,2031-01-01"], ["s", "date", "2030-01-01,2031-01-01"]),
        (["s", "list"], ["s", "list"]),
    ],
)
async def test_the_choices_of_a_list_may_be_separated_by_commas(
    nethack: Client, given: list[object], stored: list[object]
) -> None:
    status, now = await nethack.json("PATCH", "/v1/projects/nethack/tracker", {"custom_keys": [given]})
    assert (status, now["custom_keys"]) == (200, [stored])
    number = (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[1]["issue"]["id"]
    bound = await nethack.limited(project="nethack")
    assert (await bound.post(f"/nethack/issue/{number}/custom/s", value="a"))[0] == 200
    [shown] = (await nethack.pagure(f"/nethack/issue/{number}"))[1]["custom_fields"]
    choices = stored[2] if len(stored) > 2 else None
    assert shown["key_data"] == (None if choices is None else json.dumps(choices, separators=(",", ":")))


async def test_absent_fields_stay_and_null_clears_a_field(forge: Forge, nethack: Client) -> None:
    address = "/v1/projects/nethack/tracker"
    await nethack.json("PATCH", address, {**WORDS, "tags": TAGS})
    events = await forge.db.fetchval("select count(*) from events")
    for command in ({}, WORDS, {"tags": TAGS}, {"tags": None}, {"dependencies": []}):
        assert await nethack.json("PATCH", address, command) == (200, {**WORDS, "tags": TAGS})
    assert await forge.db.fetchval("select count(*) from events") == events
    cleared = {"default_priority": None, "close_status": None, "milestones": None}
    assert (await nethack.json("PATCH", address, cleared))[1] == {
        **WORDS, "tags": TAGS, "default_priority": None, "close_status": [], "milestones": {},
    }  # fmt: skip


async def test_dependencies_of_issues_are_added(nethack: Client) -> None:
    for title in ("a", "b", "c"):
        await nethack.post("/nethack/new_issue", title=title, issue_content="c")
    address = "/v1/projects/nethack/tracker"
    for _ in range(2):
        assert (await nethack.json("PATCH", address, {"dependencies": [[1, 3], [1, 2], [2, 3]]}))[0] == 200
    rows = await nethack.forge.db.fetch("select depends from issues order by number")
    assert [row["depends"] for row in rows] == [[2, 3], [3], []]
    assert (await nethack.json("PATCH", address, {"dependencies": [[1, 9]]}))[0] == 404


async def test_circular_dependencies_are_refused(nethack: Client) -> None:
    for title in ("a", "b", "c", "d"):
        await nethack.post("/nethack/new_issue", title=title, issue_content="c")
    address = "/v1/projects/nethack/tracker"
    assert (await nethack.json("PATCH", address, {"dependencies": [[1, 2], [2, 3]]}))[0] == 200
    for circle in ([[1, 1]], [[2, 1]], [[3, 1]], [[3, 4], [4, 1]], [[4, 4]], [[3, 2]]):
        status, problem = await nethack.json("PATCH", address, {"dependencies": circle})
        assert (status, problem["errors"]) == (
            422,
            [
                {
                    "detail": CYCLE,
                    "pointer": "/dependencies",
                }
            ],
        ), circle
    rows = await nethack.forge.db.fetch("select depends from issues order by number")
    assert [row["depends"] for row in rows] == [[2], [3], [], []]
    assert (await nethack.json("PATCH", address, {"dependencies": [[1, 3], [4, 1], [4, 3]]}))[0] == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("milestones", []), ("milestones", {"v1": {"dates": "x"}}), ("milestones", {"v1": {"active": 1}}),
        ("milestones", {"v1": {"date": 1}}), ("milestones", {"v1": None}), ("milestones", {"\x00": {}}),
        ("milestones_keys", "v1"), ("priorities", {"high": "High"}), ("priorities", {"1": 1}),
        ("default_priority", 1), ("close_status", ["a", 1]), ("close_status", ["\x00"]),
        ("custom_keys", [["a"]]), ("custom_keys", [["a", "color"]]), ("custom_keys", [["a", "text", 1]]),
        ("custom_keys", [["a", ["text"]]]), ("custom_keys", [["a", "text", None, "yes"]]), ("custom_keys", [[]]),
        ("dependencies", [[1]]), ("dependencies", [[1, True]]), ("dependencies", [[0, 1]]),
        ("dependencies", [[1, 2**40]]), ("tags", ["pet"]), ("tags", {"pet": {"size": "big"}}), ("tags", {"": {}}),
        ("tags", {"x" * 256: {}}), ("tags", {"pet": {"color": "x" * 256}}), ("color", "red"), ("a/b", 1),
    ],
)  # fmt: skip
async def test_errors_point_to_the_invalid_field(nethack: Client, field: str, value: object) -> None:
    status, problem = await nethack.json("PATCH", "/v1/projects/nethack/tracker", {field: value})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/" + field.replace("/", "~1"))


async def test_only_administrators_of_the_project_configure_its_tracker(forge: Forge, alice: Client) -> None:
    bob = await forge.user("bob")
    for namespace, private in (("rpms", ""), ("", "1")):
        await alice.post("/new", name="x", description="d", namespace=namespace, private=private)
    for path, status in (("rpms/x", 403), ("alice/x", 404), ("missing", 404), ("%00", 404)):
        assert (await bob.json("PATCH", f"/v1/projects/{path}/tracker", {}))[0] == status
    assert (await forge.nobody.json("PATCH", "/v1/projects/rpms/x/tracker", {}))[0] == 401
    other = await alice.limited(acls=["issue_create"])
    assert (await other.json("PATCH", "/v1/projects/rpms/x/tracker", {}))[0] == 403
    bound = await alice.limited(project="rpms/x")
    assert (await bound.json("PATCH", "/v1/projects/rpms/x/tracker", {}))[0] == 200
    assert (await bound.json("PATCH", "/v1/projects/alice/x/tracker", {}))[0] == 404
    assert (await alice.json("PATCH", "/v1/projects/RPMS/X/tracker", [1]))[0] == 400
