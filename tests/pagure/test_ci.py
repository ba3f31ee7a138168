"""Builds that a Jenkins server reports, and that the forge asks it about."""

from io import BytesIO
from typing import Any

import pytest
import structlog
from aiohttp import web

from app.dialects.pagure import ci
from app.logs import log
from tests.conftest import Client, Forge
from tests.pagure.pulls import open_pull_request
from tests.receiver import Answer, Receiver

INVALID_TOKEN = (401, "EINVALIDTOK")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ci, "PAUSE", 0.01)


@pytest.fixture
async def address(nethack: Client, bob: Client, receiver: Receiver) -> str:
    """Where the CI server of alice's project reports builds; the project has a pull request."""
    await open_pull_request(bob)
    return await install(nethack, receiver, "nethack")


async def install(client: Client, receiver: Receiver, path: str) -> str:
    form = {"ci_type": "jenkins", "ci_url": receiver.url.removesuffix("/hook") + "/base/", "ci_job": "games/nethack"}
    assert (await client.post(f"/{path}/settings/Pagure CI/install", **form))[0] == 200
    token = (await client.pagure(f"/{path}/connector"))[1]["connector"]["ci_token"]
    return f"/api/0/ci/jenkins/{path.replace('fork/', 'forks/')}/{token}/build-finished"


def build(result: str | None, *, building: bool = False, note: Any = "1", url: str = "https://ci.example/7") -> Answer:
    body = {"actions": [{}, {"causes": [{"shortDescription": "x"}, {"note": note}]}], "building": building}

    async def respond(_: object) -> web.Response:
        return web.json_response({**body, "result": result, "url": url})

    return respond


async def report(client: Client, address: str, number: Any = 7, phase: Any = "FINALIZED") -> tuple[int, Any]:
    return await client.json("POST", address, {"name": "nethack", "build": {"number": number, "phase": phase}})


async def list_flags(client: Client) -> list[Any]:
    return list((await client.pagure("/nethack/pull-request/1/flag"))[1]["flags"])


async def test_a_build_flags_its_pull_request(forge: Forge, nethack: Client, address: str, receiver: Receiver) -> None:
    receiver.responses = [build(None, building=True)]
    assert await report(forge.nobody, address, phase="STARTED") == (204, None)
    [flag] = await list_flags(nethack)
    commit = flag["commit_hash"]
    shown = (flag["comment"], flag["status"], flag["percent"], flag["username"], flag["url"], flag["user"]["name"])
    pending = f"Build #7 in progress (commit: {commit[:8]})"
    assert shown == (pending, "pending", 0, "jenkins", "https://ci.example/7", "alice")
    receiver.responses = [build(None, building=True), build("SUCCESS")]
    assert await report(forge.nobody, address) == (204, None)
    [flag] = await list_flags(nethack)
    assert (flag["comment"], flag["status"], flag["percent"]) == (
        f"Build #7 successful (commit: {commit[:8]})", "success", 100,
    )  # fmt: skip
    receiver.responses = [build("FAILURE")]
    assert (await report(forge.nobody, address, 8))[0] == 204
    assert {each["status"] for each in await list_flags(nethack)} == {"success", "failure"}
    asked = receiver.received[-1]
    assert asked.path == "/base/job/games/job/nethack/8/api/json"
    assert "authorization" not in asked.headers


async def test_the_token_in_the_path_is_not_logged(forge: Forge, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = BytesIO()
    logger = structlog.make_filtering_bound_logger(0)(
        structlog.BytesLogger(written), [lambda _, __, line: repr(line).encode()], {}
    )
    monkeypatch.setattr(log, "bind", lambda **_: logger)
    token = address.split("/")[-2]
    for path in (
        address,
        address + "?x=1",
        address.replace(token, token + "%41"),
        address.replace("/nethack/", "/x/y/z/"),
    ):
        await report(forge.nobody, path, 0)
    assert b"/***/build-finished" in written.getvalue()
    assert token.encode() not in written.getvalue()


async def test_only_the_projects_own_token_is_accepted(
    forge: Forge, nethack: Client, bob: Client, address: str, receiver: Receiver
) -> None:
    of_fork = await install(bob, receiver, "fork/bob/nethack")
    token, other = address.split("/")[-2], of_fork.split("/")[-2]
    for wrong in (token[:-1], token.lower(), other, "x", "%00", "é"):
        status, body = await report(forge.nobody, address.replace(token, wrong))
        assert (status, body["error_code"]) == INVALID_TOKEN, wrong
    status, body = await report(forge.nobody, address.replace("/nethack/", "/missing/"))
    assert (status, body["error_code"]) == (404, "ENOPROJECT")
    receiver.responses = [build("SUCCESS")]
    status, body = await report(forge.nobody, of_fork)
    assert (status, body["error"]) == (400, "Request not found")
    assert receiver.received[-1].path.startswith("/base/job/games")
    assert (await nethack.post("/nethack/settings/Pagure CI/remove"))[0] == 200
    assert "ci_token" not in (await nethack.pagure("/nethack/connector"))[1]["connector"]
    status, body = await report(forge.nobody, address)
    assert (status, body["error_code"]) == INVALID_TOKEN
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("number", "phase"),
    [(None, "FINALIZED"), ("7", "FINALIZED"), (0, "FINALIZED"), (2**40, "FINALIZED"), (7, None), (7, "QUEUED"), (7, 7)],
)
async def test_a_report_that_names_no_build_is_refused(
    forge: Forge, address: str, receiver: Receiver, number: Any, phase: Any
) -> None:
    status, body = await report(forge.nobody, address, number, phase)
    assert (status, body["error_code"]) == (400, "EINVALIDREQ")
    for broken in (b"{", b"[]", b"", b'{"build": []}'):
        status, body = await forge.nobody.request("POST", address, data=broken)
        assert (status, body["error_code"]) == (400, "EINVALIDREQ")
    assert receiver.received == []


async def test_what_the_server_says_may_be_anything(
    forge: Forge, nethack: Client, address: str, receiver: Receiver
) -> None:
    async def garbage(_: object) -> web.Response:
        return web.Response(body=b"\xff")

    for answer, message in (
        (404, "Could not find build 7"), (500, "The CI server cannot be asked: rejected"),
        (garbage, "The CI server cannot be asked: malformed"),
        (build("SUCCESS", note="x"), "No corresponding PR found"),
        (build("SUCCESS", note=[1]), "No corresponding PR found"), (build("SUCCESS", note=5), "Request not found"),
        (build("ODD"), "Unknown build status"), (build(None), "Unknown build status"),
    ):  # fmt: skip
        receiver.responses = [answer]  # type: ignore[list-item]
        status, body = await report(forge.nobody, address)
        assert (status, body["error_code"], body["error"]) == (400, "ENOCODE", message)
    assert await list_flags(nethack) == []
    receiver.responses = [build("SUCCESS", url="https://user:canary@ci.example/7")]
    assert (await report(forge.nobody, address))[0] == 204
    assert [flag["url"] for flag in await list_flags(nethack)] == [""]
