"""Hostile input: it is answered with an error of the contract, never with a 500, and changes nothing."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import strategies as st

from app.git import store
from tests.conftest import Client, Forge
from tests.nasty import bodies, for_all, media, nasty, percent, sane, segments, structures, vary
from tests.pagure import trackers
from tests.raw import PUSH, Stranger, Text

# aiohttp warns of headers that it ignores, Python of invalid escapes.
pytestmark = [
    pytest.mark.filterwarnings("ignore::aiohttp.BadContentDispositionHeader", "ignore::DeprecationWarning"),
    pytest.mark.slow,
]


@pytest.fixture
def stranger(forge: Forge, nethack: Client) -> Stranger:
    return Stranger(forge, nethack)


@pytest.fixture
def admin(forge: Forge) -> Stranger:
    return Stranger(forge, forge.admin)


# ---------------------------------------------------------------- generated input


def is_true(text: str) -> bool:
    return text not in ("", "0", "false", "False")


async def test_any_project_name_is_refused_or_stored_unchanged(forge: Forge, stranger: Stranger) -> None:
    root = forge.settings.repositories

    async def check(fields: dict[str, str], as_json: bool) -> None:
        answer = await (stranger.json if as_json else stranger.form)("/api/0/new", fields)
        known = await forge.db.fetch("select project_id from projects")
        assert {store.repository_path(root, row["project_id"]) for row in known} == set(root.glob("*/*"))
        assert {place.name for place in forge.settings.data.iterdir()} == {
            root.name,
            forge.settings.attachments.name,
            forge.settings.key_file.name,
        }
        if answer.status != 200:
            return
        spaces = "alice/" if is_true(fields["private"]) else "rpms/" if fields["namespace"].strip() else ""
        path = spaces + quote(fields["name"])
        shown = await stranger("GET", f"/api/0/{path}")
        assert (shown.json["name"], shown.json["description"]) == (fields["name"], fields["description"])
        assert (await stranger("GET", f"/{path}.git/info/refs?service=git-upload-pack")).status == 200
        branches = (await stranger("GET", f"/api/0/{path}/git/branches")).json
        main = fields["default_branch"].strip() or "main"
        assert branches["branches"] == ([main] if is_true(fields["create_readme"]) else [])
        assert (await stranger("GET", "/api/0/projects?per_page=100")).status == 200

    fields = {
        "name": sane, "description": st.just("d"), "namespace": st.sampled_from(["", "rpms"]), "default_branch": sane,
        "avatar_email": st.just(""), "url": st.just(""), "create_readme": st.just("1"),
        "private": st.sampled_from(["", "1"]),
    }  # fmt: skip
    await for_all(check, 120, fields=vary(fields), as_json=st.booleans())


FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "nethack/git/modifyacls": {
        "user_type": st.sampled_from(["user", "group"]), "name": st.just("admin"), "acl": st.just("commit"),
    },
    "nethack/options/update": {"always_merge": nasty, "Web-hooks": nasty, "color": nasty},
    "nethack/watchers/update": {"watcher": st.just("alice"), "status": st.just("1")},
    "nethack/git/generateacls": {"wait": nasty},
    "nethack/token/new": {"acls": st.just("commit"), "expiration_date": nasty, "description": nasty},
    "nethack/tags/new": {"tag": sane, "tag_color": nasty, "tag_description": nasty},
    "group/hackers/add": {"user": st.just("admin")},
    "group/hackers/remove": {"user": st.just("admin")},
}  # fmt: skip


async def test_any_change_of_a_project_or_group_is_refused_or_done(stranger: Stranger) -> None:
    await stranger.json("/v1/groups", {"name": "hackers"})

    async def check(path: str, fields: dict[str, str], as_json: bool) -> None:
        answer = await (stranger.json if as_json else stranger.form)(f"/api/0/{path}", fields)
        assert answer.status == 200 or answer.json["error_code"], path
        for shown in ("nethack", "nethack/options", "nethack/tags", "nethack/watchers", "nethack/connector"):
            assert (await stranger("GET", f"/api/0/{shown}")).status == 200

    for path, fields in FIELDS.items():
        await for_all(check, 30, path=st.just(path), fields=vary(fields), as_json=st.booleans())


async def test_any_input_for_a_tracker_is_refused_or_stored(stranger: Stranger) -> None:
    async def check(fields: dict[str, Any]) -> None:
        answer = await stranger.json("/v1/projects/nethack/tracker", fields, "PATCH")
        assert answer.status in (200, 400, 404, 422)
        assert (await stranger("GET", "/api/0/nethack")).status == 200

    texts = st.lists(nasty, max_size=2)
    fields = {
        "milestones": st.dictionaries(nasty, st.fixed_dictionaries({"date": nasty}), max_size=2),
        "milestones_keys": texts, "close_status": texts, "default_priority": nasty,
        "priorities": st.dictionaries(st.just("1"), nasty), "tags": st.dictionaries(nasty, st.just({}), max_size=2),
        "custom_keys": st.lists(st.tuples(nasty, st.just("text")), max_size=2),
    }  # fmt: skip
    await for_all(check, 100, fields=vary(fields, structures))


async def test_any_input_for_a_board_is_refused_or_stored(stranger: Stranger) -> None:
    await stranger.json("/api/0/nethack/tags/new", {"tag": "dev", "tag_color": "red"})
    await stranger.json("/api/0/nethack/new_issue", {"title": "t", "issue_content": "c"})
    await stranger.json("/api/0/nethack/boards", {"dev": {"tag": "dev"}})
    status = {
        "rank": st.integers(), "default": st.just(True), "bg_color": nasty, "close": st.booleans(),
        "close_status": nasty,
    }  # fmt: skip
    bodies = {
        "": st.dictionaries(nasty, vary({"tag": st.just("dev"), "active": nasty}, structures), max_size=2)
        .map(lambda boards: {**boards, "dev": {"tag": "dev"}}),
        "/delete": st.fixed_dictionaries({"name": st.lists(nasty, max_size=2)}),
        "/dev/status": st.dictionaries(nasty | st.just("Done"), vary(status, structures), max_size=2),
        "/dev/add_issue": st.dictionaries(
            nasty | st.just("1"), vary({"status": nasty, "rank": st.integers()}, structures), max_size=2
        ),
    }  # fmt: skip

    async def check(path: str, body: Any) -> None:
        answer = await stranger.json(f"/api/0/nethack/boards{path}", body)
        assert answer.status == 200 or answer.json["error_code"] in ("EINVALIDREQ", "ENOCODE")
        listed = (await stranger("GET", "/api/0/nethack/boards")).json["boards"]
        assert all(sum(status["default"] for status in board["status"]) <= 1 for board in listed)
        assert (await stranger("GET", "/api/0/nethack/issue/1")).status == 200

    for path, body in bodies.items():
        await for_all(check, 60, path=st.just(path), body=body | structures)


@pytest.mark.parametrize("place", ["user/{}", "user/{}/issues", "group/{}", "nethack/tag/{}", "users?pattern={}"])
async def test_any_name_of_a_user_group_or_tag_in_a_path_is_answered(stranger: Stranger, place: str) -> None:
    async def check(name: str) -> None:
        assert (await stranger("GET", "/api/0/" + place.format(name))).status in (200, 308, 400, 404)

    await for_all(check, 60, name=segments)


async def test_any_issue_is_refused_or_stored_unchanged(stranger: Stranger) -> None:
    async def check(fields: dict[str, str], remark: str, as_json: bool) -> None:
        post = stranger.json if as_json else stranger.form
        answer = await post("/api/0/nethack/new_issue", fields)
        if answer.status != 200:
            return
        issue = answer.json["issue"]
        commented = await post(f"/api/0/nethack/issue/{issue['id']}/comment", {"comment": remark})
        shown = (await stranger("GET", f"/api/0/nethack/issue/{issue['id']}")).json
        assert (shown["title"], shown["content"]) == (fields["title"], fields["issue_content"])
        assert shown["tags"] == sorted({tag.strip() for tag in fields["tag"].split(",")} - {""})
        assert [each["comment"] for each in shown["comments"]] == ([remark] if commented.status == 200 else [])
        assert (await stranger("GET", "/api/0/nethack/issues")).json["issues"][0]["title"] == fields["title"]

    text = st.just("text")
    fields = {name: text for name in ("title", "issue_content", "tag")}
    fields |= {name: st.just("") for name in ("assignee", "milestone", "priority", "private")}
    await for_all(check, 150, fields=vary(fields), remark=nasty, as_json=st.booleans())


async def test_any_change_of_an_issue_is_refused_or_shown_unchanged(forge: Forge, nethack: Client) -> None:
    tracker = await trackers.make_tracker(forge, nethack)
    await tracker.issue()
    stranger = Stranger(forge, tracker.alice)
    base = "/api/0/nethack/issue/1"

    async def check(change: tuple[str, dict[str, str]], name: str, value: str, as_json: bool) -> None:
        path, fields = change
        post = stranger.json if as_json else stranger.form
        await post(base + path, fields)
        await post(f"{base}/custom/{quote(name, safe='', errors='replace')}", {"value": value})
        await post(f"{base}/custom", {"reviewer": value, name: value})
        set_ = await post(f"{base}/custom/reviewer", {"value": value})
        shown = (await stranger("GET", base)).json
        if set_.status == 200:
            assert [each["value"] for each in shown["custom_fields"] if each["name"] == "reviewer"] == [value][
                : len(value)
            ]
        assert (await stranger("GET", "/api/0/nethack/issues?status=all")).json["issues"] == [shown]

    changes = st.sampled_from(sorted(trackers.FORMS)).flatmap(
        lambda path: st.tuples(st.just(path), vary({key: st.just(each) for key, each in trackers.FORMS[path].items()}))
    )
    await for_all(check, 60, change=changes, name=nasty, value=nasty, as_json=st.booleans())


async def test_any_query_of_a_listing_is_answered_or_refused(forge: Forge, stranger: Stranger) -> None:
    await forge.admin.post("/nethack/new_issue", title="t", issue_content="c", tag="a,b")
    paths = {
        "/api/0/nethack/issues": "page per_page since status priority order tags author assignee no_stones query_id",
        "/api/0/projects": "page per_page pattern tags username owner namespace fork short",
        "/api/0/nethack/git/branches": "with_commits",
        "/api/0/nethack/issue/1": "comments",
        "/v1/events": "after limit types project actor cursor",
        "/v1/users/alice/tokens": "limit cursor after",
        "/v1/tasks/" + "0" * 32: "wait after",
        "/nethack.git/info/refs": "service",
    }
    asked = st.sampled_from(sorted(paths)).flatmap(
        lambda path: st.tuples(
            st.just(path),
            st.lists(st.tuples(st.sampled_from([*paths[path].split(), "color"]), nasty | percent), max_size=3),
        )
    )

    async def check(asked: tuple[str, list[tuple[str, str]]], quoted: bool) -> None:
        path, values = asked
        query = (
            urlencode(values, errors="surrogatepass")
            if quoted
            else "&".join(f"{k}={quote(v, safe='%', errors='replace')}" for k, v in values)
        )
        await stranger("GET", f"{path}?{query}")

    await for_all(check, 250, asked=asked, quoted=st.booleans())


async def test_any_path_is_answered_in_its_dialect(stranger: Stranger) -> None:
    tails = [
        "", "/", "/info/refs?service=git-upload-pack", "/info/refs?service=git-receive-pack", "/git-upload-pack",
        "/git-receive-pack", "/info/refs?service=--help", ".git/info/refs?service=git-upload-archive", "?%00", "?%ff",
    ]  # fmt: skip

    async def check(method: str, start: str, parts: list[str], tail: str, token: bool) -> None:
        await stranger(method, f"{start}{'/'.join(parts)}{tail}", token=token)

    await for_all(
        check,
        300,
        method=st.sampled_from(["GET", "POST", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE"]),
        start=st.sampled_from(["/api/0/", "/v1/", "/", "//"]),
        parts=st.lists(segments, min_size=1, max_size=5),
        tail=st.sampled_from(tails),
        token=st.booleans(),
    )


async def test_any_body_is_accepted_or_refused(admin: Stranger, nethack: Client) -> None:
    targets = [
        "/api/0/new", "/api/0/fork", "/api/0/nethack/new_issue", "/api/0/nethack/issue/1/comment", "/v1/users",
        "/v1/users/alice/tokens", "/nethack.git/git-upload-pack", "/nethack.git/git-receive-pack", "/api/0/-/whoami",
    ]  # fmt: skip

    async def check(target: str, content: Text, body: Text, packed: str) -> None:
        await admin(
            "POST", target, ("Content-Type", content), *([("Content-Encoding", packed)] if packed else []), body=body
        )

    await for_all(check, 300, target=st.sampled_from(targets), content=media, body=bodies,
                  packed=st.sampled_from(["", "", "", "gzip", "deflate", "br", "nonsense"]))  # fmt: skip


async def test_any_input_for_native_fields_is_refused_by_name_or_stored(forge: Forge, admin: Stranger) -> None:
    async def check(user: dict[str, Any], token: dict[str, Any]) -> None:
        made = await admin.json("/v1/users", user)
        if made.status == 201:
            assert {name: made.json[name] for name, value in user.items() if value is not None}.items() <= user.items()
            assert (await admin("GET", f"/v1/users/{quote(user['username'])}")).json == made.json
        issued = await admin.json("/v1/users/admin/tokens", token)
        if issued.status == 201:
            assert {name: issued.json[name] for name in ("description", "acls")} == {
                "description": token["description"],
                "acls": token["acls"],
            }
            assert (await admin("DELETE", f"/v1/tokens/{issued.json['id']}")).status == 204

    username = st.from_regex(r"\A[a-z]{8}\Z")
    user = {
        "username": username,
        "email": username.map(lambda name: f"{name}@example.org"),
        "fullname": st.just("N"),
    }
    token = {
        "description": st.just("d"), "acls": st.none() | st.lists(st.sampled_from(["commit", "fork_project"])),
        "project": st.none(), "expires_at": st.none() | st.datetimes().map(lambda at: at.isoformat() + "Z"),
    }  # fmt: skip
    odd = structures | st.datetimes(timezones=st.timezones()).map(lambda at: at.isoformat())
    await for_all(check, 150, user=vary(user, structures), token=vary(token, odd))


async def test_any_credentials_are_accepted_or_refused(stranger: Stranger) -> None:
    schemes = st.sampled_from(
        ["", "token ", "TOKEN", "Bearer ", "Basic ", "Basic Og==", "Digest ", "token token ", "pf_"]
    )
    junk = st.binary(max_size=40).map(lambda each: each.replace(b"\r", b"").replace(b"\n", b""))
    targets = ["/api/0/-/whoami", "/api/0/new", "/v1/users", "/v1/users/alice/tokens", "/nethack.git/git-receive-pack"]

    async def check(scheme: str, junk: bytes, target: str) -> None:
        header = ("Authorization", scheme.encode() + junk)
        answer = await stranger("POST", target, header, PUSH, body="0000", token=False)
        assert answer.status in (400, 401)
        assert answer.status == 400 or "token" in answer.body.decode().lower() or "credentials" in answer.body.decode()

    await for_all(check, 150, scheme=schemes, junk=junk, target=st.sampled_from(targets))
