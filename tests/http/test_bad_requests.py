"""The worst bad input, case by case."""

import asyncio
import gzip
import secrets
import time
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import Client, Forge, git
from tests.raw import FETCH, FORM, PUSH, Stranger, Text, send

READABLE = ["/api/0/nethack/issues", "/v1/events", "/nethack.git/info/refs?service=git-upload-pack", "/no/such/page"]
HEADERS: list[tuple[Text, Text]] = [
    ("Host", "a b"), ("Host", "x:99999"), ("Host", "x:y"), ("Host", "[::1"), ("Host", b"\xff"), ("Host", "a@b"),
    ("Expect", "nonsense"), ("Content-Encoding", "br"), ("Transfer-Encoding", "nonsense"), ("Content-Length", "-1"),
    ("Content-Length", "9" * 30), ("Authorization", "token \x01"), ("X", "y" * 9000), ("a b", "c"),
]  # fmt: skip


@pytest.fixture
def stranger(forge: Forge, nethack: Client) -> Stranger:
    return Stranger(forge, nethack)


@pytest.fixture
def admin(forge: Forge) -> Stranger:
    return Stranger(forge, forge.admin)


async def test_an_invalid_header_is_refused_in_a_form_that_every_client_reads(stranger: Stranger) -> None:
    for header in HEADERS:
        for target in READABLE:
            answer = await stranger("GET", target, header, token=False)
            assert answer.status in (400, 413, 417, 431), header
            assert {"type", "title", "status", "instance", "error", "error_code"} == answer.json.keys()


async def test_a_request_that_is_not_http_is_refused_without_an_echo(forge: Forge) -> None:
    for line in (b"GET /\xff", b"GET", b"FOO /", b"\x16\x03\x01", b"GET http://[", b"GET http://x:99999/", b"GET \x00"):
        answer = await send(forge.settings.port, *line.partition(b" ")[::2])
        assert (answer.status, answer.json["title"]) == (400, "The request could not be read.")


async def test_a_body_that_cannot_be_decompressed_is_a_bad_request(admin: Stranger, nethack: Client) -> None:
    for target in ("/api/0/nethack/new_issue", "/v1/users", "/nethack.git/git-receive-pack"):
        for packed in ("gzip", "deflate"):
            media = PUSH if "git" in target else FORM
            assert (await admin("POST", target, media, ("Content-Encoding", packed), body="0000")).status == 400


@pytest.mark.parametrize("packed", ["gzip", "deflate"])
@pytest.mark.parametrize("content", ["plain", "cut", "damaged"])
async def test_a_fetch_that_cannot_be_decompressed_is_refused_before_the_answer_begins(
    admin: Stranger, nethack: Client, packed: str, content: str
) -> None:
    request = b"0014command=ls-refs\n0000"
    whole = gzip.compress(request) if packed == "gzip" else zlib.compress(request)
    body = {"plain": request, "cut": whole[: len(whole) // 2], "damaged": whole[:12] + b"\xff" * 9 + whole[21:]}[
        content
    ]
    headers = (FETCH, ("Content-Encoding", packed), ("Git-Protocol", "version=2"))
    assert (await admin("POST", "/nethack.git/git-upload-pack", *headers, body=body)).status == 400


@pytest.mark.parametrize("body", [b"", b"00", b"zzzz", b"0005", b"0032want " + b"0" * 40 + b"\n"])
@pytest.mark.parametrize("version", ["0", "2"])
async def test_a_fetch_that_git_cannot_read_is_refused_before_the_answer_begins(
    admin: Stranger, nethack: Client, body: bytes, version: str
) -> None:
    headers = (FETCH, ("Git-Protocol", f"version={version}"))
    answer = await admin("POST", "/nethack.git/git-upload-pack", *headers, body=body)
    assert answer.status == 400 or b"ERR " in answer.body, answer


async def test_a_head_request_for_the_refs_gets_no_body(forge: Forge, nethack: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", forge.settings.port)
    target = b"/nethack.git/info/refs?service=git-upload-pack"
    writer.write(b"HEAD " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert (head[:12], body) == (b"HTTP/1.1 200", b"")
    writer.close()


async def test_a_number_with_leading_zeros_can_be_too_large(stranger: Stranger) -> None:
    for name, value in (("after", "9" * 30), ("limit", "9" * 5000), ("wait", "٣"), ("color", "red")):
        answer = await stranger("GET", f"/v1/events?{name}={'0' * 20}{quote(value)}")
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, f"?{name}")


async def test_a_time_with_leading_zeros_can_be_out_of_range(stranger: Stranger) -> None:
    for since in ("0" * 20 + "9" * 20, "0" * 20 + "9" * 5000, "9" * 19):
        assert (await stranger("GET", f"/api/0/nethack/issues?since={since}")).json["error_code"] == "ETIMESTAMP"
    assert (await stranger("GET", "/api/0/nethack/issues?since=%D9%A3")).json["error_code"] == "EDATETIME"


async def test_a_number_with_too_many_digits_names_no_issue(stranger: Stranger) -> None:
    await stranger.form("/api/0/nethack/new_issue", {"title": "t", "issue_content": "c"})
    assert (await stranger("GET", "/api/0/nethack/issue/1")).status == 200
    assert (await stranger("GET", "/api/0/nethack/issue/0000000000000000000123")).json["error_code"] == "ENOISSUE"


async def test_a_body_of_the_wrong_shape_is_invalid_input(stranger: Stranger) -> None:
    part = "--b\r\nContent-Disposition: form-data; name=f"
    bodies = {
        "application/json": ['{"title":%s}' % ("[" * 300 + "]" * 300), '{"title":{"a":1}}', '{"title":"\\ud800"}'],
        "application/x-www-form-urlencoded": ["title=%ff&issue_content=c", "title=a&issue_content=c" + "&x=y" * 1000],
        "multipart/form-data; boundary=b": [
            "--b\r\nnonsense\r\n\r\nx\r\n--b--\r\n",
            "--b\r\nX: " + "y" * 9000 + "\r\n\r\nx\r\n--b--\r\n",
            part + "\r\nContent-Transfer-Encoding: x\r\n\r\nx\r\n--b--\r\n",
            part + "; filename=f\r\nContent-Encoding: gzip\r\n\r\nx\r\n--b--\r\n",
        ],
    }  # fmt: skip
    for media, each in bodies.items():
        for body in each:
            answer = await stranger("POST", "/api/0/nethack/new_issue", ("Content-Type", media), body=body)
            assert (answer.status, answer.json["error_code"]) == (400, "EINVALIDREQ"), body


async def test_a_tag_that_is_too_long_is_refused(stranger: Stranger) -> None:
    fields = {"title": "t", "issue_content": "c", "tag": "a, " + secrets.token_hex(5000)}
    answer = await stranger.form("/api/0/nethack/new_issue", fields)
    assert answer.json["errors"] == {"tag": ["Field cannot be longer than 255 characters."]}


@pytest.mark.parametrize(
    ("field", "value"), [("avatar_email", "a@" + "." * 300_000 + "@"), ("url", "http://" + "a." * 150_000 + "-")]
)
async def test_an_address_made_of_dots_is_refused_in_time(stranger: Stranger, field: str, value: str) -> None:
    started = time.monotonic()
    answer = await stranger.form("/api/0/new", {"name": "x", "description": "d", field: value})
    assert (answer.status, list(answer.json["errors"])) == (400, [field])
    assert time.monotonic() - started < 5


async def test_a_branch_that_cannot_be_stored_is_refused_at_once(stranger: Stranger) -> None:
    for branch in (
        "a" * 252,
        "ü" * 126,
        "a/" * 60 + "a",
        "-d",
        "HEAD",
        "a..b",
        "a b",
        "a\x7fb",
        "x.lock",
        "refs/heads/",
    ):
        fields = {"name": "x", "description": "d", "create_readme": "1", "default_branch": branch}
        answer = await stranger.form("/api/0/new", fields)
        assert answer.json["errors"] == {"default_branch": ["Invalid input."]}, branch


async def test_a_default_branch_may_have_a_long_name_but_not_that_of_a_whole_ref(
    stranger: Stranger, nethack: Client, tmp_path: Path
) -> None:
    for name, branch, status in (
        ("heads", "refs/heads/x", 400),
        ("tags", "refs/tags/x", 400),
        ("long", "a" * 250, 200),
    ):
        fields = {"name": name, "description": "d", "create_readme": "1", "default_branch": branch}
        assert (await stranger.form("/api/0/new", fields)).status == status
        if status == 400:
            continue
        await git("clone", "-q", nethack.git_url(name), str(tmp_path / name))
        assert (tmp_path / name / "README.md").exists()


async def test_a_ref_that_the_log_cannot_store_is_not_pushed(
    stranger: Stranger, nethack: Client, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    await git("clone", "-q", nethack.git_url("nethack"), str(work))
    before = await stranger.counts()
    for name in ("/".join(secrets.token_hex(100) for _ in range(14)), "a/" * 110 + "a"):
        output = await git("push", "origin", f"HEAD:refs/heads/{name}", cwd=work, fails=True)
        assert "(A ref of this name cannot be stored" in output
    assert await stranger.counts() == before
    await git("push", "-q", "origin", "HEAD:refs/heads/fine/ü\u202e", cwd=work)
    assert (await nethack.pagure("/nethack/git/branches"))[1]["branches"] == ["fine/ü\u202e", "main"]


async def test_a_malformed_push_is_refused_before_git_sees_it(stranger: Stranger) -> None:
    for body in ("", "nonsense", "-001", "00zz", "ffff", "0009push"):
        assert (await stranger("POST", "/nethack.git/git-receive-pack", PUSH, body=body)).status == 400


async def test_a_token_that_is_refused_leaves_no_secret(stranger: Stranger, admin: Stranger) -> None:
    for field, value, pointer in (
        ("expires_at", "9999-12-31T23:59:59-01:00", "/expires_at"),
        ("expires_at", "0001-01-01T00:00:00+01:00", "/expires_at"),
        ("expires_at", "tomorrow", "/expires_at"),
        ("acls", ["commit", "rm -rf"], "/acls"),
        ("acls", [1], "/acls"),
        ("a/b~c", 1, "/a~1b~0c"),
    ):
        answer = await stranger.json("/v1/users/alice/tokens", {"description": "d", field: value})
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, pointer)
    assert (await admin.json("/v1/users/nobody/tokens", {"description": "d"})).status == 404


async def test_writing_takes_no_parameters_in_the_query(stranger: Stranger) -> None:
    for method, target in (("POST", "/v1/users/alice/tokens?dry=1"), ("DELETE", f"/v1/tokens/{'0' * 32}?dry=1")):
        answer = await stranger.json(target, {"description": "d"}, method)
        assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "?dry")


async def test_the_escape_of_nul_as_text_is_accepted(stranger: Stranger) -> None:
    answer = await stranger.json("/v1/users/alice/tokens", {"description": r"\u0000", "project": "NetHack"})
    assert (answer.status, answer.json["description"], answer.json["project"]) == (201, r"\u0000", "nethack")


async def test_a_path_with_duplicate_slashes_redirects_to_the_same_host(stranger: Stranger) -> None:
    for asked, there in (
        ("/api/0//nethack", "/api/0/nethack"), ("//api/0/projects?x=//&y=%2F", "/api/0/projects?x=//&y=%2F"),
        ("//evil.example.org/%2e%2e//", "/evil.example.org/%2e%2e/"), ("////", "/"), ("/a//?", "/a/"),
        ("//\\evil.example.org//", "/%5Cevil.example.org/"), ("/%5C//a%20b", "/%5C/a%20b"), ("//%09/", "/%09/"),
    ):  # fmt: skip
        for method in ("GET", "POST"):
            answer = await stranger(method, asked, token=False)
            assert (answer.status, answer.headers["location"], answer.body) == (308, there, b""), asked


async def test_a_long_address_or_header_is_named(forge: Forge) -> None:
    for target in ("/api/0/projects?pattern=", "/v1/tasks?project=", "/nethack/raw/main/f/"):
        answer = await send(forge.settings.port, "GET", target + "a" * 9000)
        assert (answer.status, answer.json["error"]) == (414, "The address of the request is too long.")
        answer = await send(forge.settings.port, "GET", target, [("X-Long", "a" * 9000)])
        assert (answer.status, answer.json["error"]) == (431, "A header of the request is too long.")
