"""Hostile input for code, files, pull requests and plugins: it is refused or accepted, and nothing breaks."""

import gc
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st

from tests.conftest import Client, Forge, git
from tests.nasty import for_all, nasty, percent, sane, segments, structures, vary
from tests.raw import Stranger

pytestmark = [
    pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader", "ignore::DeprecationWarning"),
    pytest.mark.slow,
]

BOUNDARY = b"b0undary"
MULTIPART = ("Content-Type", b"multipart/form-data; boundary=" + BOUNDARY)


@pytest.fixture
def stranger(forge: Forge, nethack: Client) -> Stranger:
    return Stranger(forge, nethack)


@pytest.fixture
def repo_path(forge: Forge, nethack: Client) -> Path:
    """The path of the only repository."""
    [found] = forge.settings.repositories.glob("*/*")
    return found


@pytest.fixture
async def head(repo_path: Path) -> str:
    return (await git("rev-parse", "main", cwd=repo_path)).strip()


def ref_forms(head: str) -> dict[str, dict[str, st.SearchStrategy[Any]]]:
    """Forms that move refs, by the end of the path."""
    name = sane | st.sampled_from(["main", "a/b", "stands-for-main"])
    return {
        "git/branch": {"branch": name, "from_branch": st.just("main")},
        "git/branch?": {"branch": name, "from_commit": st.just(head)},
        "git/tags": {
            "tagname": name, "commit_hash": st.just(head), "message": nasty, "force": st.sampled_from(["", "1"]),
        },
        "git/branches": {"branch_name": name},
        "git/alias/new": {"alias_from": name, "alias_to": st.just("main")},
        "git/alias/drop": {"alias_from": name, "alias_to": st.just("main")},
    }  # fmt: skip


REFS_REFUSED = ("EINVALIDREQ", "EGITERROR", "EBRANCHNOTFOUND", "ENOCODE")


async def test_the_api_agrees_with_the_disk_after_any_change_of_refs(
    stranger: Stranger, repo_path: Path, head: str
) -> None:
    async def check(path: str, fields: dict[str, str], as_json: bool) -> None:
        answer = await (stranger.json if as_json else stranger.form)(f"/api/0/nethack/{path}", fields)
        assert answer.status == 200 or answer.json["error_code"] in REFS_REFUSED, answer
        branches = (await stranger("GET", "/api/0/nethack/git/branches")).json["branches"]
        tags = (await stranger("GET", "/api/0/nethack/git/tags")).json["tags"]
        there = await git("for-each-ref", "--format=%(refname)", "refs/heads/", "refs/tags/", cwd=repo_path)
        shown = [f"refs/heads/{name}" for name in branches] + [f"refs/tags/{name}" for name in tags]
        assert sorted(shown) == sorted(there.splitlines())
        await git("fsck", "--strict", cwd=repo_path)
        aliases = (await stranger("GET", "/api/0/nethack/git/alias")).json
        assert {*aliases, *aliases.values()} <= {f"refs/heads/{name}" for name in branches}

    for path, fields in ref_forms(head).items():
        await for_all(check, 30, path=st.just(path), fields=vary(fields), as_json=st.booleans())
        await for_all(check, 15, path=st.just(path), fields=vary(fields, structures), as_json=st.just(True))


PATHS = [
    "/api/0/nethack/tree/{}", "/api/0/nethack/tree/main/f/{}", "/api/0/fork/alice/rpms/nethack/tree/{}",
    "/api/0/nethack/c/{}/info", "/api/0/nethack/c/{}/flag", "/api/0/nethack/issue/{}/comment/{}",
    "/api/0/nethack/pull-request/{}", "/api/0/nethack/pull-request/{}/comment/{}", "/api/0/pull-requests/{}",
    "/api/0/nethack/pull-request/{}/diffstats", "/nethack/raw/{}", "/nethack/raw/main/f/{}",
    "/nethack/pull-request/{}.patch", "/nethack/pull-request/{}.diff", "/nethack/issue/raw/files/{}",
    "/nethack/issue/raw/files/" + "0" * 64 + "-{}", "/api/0/user/alice/activity/{}", "/api/0/task/{}/status",
]  # fmt: skip


async def test_any_path_in_a_repository_is_found_or_not_found(stranger: Stranger) -> None:
    named = st.lists(segments | nasty.map(lambda name: quote(name, errors="replace")), min_size=1, max_size=3)

    async def check(template: str, names: list[str]) -> None:
        target = template.format(*("/".join(names) for _ in range(template.count("{}"))))
        assert (await stranger("GET", target)).status in (200, 308, 400, 404), target

    await for_all(check, 500, template=st.sampled_from(PATHS), names=named)


REQUESTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "pull-request/new": {
        "title": nasty, "branch_to": st.just("main"), "branch_from": st.just("main"), "repo_from": st.just("nethack"),
        "repo_from_namespace": st.just(""), "repo_from_username": st.just(""), "initial_comment": nasty,
    },
    "pull-request/1": {"title": nasty, "initial_comment": nasty},
    "pull-request/1/comment": {
        "comment": nasty, "commit": st.just("0" * 40), "filename": nasty, "row": st.just("1"), "tree_id": nasty,
    },
    "pull-request/1/flag": {
        "username": nasty, "comment": nasty, "url": st.just("https://ci.example.org"), "status": st.just("success"),
        "percent": st.just("50"), "uid": st.just("u"),
    },
    "pull-request/1/assign": {"assignee": nasty},
    "pull-request/1/subscribe": {"status": nasty},
    "pull-request/1/close": {},
    "pull-request/1/reopen": {},
}  # fmt: skip


async def test_any_input_for_a_pull_request_is_refused_or_shown_unchanged(
    forge: Forge, nethack: Client, head: str
) -> None:
    stranger = Stranger(forge, await nethack.limited(project="nethack"))
    assert (await nethack.json("POST", "/api/0/nethack/git/branch", {"branch": "topic"}))[0] == 200
    await nethack.post("/nethack/pull-request/new", title="t", branch_to="main", branch_from="topic")
    await forge.idle()
    forms = {**REQUESTS, f"c/{head}/flag": REQUESTS["pull-request/1/flag"]}

    async def check(path: str, fields: dict[str, str], as_json: bool) -> None:
        answer = await (stranger.json if as_json else stranger.form)(f"/api/0/nethack/{path}", fields)
        assert answer.status == 200 or answer.json["error_code"] != "ENOREQ", answer
        await forge.idle()
        shown = (await stranger("GET", "/api/0/nethack/pull-request/1")).json
        if answer.status == 200 and path == "pull-request/1":
            assert {name: shown[name] for name in fields} == {name: text.strip() for name, text in fields.items()}
        if answer.status == 200 and path.endswith("comment"):
            assert shown["comments"][-1]["comment"] == fields["comment"]
        listed = (await stranger("GET", "/api/0/nethack/pull-requests?status=all&per_page=100")).json["requests"]
        assert [each for each in listed if each["id"] == 1] == [shown]

    for path, fields in forms.items():
        await for_all(
            check,
            40,
            path=st.just(path),
            fields=vary(fields, nasty) if fields else st.just({}),
            as_json=st.booleans(),
        )


PLUGINS_REFUSED = (
    "EINVALIDREQ", "ENOPLUGIN", "EPLUGINNOTINSTALLED", "EPLUGINCHANGENOTALLOWED", "ENOCODE", "ENOPROJECT",
)  # fmt: skip


async def test_any_input_for_a_plugin_is_refused_or_stored(stranger: Stranger) -> None:
    names = ["IRC", "Mail", "Mirroring", "Pagure CI", "Read the Doc", "Block non fast-forward pushes", "default"]
    texts = ["server", "port", "nick_pass", "mail_to", "target", "ci_type", "active_pr", "branches", "api_token"]
    fields = st.dictionaries(st.sampled_from(texts) | nasty, nasty | st.just("a@b.cc"), max_size=4)

    async def check(name: str, verb: str, fields: dict[str, str], as_json: bool) -> None:
        target = f"/api/0/nethack/settings/{quote(name, safe='', errors='replace')}/{verb}"
        answer = await (stranger.json if as_json else stranger.form)(target, fields)
        assert answer.status in (200, 308) or answer.json["error_code"] in PLUGINS_REFUSED, answer
        shown = (await stranger("GET", "/api/0/nethack/settings/plugins")).json
        assert shown["total_plugins"] == len(shown["plugins"])
        if answer.status == 200:
            has = {found: values for each in shown["plugins"] for found, values in each.items()}
            assert has.get(name) == (answer.json["plugin"] if verb == "install" else None)

    await for_all(
        check,
        200,
        name=st.sampled_from(names) | nasty,
        verb=st.sampled_from(["install", "install", "remove"]),
        fields=fields,
        as_json=st.booleans(),
    )


def part(name: bytes, content: bytes, *more: bytes) -> bytes:
    lines = [b"--" + BOUNDARY, b'Content-Disposition: form-data; name="' + name + b'"' + b"".join(more), b"", content]
    return b"\r\n".join(lines) + b"\r\n"


# aiohttp closes the files of a truncated form only when they are garbage collected.
@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
async def test_any_file_of_an_issue_is_stored_in_its_folder_or_refused(forge: Forge, stranger: Stranger) -> None:
    octet = st.binary(max_size=40) | nasty.map(lambda text: text.encode("utf-8", "surrogatepass"))
    before = sorted(each.name for each in forge.settings.data.iterdir())

    async def check(filename: bytes, media: bytes, content: bytes, head: bytes) -> None:
        named = b'; filename="' + filename + b'"\r\nContent-Type: ' + media + head
        body = part(b"title", b"t") + part(b"issue_content", b"<!!image>") + part(b"filestream", content, named)
        answer = await stranger("POST", "/api/0/nethack/new_issue", MULTIPART, body=body + b"--" + BOUNDARY + b"--\r\n")
        inside = {path.relative_to(forge.settings.data).parts[0] for path in forge.settings.data.rglob("*")}
        assert inside <= {*before, "attachments"}
        if answer.status == 200 and "<!!image>" not in answer.json["issue"]["content"]:
            address = answer.json["issue"]["content"].rpartition("(")[2].rstrip(")")
            assert (await stranger("GET", address)).status == 200

    heads = st.sampled_from([
        b"", b"\r\nContent-Transfer-Encoding: base64", b"\r\nContent-Transfer-Encoding: x",
        b"\r\nContent-Encoding: gzip", b"\r\nContent-Length: 9", b"\r\n: x",
    ])  # fmt: skip
    await for_all(check, 200, filename=octet, media=octet, content=octet, head=heads)
    gc.collect()


QUERIES = {
    "/api/0/nethack/hascommit": "user branch",
    "/api/0/nethack/git/tags": "with_commits",
    "/api/0/nethack/pull-requests": "page per_page status assignee author tags",
    "/api/0/nethack/issues/history/detailed_stats": "weeks_range",
    "/api/0/nethack/tags": "pattern",
    "/api/0/nethack": "expand_group",
    "/api/0/user/alice": "repopage forkpage per_page",
    "/api/0/user/alice/issues": "status tags milestones no_stones since order order_key assignee author created "
    "updated closed page per_page",
    "/api/0/user/alice/requests/filed": "status created updated closed page per_page",
    "/api/0/user/alice/requests/actionable": "status created updated closed page per_page",
    "/api/0/user/alice/activity/stats": "format tz",
    "/api/0/user/alice/activity/2020-02-02": "grouped tz",
    "/api/0/users": "pattern",
    "/api/0/groups": "pattern extended page per_page",
    "/api/0/group/hackers": "projects acl page per_page",
}


async def test_any_query_of_the_other_listings_is_answered_or_refused(stranger: Stranger) -> None:
    await stranger.json("/v1/groups", {"name": "hackers"})
    dates = st.sampled_from(["2020-02-02", "..2020-02-02", "2020-13-01..", "1..2", "..", "0001-01-01", "9999-12-31.."])
    value = (nasty | dates).map(lambda text: quote(text, safe="", errors="replace")) | percent

    async def check(path: str, asked: list[tuple[str, str]]) -> None:
        answer = await stranger("GET", f"{path}?{'&'.join('='.join(pair) for pair in asked)}")
        assert answer.status in (200, 400), (path, asked)

    for path, names in QUERIES.items():
        asked = st.lists(st.tuples(st.sampled_from([*names.split(), "color"]), value), max_size=3)
        await for_all(check, 40, path=st.just(path), asked=asked)
