"""Reading requests: headers, query strings, bodies and pages."""

import io
from typing import Any

import pytest
from aiohttp import FormData

from tests.conftest import Client, Forge

LARGEST = 4 << 20  # bytes
TOO_LARGE = {"error": "The request is too large", "error_code": "ENOCODE"}
REQUIRED = ["This field is required."]


def refused(forge: Forge, errors: str | None = None) -> dict[str, str]:
    message = f"Invalid or expired token. Please visit {forge.url}/settings#nav-api-tab to get or renew your API token."
    return {"error": message, "error_code": "EINVALIDTOK", **({"errors": errors} if errors else {})}


async def test_the_token_is_the_text_after_its_scheme(forge: Forge, alice: Client) -> None:
    for header in ("token {}", "Token {}", "TOKEN {}", "token   {}  ", "token{}"):
        headers = {"Authorization": header.format(alice.token)}
        answer = await forge.nobody.request("POST", "/api/0/-/whoami", headers=headers)
        assert answer == (200, {"username": "alice"}), header
    for header, errors in (
        ("Bearer x", None), (f"Basic {alice.token}", None), (f"Digest {alice.token}", None), ("", None),
        (str(alice.token), None),
        ("token", "Invalid token"), ("token ", "Invalid token"), (f"token {alice.token}x", "Invalid token"),
    ):  # fmt: skip
        answer = await forge.nobody.request("POST", "/api/0/-/whoami", headers={"Authorization": header})
        assert answer == (401, refused(forge, errors)), header
        assert forge.nobody.headers["WWW-Authenticate"] == "token"
    assert (await forge.nobody.post(f"/-/whoami?token={alice.token}"))[0] == 401


async def test_an_expired_token_is_reported_where_tokens_are_checked(forge: Forge, nethack: Client) -> None:
    status, made = await nethack.post("/nethack/token/new", acls="modify_project")
    assert status == 200
    one = Client(forge, made["token"]["id"], "alice")
    assert await one.post("/new") == (401, refused(forge, "Missing ACLs: create_project"))
    await forge.db.execute("update tokens set expires_at = date_trunc('day', now()) where project_id is not null")
    asked = [("POST", "/new"), ("POST", "/-/whoami"), ("GET", "/nethack/git/urls"), ("GET", "/nethack/options")]
    for method, path in asked:
        assert await one.request(method, f"/api/0{path}") == (401, refused(forge, "Expired token")), path
    for path in ("/nethack", "/projects", "/nethack/watchers"):
        assert (await one.pagure(path))[0] == 200
    await forge.db.execute("update tokens set expires_at = now() + interval '1 minute' where project_id is not null")
    assert (await one.pagure("/nethack/options"))[0] == 200


async def test_a_token_gives_access_to_private_projects_on_public_routes(forge: Forge, alice: Client) -> None:
    assert (await alice.post("/new", name="secret", description="d", private="1"))[0] == 200
    one = await alice.limited(acls=["commit"])
    for path in ("", "/git/branches", "/git/tags", "/watchers", "/contributors", "/tags", "/hascommit?user=a&branch=b"):
        assert (await one.pagure(f"/alice/secret{path}"))[0] == 200
        assert (await forge.nobody.pagure(f"/alice/secret{path}"))[0] == 404


async def test_posted_fields_are_read_from_the_body(alice: Client) -> None:
    status, body = await alice.request("POST", "/api/0/new?name=x&description=d")
    assert (status, body["errors"]) == (400, {"name": REQUIRED, "description": REQUIRED})
    status, body = await alice.request("POST", "/api/0/new?name=x", json={"name": None, "description": "d"})
    assert (status, body["errors"]) == (400, {"name": REQUIRED})
    for media in ("text/plain", "application/vnd.x+json", "application/octet-stream"):
        plain = {"headers": {"Content-Type": media}}
        status, body = await alice.request("POST", "/api/0/new", data=b'{"name": "x"}', **plain)
        assert (status, body["errors"]) == (400, {"description": REQUIRED}), media
        status, body = await alice.request("POST", "/api/0/new", data=b"name=x&description=d", **plain)
        assert (status, body["error_code"], "errors" in body) == (400, "EINVALIDREQ", False), media
    assert (await alice.get("/api/0/users", data={"pattern": "nobody"}))[1]["users"] == ["admin", "alice"]


async def test_a_file_does_not_count_as_a_field(alice: Client) -> None:
    parts: Any = FormData(default_to_multipart=True)
    parts.add_field("name", b"x", filename="x.txt")
    parts.add_field("description", "d")
    status, body = await alice.request("POST", "/api/0/new", data=parts)
    assert (status, body["errors"]) == (400, {"name": REQUIRED})


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "application/json", "multipart/form-data"])
async def test_a_body_has_a_maximum_size(alice: Client, media: str) -> None:
    data: Any = io.BytesIO(b" " * (LARGEST + 1))
    headers = {"Content-Type": media}
    if media.startswith("multipart"):
        data, headers = FormData(default_to_multipart=True), {}
        for _ in range(9):
            data.add_field("description", "d" * (LARGEST // 8))
    assert await alice.request("POST", "/api/0/new", data=data, headers=headers) == (413, TOO_LARGE)


async def test_links_keep_the_arguments_of_the_request(alice: Client) -> None:
    assert (await alice.post("/new", name="a+b", description="d", wait="0"))[0] == 200
    query = "_x=1&pattern=a%2B*&endpoint=z&page=2&fork=0&per_page=1&fork=false&short=yes&%C3%A9=%26+%2F"
    begin = f"{alice.forge.url}/api/0/projects?per_page=1&pattern=a%2B*&fork=0&fork=false&short=yes&%C3%A9=%26+/"
    assert (await alice.pagure(f"/projects?{query}"))[1]["pagination"] == {
        "first": f"{begin}&page=1", "last": f"{begin}&page=1", "next": None, "page": 2, "pages": 1, "per_page": 1,
        "prev": f"{begin}&page=1",
    }  # fmt: skip
    none = (await alice.pagure("/projects?pattern=nothing"))[1]["pagination"]
    begin = f"{alice.forge.url}/api/0/projects?per_page=20&pattern=nothing"
    assert (none["pages"], none["first"], none["last"]) == (0, f"{begin}&page=1", f"{begin}&page=1")


@pytest.mark.parametrize("query", ["page=", "per_page=", "page=%201%20", "page=1&per_page=20", "unheard=of"])
async def test_empty_page_arguments_mean_the_first_page_of_twenty(alice: Client, query: str) -> None:
    status, body = await alice.pagure(f"/projects?{query}")
    assert (status, body["args"]["page"], body["args"]["per_page"]) == (200, 1, 20)


async def test_flags_have_four_true_values(alice: Client) -> None:
    for word, short in (
        ("1", True), ("true", True), ("T", True), ("%20Y%20", True),
        ("yes", False), ("on", False), ("0", False), ("", False),
    ):  # fmt: skip
        assert (await alice.pagure(f"/projects?short={word}"))[1]["args"]["short"] is short, word
    for word, fork in (("", None), ("no", False), ("t", True)):
        assert (await alice.pagure(f"/projects?fork={word}"))[1]["args"]["fork"] is fork
