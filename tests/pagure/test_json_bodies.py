"""JSON bodies: unknown keys are ignored whatever they hold, and a byte order mark does not matter."""

import json
from codecs import BOM_UTF8
from typing import Any

import pytest

from tests.conftest import Client

STRANGE: list[Any] = [{}, {"a": 1}, [[]], [{"a": 1}], [1, {"b": []}], "a\x00b", ["a\x00"], None, True]
PATHS = {
    "/nethack/new_issue": {"title": "t", "issue_content": "c"},
    "/nethack/issue/1/comment": {"comment": "c"},
    "/nethack/issue/1/status": {"status": "Open"},
    "/nethack/options/update": {"issue_tracker": True},
    "/nethack/git/branch": {"branch": "b", "from_branch": "main"},
    "/nethack/tags/new": {"tag": "easy", "tag_color": "red"},
    "/nethack/watchers/update": {"status": 1, "watcher": "alice"},
    "/new": {"name": "other", "description": "d"},
    "/fork": {"repo": "nethack"},
}


async def post(client: Client, path: str, body: bytes) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    return await client.request("POST", f"/api/0{path}", data=body, headers=headers)


@pytest.fixture
async def issue(nethack: Client) -> Client:
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    return nethack


@pytest.mark.parametrize("path", list(PATHS))
async def test_an_unknown_key_is_ignored_whatever_it_holds(issue: Client, path: str) -> None:
    known = PATHS[path]
    unknown = {f"unknown-{number}": value for number, value in enumerate(STRANGE)}
    status, body = await post(issue, path, json.dumps({**unknown, **known, "a\x00b": "c"}).encode())
    assert status == 200, body


@pytest.mark.parametrize("path", list(PATHS))
async def test_a_known_key_has_to_hold_a_text(issue: Client, path: str) -> None:
    for value in ({}, [{}], "a\x00b"):
        for name in PATHS[path]:
            status, body = await post(issue, path, json.dumps({**PATHS[path], name: value}).encode())
            assert (status, body["error_code"]) in ((400, "EINVALIDREQ"), (400, "ENOCODE")), (name, value, body)


@pytest.mark.parametrize("path", list(PATHS))
async def test_json_may_begin_with_a_byte_order_mark(issue: Client, path: str) -> None:
    status, body = await post(issue, path, BOM_UTF8 + json.dumps(PATHS[path]).encode())
    assert status == 200, body


async def test_boards_and_the_native_api_take_a_byte_order_mark_too(nethack: Client) -> None:
    await nethack.post("/nethack/tags/new", tag="easy", tag_color="red", tag_description="d")
    board = BOM_UTF8 + json.dumps({"b": {"active": True, "tag": "easy"}}).encode()
    assert (await post(nethack, "/nethack/boards", board))[0] == 200
    token = BOM_UTF8 + json.dumps({"description": "d"}).encode()
    status, _ = await nethack.request("POST", "/v1/users/alice/tokens", data=token)
    assert status == 201
