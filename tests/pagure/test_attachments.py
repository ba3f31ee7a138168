"""Files uploaded with a new issue, and the pages that show them."""

import asyncio
import hashlib
import io
import os
from typing import Any

import aiohttp
import pytest

from app.disk import attachments
from tests.conftest import Client, Forge
from tests.pagure.test_sharing import ADDRESSES, four_projects

PNG = b"\x89PNG\r\n\x1a\nnot much of a picture"


async def open_issue_with_file(
    client: Client, content: str = "Look: <!!image>", name: str = "cat.png", body: bytes = PNG, path: str = "nethack",
    **fields: str,
) -> tuple[int, Any]:  # fmt: skip
    form = aiohttp.FormData({"title": "t", "issue_content": content, **fields}, quote_fields=False)
    form.add_field("filestream", io.BytesIO(body), filename=name)
    return await client.request("POST", f"/api/0/{path}/new_issue", data=form)


async def fetch_file(client: Client, path: str) -> tuple[int, bytes, Any]:
    headers = {"Authorization": f"token {client.token}"} if client.token else {}
    async with client.forge.session.get(client.forge.url + path, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


def file_path(name: str, body: bytes = PNG, path: str = "nethack") -> str:
    return f"/{path}/issue/raw/files/{hashlib.sha256(body).hexdigest()}-{name}"


def list_stored(forge: Forge) -> list[str]:
    return sorted(str(each.relative_to(forge.settings.data)) for each in forge.settings.attachments.glob("*/*/*"))


async def test_an_image_is_linked_at_the_placeholder_in_the_text(forge: Forge, nethack: Client) -> None:
    status, body = await open_issue_with_file(nethack, "See <!!image> or <!!image>.")
    url = file_path("cat.png")
    link = f"[![cat.png]({url})]({url})"
    assert (status, body["issue"]["content"]) == (200, f"See {link} or {link}.")
    assert (await nethack.pagure("/nethack/issue/1"))[1]["content"] == body["issue"]["content"]
    status, content, headers = await fetch_file(forge.nobody, url)
    assert (status, content, headers["Content-Type"]) == (200, PNG, "image/png")
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["X-Content-Type-Options"] == "nosniff"
    # The same file is stored only once.
    assert (await open_issue_with_file(nethack, name="cat.png"))[0] == 200
    assert len(list_stored(forge)) == 1


@pytest.mark.parametrize("path", ADDRESSES)
async def test_a_file_is_served_below_the_path_of_its_project(forge: Forge, alice: Client, path: str) -> None:
    await four_projects(alice)
    await alice.post(f"{path}/options/update", issue_tracker="1")
    status, body = await open_issue_with_file(alice, path=path[1:])
    url = file_path("cat.png", path=path[1:])
    assert (status, body["issue"]["content"]) == (200, f"Look: [![cat.png]({url})]({url})")
    for each in ADDRESSES:
        status, content, _ = await fetch_file(forge.nobody, file_path("cat.png", path=each[1:]))
        assert (status, content == PNG) == ((200, True) if each == path else (404, False))


async def test_a_file_without_a_placeholder_in_the_text_is_not_stored(forge: Forge, nethack: Client) -> None:
    status, body = await open_issue_with_file(nethack, "No picture")
    assert (status, body["issue"]["content"], list_stored(forge)) == (200, "No picture", [])


@pytest.mark.parametrize("fields", [{"title": " "}, {"assignee": "ghost"}, {"priority": "9"}])
async def test_a_refused_issue_leaves_no_file(forge: Forge, nethack: Client, fields: dict[str, str]) -> None:
    assert (await open_issue_with_file(nethack, **fields))[0] == 400
    assert list_stored(forge) == []
    assert (await open_issue_with_file(nethack))[0] == 200
    assert (await open_issue_with_file(nethack, **fields))[0] == 400
    assert len(list_stored(forge)) == 1  # another issue has the same file


async def test_a_file_that_is_too_large_is_refused(forge: Forge, nethack: Client) -> None:
    status, body = await open_issue_with_file(nethack, body=b"x" * (5 << 20))
    assert (status, body["error_code"]) == (413, "ENOCODE")
    assert list_stored(forge) == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("page.html", "page.html"), ("drawing.svg", "drawing.svg"), ("../../etc/passwd", "etc_passwd"),
        ("...", "file"), ("a)](javascript:x).txt", "ajavascriptx.txt"), ("Käse bild.PNG.xhtml", "Kase_bild.PNG.xhtml"),
        ("x" * 300 + ".pdf", "x" * 96 + ".pdf"),
    ],
)  # fmt: skip
async def test_other_files_are_downloaded_under_a_safe_name(
    forge: Forge, nethack: Client, name: str, kept: str
) -> None:
    body = b"<script>alert(1)</script>"
    status, issue = await open_issue_with_file(nethack, name=name, body=body)
    url = file_path(kept, body)
    assert (status, issue["issue"]["content"]) == (200, f"Look: [![{kept}]({url})]({url})")
    status, content, headers = await fetch_file(forge.nobody, url)
    assert (status, content, headers["Content-Type"]) == (200, body, "application/octet-stream")
    assert headers["Content-Disposition"] == f'attachment; filename="{kept}"'


async def test_files_of_private_projects_are_hidden(forge: Forge, alice: Client) -> None:
    await alice.post("/new", name="secret", description="d", private="1")
    status, body = await open_issue_with_file(alice, path="alice/secret")
    url = file_path("cat.png", path="alice/secret")
    assert (status, url in body["issue"]["content"]) == (200, True)
    status, content, headers = await fetch_file(alice, url)
    assert (status, content, headers["Cache-Control"]) == (200, PNG, "private, max-age=3600")
    bob = await forge.user("bob")
    for stranger in (bob, forge.nobody, Client(forge, "stale", "nobody")):
        assert (await fetch_file(stranger, url))[:2] == (404, b"Project not found\n")


async def test_a_file_of_a_private_issue_is_served_to_those_who_see_the_issue(forge: Forge, nethack: Client) -> None:
    bob, url = await forge.user("bob"), file_path("cat.png")
    assert (await open_issue_with_file(bob, private="1"))[0] == 200
    elsewhere = await forge.user("carol")
    await elsewhere.post("/new", name="angband", description="d")
    for client in (bob, nethack, forge.admin):
        status, content, headers = await fetch_file(client, url)
        assert (status, content, headers["Cache-Control"]) == (200, PNG, "private, max-age=3600")
    await bob.post("/new", name="moria", description="d")
    for stranger in (forge.nobody, elsewhere, await bob.limited(project="moria")):
        assert (await fetch_file(stranger, url))[0] == 404
    # Mentioning a file in a text gives no access to it.
    await elsewhere.post("/nethack/new_issue", title="t", issue_content=f"See {url}")
    assert (await fetch_file(elsewhere, url))[0] == 404
    assert (await open_issue_with_file(bob))[0] == 200
    status, _, headers = await fetch_file(forge.nobody, url)
    assert (status, headers["Cache-Control"]) == (200, "public, max-age=3600")


async def test_files_are_hidden_while_the_tracker_is_disabled(forge: Forge, nethack: Client) -> None:
    await open_issue_with_file(nethack)
    for wanted, status in (("false", 404), ("true", 200)):
        await nethack.post("/nethack/options/update", issue_tracker=wanted)
        found, content, _ = await fetch_file(nethack, file_path("cat.png"))
        assert (found, content) == (status, PNG if status == 200 else b"Issue tracker disabled\n")


async def test_unknown_files_are_not_found(forge: Forge, nethack: Client) -> None:
    await open_issue_with_file(nethack)
    digest = hashlib.sha256(PNG).hexdigest()
    await nethack.post("/new", name="other", description="d")
    for path in (
        f"/nethack/issue/raw/files/{digest}", f"/nethack/issue/raw/files/{digest}-dog.png",
        f"/nethack/issue/raw/files/{'0' * 64}-cat.png", "/nethack/issue/raw/files/..%2f..%2fetc%2fpasswd",
        f"/nethack/issue/raw/files/%00{digest}-cat.png", f"/other/issue/raw/files/{digest}-cat.png",
    ):  # fmt: skip
        assert (await fetch_file(nethack, path))[0] == 404, path


async def test_files_are_deleted_with_their_project(forge: Forge, nethack: Client) -> None:
    await open_issue_with_file(nethack)
    bound = await nethack.limited(project="nethack")
    assert (await bound.post("/nethack/delete"))[0] == 200
    await forge.idle()
    assert list_stored(forge) == []
    assert (await fetch_file(nethack, file_path("cat.png")))[0] == 404


async def test_a_file_is_stored_completely_or_not_at_all(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        await asyncio.to_thread(attachments.store, tmp_path, 1, "cat.png", PNG)
    assert [each for each in tmp_path.glob("*/*/*") if each.is_file()] == []
