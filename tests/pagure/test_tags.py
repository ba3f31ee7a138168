"""The tags of a project's tracker."""

import pytest

from tests.conftest import Client, Forge
from tests.pagure.test_sharing import ADDRESSES, NOT_HIGH_ENOUGH, four_projects, grant_access

NO_TAG = {"error": "Tag not found", "error_code": "ENOTAG"}
PET = {"tag": "pet", "tag_color": "red", "tag_description": "Needs food"}


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_tag_is_created_shown_listed_and_deleted(alice: Client, path: str) -> None:
    await four_projects(alice)
    assert await alice.post(f"{path}/tags/new", tag="pet", tag_color="red", tag_description="Needs food") == (
        200,
        {"message": "Tag created", "tag": PET},
    )
    for suffix in ("tags", "tags/"):
        assert await alice.forge.nobody.pagure(f"{path}/{suffix}") == (200, {"tags": ["pet"], "total_tags": 1})
    assert await alice.forge.nobody.pagure(f"{path}/tag/pet") == (200, PET)
    bound = await alice.limited(project=path[1:])
    address = f"/api/0{path}/tag/pet"
    assert await bound.request("DELETE", address) == (200, {"message": "Tag: pet has been deleted"})
    assert await alice.pagure(f"{path}/tags") == (200, {"tags": [], "total_tags": 0})
    assert await bound.request("DELETE", address) == (404, NO_TAG)


@pytest.mark.parametrize("name", ["ghost", "PET", "pe", "%00", "pet%0a"])
async def test_the_names_of_tags_are_case_sensitive(nethack: Client, name: str) -> None:
    await nethack.post("/nethack/tags/new", tag="pet", tag_color="red")
    assert await nethack.pagure(f"/nethack/tag/{name}") == (404, NO_TAG)
    bound = await nethack.limited(project="nethack")
    assert await bound.request("DELETE", f"/api/0/nethack/tag/{name}") == (404, NO_TAG)


async def test_tagging_an_issue_creates_the_tag_and_deleting_it_removes_it(nethack: Client) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c", tag="pet, Food, a tag")
    _, found = await nethack.pagure("/nethack/tags")
    assert found == {"tags": ["Food", "a tag", "pet"], "total_tags": 3}
    plain = {"tag": "a tag", "tag_color": "DeepSkyBlue", "tag_description": ""}
    assert (await nethack.pagure("/nethack/tag/a%20tag"))[1] == plain
    bound = await nethack.limited(project="nethack")
    assert (await bound.request("DELETE", "/api/0/nethack/tag/pet"))[0] == 200
    assert (await nethack.pagure("/nethack/issue/1"))[1]["tags"] == ["Food", "a tag"]


@pytest.mark.parametrize(("pattern", "names"), [("F", ["Fish", "food"]), ("*o", ["food"]), ("%25", []), ("x", [])])
async def test_tags_are_found_by_prefix(nethack: Client, pattern: str, names: list[str]) -> None:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c", tag="food,Fish,pet")
    found = (await nethack.pagure(f"/nethack/tags?pattern={pattern}"))[1]
    assert found == {"tags": names, "total_tags": len(names)}


@pytest.mark.parametrize(
    ("form", "errors"),
    [
        ({}, {"tag": ["This field is required."], "tag_color": ["This field is required."]}),
        ({"tag": "x", "tag_color": "red"}, {"tag": ["Invalid input."]}),
        ({"tag": "a,b", "tag_color": "red"}, {"tag": ["Invalid input."]}),
        ({"tag": "-ab", "tag_color": "red"}, {"tag": ["Invalid input."]}),
        ({"tag": "a" * 256, "tag_color": "red"}, {"tag": ["Field cannot be longer than 255 characters."]}),
        ({"tag": "pet"}, {"tag_color": ["This field is required."]}),
        ({"tag": "pet", "tag_color": "a" * 256}, {"tag_color": ["Field cannot be longer than 255 characters."]}),
        (
            {"tag": "pet", "tag_color": "red", "tag_description": "a" * 256},
            {"tag_description": ["Field cannot be longer than 255 characters."]},
        ),
    ],
)
async def test_invalid_tags_are_refused(nethack: Client, form: dict[str, str], errors: object) -> None:
    status, body = await nethack.post("/nethack/tags/new", **form)
    assert (status, body["error_code"], body["errors"]) == (400, "EINVALIDREQ", errors)


async def test_committers_create_each_tag_once(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await grant_access(nethack, "bob", "ticket")
    assert await bob.post("/nethack/tags/new", tag="pet", tag_color="red") == (401, NOT_HIGH_ENOUGH)
    await grant_access(nethack, "bob", "commit")
    assert (await bob.post("/nethack/tags/new", tag="pet", tag_color="red"))[0] == 200
    status, body = await bob.post("/nethack/tags/new", tag="pet", tag_color="blue")
    assert (status, body["error_code"], "errors" in body) == (400, "EDBERROR", False)
    status, body = await bob.request("DELETE", "/api/0/nethack/tag/pet")
    assert (status, body["error_code"], "errors" in body) == (401, "EINVALIDTOK", False)
