"""Canaries in every text field of every route: what may be a secret is found nowhere but where it has to be.

The fields are those that the handlers read; a new one is planted as soon as it is there, and the test fails until it
either keeps the canary to itself or is declared as a public text.
"""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from app.dialects.native import requests as native
from app.dialects.pagure import forms
from app.dialects.pagure.plugins import NAMES as PLUGIN_NAMES
from app.dialects.pagure.settings import NAMES as OPTION_NAMES
from app.logs import log
from tests import routes
from tests.conftest import Client, Forge, git
from tests.pagure.pulls import open_pull_request, push_commit
from tests.receiver import Receiver
from tests.routes import Call

pytestmark = pytest.mark.slow

LOGIN, QUERY = "https://user:{}@canary.example/", "https://canary.example/?token={}"
CANARY = re.compile("canary[0-9]{4}x")
# Texts that are there to be read by everybody who may see the project, issue or user, or names, wherever they are.
PUBLIC = {
    "active", "assignee", "bg_color", "board", "branch", "branch_from", "branch_to", "branches", "ci_job",
    "close_status", "comment", "commit", "content", "description", "display_name", "filename", "fullname",
    "group_type", "hook", "initial_comment", "issue_content", "join", "mail_to", "milestone", "name", "nick",
    "note", "port", "priority", "reason", "room", "server", "ssl", "status", "tag", "tag_color", "tag_description",
    "tag_name", "title", "topics", "tree_id", "uid", "username",
}  # fmt: skip
PUBLIC_LINKS = {"url", "docs", "value", "ci_type"}  # they may be links with a query, but not with a login
# What refusals name to those who sent it, and what a reply shows once.
ECHOED = {"user", "from_branch", "from_commit", "types", "secret"}
ONLY_FOR_ADMINISTRATORS = {"Web-hooks"}  # shown by `options`, without a login
SANE = {
    "name": "new", "description": "d", "title": "t", "issue_content": "c", "comment": "c", "username": "CI",
    "initial_comment": "c", "status": "success", "url": "https://h.example/", "tag": "urgent", "tag_color": "red",
    "tag_description": "d", "acls": "commit", "mail_to": "a@b.example", "branch": "dev", "email": "x@example.org",
    "branch_from": "topic", "branch_to": "main", "repo_from": "nethack", "repo_from_username": "bob",
    "user_type": "user", "acl": "ticket", "repo": "nethack", "secret": "a-secret-of-text-alone", "format": "standard",
    "project": "nethack", "target": "https://h/", "Web-hooks": "https://h/",
}  # fmt: skip
LAST = ("delete", "drop", "remove", "close", "merge", "cancel", "PATCH /api/0/{P}")
NOT_PLANTED = ("/git-receive-pack", "/git-upload-pack")  # they read git's protocol, not fields
READ_AS_JSON = ("/boards", "/tracker")  # names and colors; tests/http/test_bad_input.py knows their shapes


class Probe(dict[str, Any]):
    """The fields of a form, which remembers for which ones it was asked."""

    asked: ClassVar[set[str]] = set()

    def get(self, name: str, default: Any = None) -> Any:
        Probe.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        Probe.asked.add(str(name))
        return super().__contains__(name)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the fields that handlers have asked for."""
    read_form, read_body, seen = forms.read_form, native.read_body, set[str]()

    async def read_probed_form(*arguments: Any, **options: Any) -> forms.Form:
        form = await read_form(*arguments, **options)
        form.fields = Probe(form.fields)
        return form

    async def read_probed_body(request: Any, fields: Any, required: Any) -> Any:
        seen.update(name for name, kind in fields.items() if kind in (str, list, dict))
        return await read_body(request, fields, required)

    monkeypatch.setattr(Probe, "asked", seen)
    monkeypatch.setattr(forms, "read_form", read_probed_form)
    monkeypatch.setattr(native, "read_body", read_probed_body)
    return seen


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> BytesIO:
    """What is logged, at every level."""
    written = BytesIO()
    logger = structlog.make_filtering_bound_logger(0)(
        structlog.BytesLogger(written), [structlog.processors.format_exc_info, _render], {}
    )
    monkeypatch.setattr(log, "bind", lambda **_: logger)
    return written


def _render(_: object, level: str, line: Any) -> bytes:
    return repr(line).encode()


def list_places() -> Iterator[tuple[Call, str]]:
    """Every writing route with one form of its address, those that destroy something last."""
    values = {
        "{P}": "nethack", "{path}": "nethack", "{issue}": "1", "{request}": "2", "{field}": "docs", "{group}": "crew",
        "{name}": "crew", "{username}": "alice", "{board}": "dev", "{tag}": "urgent",
        "{id}": "00000000-0000-0000-0000-000000000000",
    }  # fmt: skip
    calls = {(call.route.method, call.prefix + call.path): call for call in routes.list_calls()}
    found = [(f"{method} {path}", call) for (method, path), call in calls.items() if method in ("POST", "PATCH")]
    for line, call in sorted(found, key=lambda each: (any(word in each[0] for word in LAST), each[0])):
        path = line.partition(" ")[2]
        if path.endswith((*NOT_PLANTED, *READ_AS_JSON)) or "/boards/" in path:
            continue
        for plugin in PLUGIN_NAMES if "{plugin}" in path else [""]:
            place = path.replace("{plugin}", plugin)
            for placeholder, value in values.items():
                place = place.replace(placeholder, value)
            yield call, place


class Planter:
    """Sends canaries, and remembers where each was planted."""

    def __init__(self, clients: list[Client], asked: set[str]) -> None:
        self.clients = clients
        self.asked = asked
        self.planted: dict[str, tuple[str, str, str]] = {}
        self.replies: list[str] = []

    async def send(self, call: Call, place: str, fields: dict[str, str]) -> None:
        for client in self.clients:
            if "/api/0/" in place:
                answer = await client.request(call.route.method, place, data=fields)
            else:
                lists = {"types", "acls"}
                body = {key: [value] if key in lists else value for key, value in fields.items() if key != "acls"}
                body |= {"headers": {"X-Key": fields["headers"]}} if "headers" in fields else {}
                answer = await client.json(call.route.method, place, body)
            self.replies.append(f"{answer}")
            if answer[0] < 300:
                return

    async def plant(self, call: Call, place: str) -> None:
        """Find the fields of a route by asking for it, then plant a canary in each of them, alone."""
        names: set[str] = set(OPTION_NAMES) if place.endswith("options/update") else set()
        names |= {"docs", "note"} if place.endswith("/custom") else set()
        for _ in range(4):
            self.asked.clear()
            await self.send(call, place, {name: SANE[name] for name in names & SANE.keys()})
            if self.asked <= names:
                break
            names |= self.asked
        for name in sorted(names):
            for kind in (LOGIN, QUERY):
                canary = f"canary{len(self.planted):04}x"
                self.planted[canary] = (f"{call.route.method} {place}", name, kind)
                sane = {each: SANE[each] for each in names & SANE.keys()}
                if place == "/api/0/new" or place == "/v1/users":
                    sane |= {
                        "name": canary[:10] + "n",
                        "username": canary[:10] + "n",
                        "email": f"{canary[:10]}@b.example",
                    }
                await self.send(call, place, {**sane, name: kind.format(canary)})

    def find_leaks(self, text: str) -> set[tuple[str, str, str]]:
        return {self.planted[canary] for canary in CANARY.findall(text) if canary in self.planted}


def may_be_shown(name: str, kind: str) -> bool:
    return name in PUBLIC or (kind == QUERY and name in PUBLIC_LINKS)


@pytest.fixture
async def planter(forge: Forge, nethack: Client, asked: set[str], tmp_path: Path) -> Planter:
    """Planters in the names of an administrator and of Alice with a token for her project, which has an issue and a
    pull request.
    """
    bob = await forge.user("bob")
    assert (await bob.post("/fork", repo="nethack"))[0] == 200
    await git("clone", "-q", bob.git_url("fork/bob/nethack"), str(tmp_path / "bob"))
    await push_commit(tmp_path / "bob", "topic", "one")
    tracker = {"custom_keys": [["docs", "link"], ["note", "text"]], "tags": {"urgent": {}}}
    assert (await nethack.json("PATCH", "/v1/projects/nethack/tracker", tracker))[0] == 200
    assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c"))[0] == 200
    await open_pull_request(bob)
    assert (await nethack.json("POST", "/v1/groups", {"name": "crew"}))[0] == 201
    bound = await nethack.limited(project="nethack")
    return Planter([nethack, bound, forge.admin], asked)


async def test_no_secret_gets_out_of_any_field(
    forge: Forge, nethack: Client, planter: Planter, receiver: Receiver, written: BytesIO
) -> None:
    for client, body in ((forge.admin, {}), (nethack, {"project": "nethack"})):
        status, _ = await client.json("POST", "/v1/subscriptions", {"url": receiver.url, **body})
        assert status == 201
    head = (await nethack.pagure("/nethack/git/branches?with_commits=1"))[1]["branches"]["main"]
    for call, place in list_places():
        await planter.plant(call, place.replace("{hash}", head))
    fields = {name for _, name, _ in planter.planted.values()}
    assert {
        "url",
        "mirrored_from",
        "Web-hooks",
        "ci_url",
        "target",
        "api_url",
        "nick_pass",
        "secret",
        "headers",
    } <= fields
    await forge.idle()
    await receiver.wait_for(100)
    tables = await forge.db.fetch("select tablename from pg_tables where schemaname in ('live', 'public')")
    places = {
        name: str(await forge.db.fetch(f"select t::text from {name} t"))
        for name in (table["tablename"] for table in tables)
    }
    places["replies"] = "".join(planter.replies)
    places["logs"] = written.getvalue().decode()
    places["deliveries"] = "".join(got.body.decode() for got in receiver.received)
    assert all(word in places["logs"] for word in ("'job'", "'command'", "'request'", "'delivery'"))
    for reader in (forge.nobody, nethack, forge.admin):
        places[f"feed of {reader.name}"] = await read_feed(reader)
        for path in ("/api/0/nethack", "/api/0/nethack/settings/plugins", "/api/0/projects", "/v1/subscriptions"):
            places[f"{path} for {reader.name}"] = str(await reader.get(path))
    leaks = {(place, *leak) for place, text in places.items() for leak in planter.find_leaks(text)}
    stored = {(place.split("/")[-1], name, kind) for where, place, name, kind in leaks if where == "events"}
    assert {
        ("new", "url", QUERY),
        ("flag", "url", QUERY),
        ("docs", "value", QUERY),
        ("new_issue", "title", LOGIN),
    } <= stored
    leaks = {leak for leak in leaks if not may_be_shown(*leak[2:]) and not (leak[0] == "replies" and leak[2] in ECHOED)}
    assert not leaks, "\n".join(sorted({" ".join(leak) for leak in leaks}))
    options = str(await nethack.pagure("/nethack/options"))
    shown = {(name, kind) for _, name, kind in planter.find_leaks(options)}
    assert shown <= {(name, QUERY) for name in ONLY_FOR_ADMINISTRATORS}
    assert planter.find_leaks(str(await forge.nobody.pagure("/nethack/options"))) == set()


async def read_feed(reader: Client) -> str:
    """Every event that the reader may see, as text."""
    text, after = "", 0
    while True:
        status, page = await reader.get(f"/v1/events?after={after}&limit=100")
        assert status == 200
        text += str(page)
        if page["next"] == after or not page["events"]:
            return text
        after = page["next"]
