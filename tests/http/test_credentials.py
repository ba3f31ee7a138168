"""Credentials in every spelling, on every interface, and /metrics."""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from app.config import Settings
from tests.conftest import ADMIN_TOKEN, Client, Forge

REFS = "/alice/secret.git/info/refs?service=git-upload-pack"


def spell(token: str, username: str) -> dict[str, str]:
    def pack(text: str) -> str:
        return b64encode(text.encode()).decode()

    return {
        "token": f"token {token}",
        "Token": f"Token {token}",
        "bearer": f"bearer {token}",
        "Bearer": f"Bearer {token}",
        "Basic": f"Basic {pack(f'{username}:{token}')}",
        "Basic with a placeholder": f"Basic {pack(f'git:{token}')}",
        "Basic with the token as user": f"Basic {pack(f'{token}:')}",
    }


async def ask(forge: Forge, method: str, path: str, **headers: str) -> tuple[int, str, Any]:
    async with forge.session.request(method, forge.url + path, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


@pytest.fixture
async def secret(alice: Client) -> Client:
    assert (await alice.post("/new", name="secret", description="d", private="1", create_readme="1"))[0] == 200
    return alice


@pytest.mark.parametrize("spelling", list(spell("", "")))
async def test_a_good_token_works_in_every_spelling(forge: Forge, secret: Client, spelling: str) -> None:
    header = spell(str(secret.token), "alice")[spelling]
    for method, path in (
        ("GET", "/api/0/alice/secret"), ("GET", "/api/0/alice/secret/options"), ("POST", "/api/0/-/whoami"),
        ("GET", "/alice/secret/raw/main/f/README.md"), ("GET", REFS), ("GET", "/v1/tasks"),
    ):  # fmt: skip
        status, text, headers = await ask(forge, method, path, Authorization=header)
        if path.startswith("/v1") and "Basic" in spelling:
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "Send the token as `Authorization: Bearer TOKEN`." in text
        else:
            assert status == 200, (path, text)


@pytest.mark.parametrize("username", ["bob", "nobody"])
async def test_a_good_token_with_the_name_of_another_user_is_none(forge: Forge, secret: Client, username: str) -> None:
    header = spell(str(secret.token), username)["Basic"]
    for method, path, expected in (
        ("GET", "/api/0/alice/secret", 404), ("GET", "/api/0/alice/secret/options", 401),
        ("GET", "/alice/secret/raw/main/f/README.md", 404), ("POST", "/api/0/-/whoami", 401), ("GET", REFS, 401),
        ("GET", "/metrics", 401),
    ):  # fmt: skip
        bad = await ask(forge, method, path, Authorization=spell("x" * 49, username)["Basic"])
        given = await ask(forge, method, path, Authorization=header)
        assert (bad[0], given[0]) == (expected, expected), path
        assert hide_id(given) == hide_id(bad)


def hide_id(answer: tuple[int, str, Any]) -> tuple[int, str]:
    return answer[0], answer[1].replace(answer[2].get("X-Request-Id", "-"), "")


async def test_a_bad_token_in_a_scheme_that_pagure_ignores_is_ignored(forge: Forge, secret: Client) -> None:
    await secret.post("/new", name="open", description="d")
    for header in ("Bearer x", "Basic eDp5", "Digest x", "Basic ???"):
        assert (await ask(forge, "GET", "/api/0/open/issues", Authorization=header))[0] == 200
    assert (await ask(forge, "GET", "/api/0/open/issues", Authorization="token x"))[0] == 401


async def test_the_letters_of_a_scheme_in_a_token_do_not_matter(forge: Forge, alice: Client) -> None:
    issued = f"bearer-token-of-{'x' * 20}"
    status, _ = await alice.json("POST", "/v1/users/alice/tokens", {"description": "d", "token": issued})
    assert status in (201, 422)
    for header in (f"token {alice.token}", f"Bearer {alice.token}"):
        assert (await ask(forge, "POST", "/api/0/-/whoami", Authorization=header))[0] == 200


async def test_metrics_take_the_token_of_an_administrator_in_every_spelling(forge: Forge, alice: Client) -> None:
    for header in spell(ADMIN_TOKEN, "admin").values():
        assert (await ask(forge, "GET", "/metrics", Authorization=header))[0] == 200
    assert (await ask(forge, "GET", "/metrics"))[0] == 401
    assert (await ask(forge, "GET", "/metrics", Authorization=f"token {alice.token}"))[0] == 403
    refused = {
        hide_id(await ask(forge, "GET", "/metrics", Authorization=h)) for h in ("token x", "Digest x", "Basic ?")
    }
    assert len(refused) == 1


@pytest.fixture
def local_metrics(settings: Settings) -> Iterator[None]:
    """Metrics for this machine, behind the public name of a proxy."""
    old = settings.metrics_allow, settings.public_url
    changed = Settings(metrics_allow=["127.0.0.0/8"], public_url="https://forge.example/")  # type: ignore[list-item]
    settings.__dict__.update(metrics_allow=changed.metrics_allow, public_url=changed.public_url)
    settings.__dict__.pop("url", None)
    yield
    settings.__dict__.update(metrics_allow=old[0], public_url=old[1])
    settings.__dict__.pop("url", None)


async def test_metrics_need_no_token_from_a_network_that_is_allowed_unless_it_is_a_proxy(
    forge: Forge, local_metrics: None
) -> None:
    assert (await ask(forge, "GET", "/metrics"))[0] == 200
    for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via"):
        assert (await ask(forge, "GET", "/metrics", **{name: "x"}))[0] == 401
    assert (await ask(forge, "GET", "/metrics", Host="forge.example"))[0] == 401


async def test_links_to_pages_are_made_from_the_public_url_whatever_the_host(
    forge: Forge, local_metrics: None, alice: Client
) -> None:
    for name in ("a", "b"):
        await alice.post("/new", name=name, description="d")
    await forge.idle()
    for path in ("/v1/tasks?limit=1", "/v1/users/alice/tokens?limit=1"):
        for _ in range(2):
            await alice.json("POST", "/v1/users/alice/tokens", {"description": "another"})
        await alice.get(path, headers={"Host": "evil.example"})
        link = alice.headers["Link"]
        assert link.startswith(f"<https://forge.example{path}&cursor="), link
    _, body = await alice.get("/api/0/projects?per_page=1", headers={"Host": "evil.example"})
    links = [body["pagination"][name] for name in ("first", "last", "next")]
    assert all(link.startswith("https://forge.example/api/0/projects?") for link in links), links
    assert "evil.example" not in str(body)
