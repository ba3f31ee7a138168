"""What clients do while something happens to a process of the forge, and what must be true afterwards.

A scenario is a function that does one thing with clients that try again, and then asks whether what they saw succeed
has happened once. It names the points at which a process may be stopped meanwhile.
"""

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from app.ops.doctor import run_checks
from app.points import Point
from tests.conftest import git
from tests.promises import nemeses
from tests.promises.cluster import Cluster, run_cluster
from tests.promises.parts import wait_until
from tests.promises.persistent_clients import HttpClient, add_commit, make_commit, new_key, push
from tests.receiver import Receiver, run_receiver

PROJECT = "game"
ZEROS = "0" * 40
# Whether the numbers of events are dense and in the order in which the events have settled.
IN_ORDER = """
    select bool_and(seq = place)
    from   (select seq, row_number() over (order by txid, position) as place
            from   events left join numbers using (position)) as log
"""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Case:
    """A scenario, a point that it reaches, and what happens to the process there."""

    scenario: "Scenario"
    point: str
    nemesis: str

    def __str__(self) -> str:
        return f"{self.scenario.__name__}-{self.point}-{self.nemesis}"


@dataclass
class Stage:
    """The forge, a project in it, a clone of that and a receiver of its web hooks; and the case that is played."""

    cluster: Cluster
    work: Path
    receiver: Receiver
    project_id: int
    case: Case | None = None
    number: int = 0

    @property
    def url(self) -> str:
        return self.cluster.admin.git_url(PROJECT)

    @property
    def http(self) -> HttpClient:
        return HttpClient(self.cluster, self.cluster.admin)

    @asynccontextmanager
    async def striking(self, *clients: HttpClient) -> AsyncIterator[None]:
        """Let the nemesis strike at the point during the block, which must reach it."""
        assert self.case is not None
        nemeses.arm(self.cluster, self.case.point)
        striking = asyncio.create_task(nemeses.strike(self.cluster, self.case.point, self.case.nemesis))

        def calm(_: object) -> None:
            for client in clients:
                client.calm.set()

        striking.add_done_callback(calm)
        try:
            yield
        finally:
            await striking

    async def count(self, event_type: str, **fields: Any) -> int:
        """Count the events of a type with these fields."""
        wanted = "".join(f" and data ->> '{name}' = ${index}" for index, name in enumerate(fields, 2))
        sql = f"select count(*) from events where type = $1{wanted}"
        return int(await self.cluster.query(sql, event_type, *map(str, fields.values())))

    async def list_moves(self, ref: str) -> list[tuple[str, str]]:
        """List the moves of a ref of the project, in the order of the log."""
        rows = await self.cluster.query(
            """
            select json_agg(json_build_array(data ->> 'old', data ->> 'new') order by position)::text
            from   events
            where  type in ('ref.updated', 'head.moved') and project_id = $1 and coalesce(data ->> 'ref', 'HEAD') = $2
            """,
            self.project_id,
            ref,
        )
        return [tuple(move) for move in orjson.loads(rows or "[]")]


Scenario: TypeAlias = Callable[[Stage], Awaitable[None]]
CASES: list[tuple[Scenario, str]] = []  # each with a point that it reaches
PER_CASE = 1  # nemesis for each of them in one run of the tests, unless POINTS=all asks for all


def at(*points: str) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        CASES.extend((scenario, point) for point in points)
        return scenario

    return register


def choose_cases(*scenarios: Scenario) -> list[Case]:
    """Choose PER_CASE nemeses for each scenario and point at random, alike in all processes of one run of the tests.

    The name of a test says what was chosen: run it again with POINTS=all and `-k`.
    """
    chance = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID") or os.urandom(8).hex())
    count = len(nemeses.NEMESES) if os.environ.get("POINTS") == "all" else PER_CASE
    return [
        Case(scenario, point, name)
        for scenario, point in CASES
        if scenario in scenarios
        for name in sorted(chance.sample(sorted(nemeses.NEMESES), count))
    ]


async def play(stage: Stage, case: Case) -> None:
    """Play a case, then check the log and the disk."""
    stage.case, stage.number = case, next(_numbers)
    await case.scenario(stage)
    await stage.cluster.wait_until_settled()
    await check_order(stage)
    await check_disk(stage)


@asynccontextmanager
async def set_stage(folder: Path) -> AsyncIterator[Stage]:
    """Start a forge with a project, which is cloned into the folder."""
    async with run_receiver() as receiver, run_cluster() as cluster:
        admin, work = cluster.admin, folder / "work"
        status, body = await admin.post("/new", name=PROJECT, description="d", create_readme="1")
        assert status == 200, body
        await git("clone", "-q", admin.git_url(PROJECT), str(work))
        project_id = (await admin.pagure(f"/{PROJECT}"))[1]["id"]
        status, body = await admin.json("POST", "/v1/subscriptions", {"url": receiver.url, "project": PROJECT})
        assert status == 201, body
        yield Stage(cluster, work, receiver, project_id)


@at(
    Point.PUSH_ADVERTISED,
    Point.PUSH_STARTED,
    Point.PUSH_IN_HOOK,
    Point.PUSH_HANDED_OVER,
    Point.REFS_LOCKED,
    Point.REFS_OPENED,
    Point.REFS_MOVED,
    f"{Point.COMMAND_DECIDED}@record-refs",
    f"{Point.COMMAND_STORED}@record-refs",
    Point.REFS_RECORDED,
    Point.REFS_CLOSED,
    Point.PUSH_REPORTED,
)
async def push_a_branch(stage: Stage) -> None:
    ref = f"refs/heads/push-{stage.number}"
    first = await make_commit(stage.work, f"push-{stage.number}")
    async with stage.striking():
        await push(stage.work, stage.url, f"{first}:{ref}")
        # At once, and before the process that was struck has come back.
        assert await stage.list_moves(ref) == [(ZEROS, first)]
    second = await add_commit(stage.work, f"push-{stage.number}-again")
    await push(stage.work, stage.url, f"{second}:{ref}")
    assert await stage.list_moves(ref) == [(ZEROS, first), (first, second)]


@at(Point.REFS_FINISHING)
async def finish_what_a_killed_push_has_moved(stage: Stage) -> None:
    ref = f"refs/heads/finish-{stage.number}"
    first = await make_commit(stage.work, f"finish-{stage.number}")
    nemeses.arm(stage.cluster, Point.REFS_MOVED)
    async with stage.striking():
        pushing = asyncio.create_task(push(stage.work, stage.url, f"{first}:{ref}"))
        await nemeses.strike(stage.cluster, Point.REFS_MOVED, "kills")
        await pushing
        assert await stage.list_moves(ref) == [(ZEROS, first)]
    assert await stage.list_moves(ref) == [(ZEROS, first)]


@at(
    f"{Point.COMMAND_DECIDED}@open-issue",
    f"{Point.COMMAND_STORED}@open-issue",
    Point.KEY_CLAIMED,
    Point.KEY_ANSWERED,
    Point.RELAY_NUMBERING,
    Point.RELAY_NUMBERED,
)
async def open_an_issue_with_a_key(stage: Stage) -> None:
    title, client, key = f"keyed {stage.number}", stage.http, new_key()
    form, path = {"title": title, "issue_content": "c"}, f"/api/0/{PROJECT}/new_issue"
    async with stage.striking(client):
        opened = await client.post(path, form, key=key)
    assert opened["issue"]["title"] == title
    assert (await client.post(path, form, key=key))["issue"]["id"] == opened["issue"]["id"]
    assert await stage.count("issue.opened", title=title) == 1


@at(f"{Point.COMMAND_DECIDED}@open-issue", f"{Point.COMMAND_STORED}@open-issue")
async def open_an_issue_without_a_key(stage: Stage) -> None:
    title, client = f"plain {stage.number}", stage.http
    async with stage.striking(client):
        opened = await client.post(f"/api/0/{PROJECT}/new_issue", {"title": title, "issue_content": "c"})
    assert await stage.count("issue.opened", title=title, number=opened["issue"]["id"]) == 1
    assert 1 <= await stage.count("issue.opened", title=title) <= client.attempts


@at(
    Point.KEY_CLAIMED,
    Point.REFS_LOCKED,
    Point.REFS_OPENED,
    Point.REFS_MOVED,
    f"{Point.COMMAND_STORED}@record-refs",
    Point.REFS_RECORDED,
    Point.REFS_CLOSED,
    Point.KEY_ANSWERED,
)
async def create_a_branch_with_a_key(stage: Stage) -> None:
    branch, client = f"branch-{stage.number}", stage.http
    form = {"branch": branch, "from_branch": "main"}
    async with stage.striking(client):
        answer = await client.post(f"/api/0/{PROJECT}/git/branch", form, key=new_key())
    assert answer == {"message": "Project branch was created"}
    main = (await stage.list_moves("refs/heads/main"))[-1:]
    moves = await stage.list_moves(f"refs/heads/{branch}")
    assert len(moves) == 1
    assert not main or moves[0] == (ZEROS, main[0][1])


@at(
    Point.REFS_OPENED,
    Point.REFS_MOVED,
    f"{Point.COMMAND_STORED}@record-refs",
    Point.REFS_RECORDED,
    Point.KEY_ANSWERED,
)
async def choose_the_default_branch_with_a_key(stage: Stage) -> None:
    client, path = stage.http, f"/api/0/{PROJECT}/git/branches"
    branch = f"default-{stage.number}"
    await client.post(f"/api/0/{PROJECT}/git/branch", {"branch": branch, "from_branch": "main"}, key=new_key())
    async with stage.striking(client):
        await client.post(path, {"branch_name": branch}, key=new_key())
    assert (await stage.list_moves("HEAD"))[-1] == ("main", branch)
    await client.post(path, {"branch_name": "main"}, key=new_key())


@at(
    f"{Point.COMMAND_DECIDED}@create-project",
    f"{Point.COMMAND_STORED}@create-project",
    Point.KEY_ANSWERED,
    Point.RELAY_NUMBERED,
    f"{Point.WORK_CLAIMED}@create-repository",
    Point.REPOSITORY_STAGED,
    Point.REPOSITORY_PLACED,
    f"{Point.WORK_DONE}@create-repository",
    f"{Point.WORK_SETTLING}@create-repository",
    f"{Point.WORK_SETTLED}@create-repository",
)
async def create_a_project(stage: Stage) -> None:
    name, client = f"created-{stage.number}", stage.http
    form = {"name": name, "description": "d", "create_readme": "1", "wait": "1"}
    async with stage.striking(client):
        answer = await client.post("/api/0/new", form, key=new_key())
    assert answer["message"] == "Project creation queued"
    assert await stage.count("project.created", name=name) == 1
    assert await stage.count("repository.created", path=name) == 1
    assert "refs/heads/main" in await git("ls-remote", stage.cluster.admin.git_url(name))


@at(
    f"{Point.COMMAND_DECIDED}@fork-project",
    f"{Point.COMMAND_STORED}@fork-project",
    Point.KEY_ANSWERED,
    f"{Point.WORK_CLAIMED}@fork-repository",
    Point.REPOSITORY_STAGED,
    Point.REPOSITORY_PLACED,
    f"{Point.WORK_DONE}@fork-repository",
    f"{Point.WORK_SETTLING}@fork-repository",
    f"{Point.WORK_SETTLED}@fork-repository",
)
async def fork_a_project(stage: Stage) -> None:
    user = await stage.cluster.create_user(f"user-{stage.number}")
    client, path = HttpClient(stage.cluster, user), f"fork/{user.name}/{PROJECT}"
    async with stage.striking(client):
        answer = await client.post("/api/0/fork", {"repo": PROJECT, "wait": "1"}, key=new_key())
    assert answer["message"] == f'Repo "{PROJECT}" cloned to "{user.name}/{PROJECT}"'
    assert await stage.count("project.forked", path=path) == 1
    assert await stage.count("repository.created", path=path) == 1
    assert await git("ls-remote", user.git_url(path)) == await git(
        "ls-remote", stage.url, "HEAD", "refs/heads/*", "refs/tags/*"
    )


@at(
    f"{Point.COMMAND_DECIDED}@merge-pull-request",
    f"{Point.COMMAND_STORED}@merge-pull-request",
    Point.KEY_ANSWERED,
    f"{Point.WORK_CLAIMED}@merge-pull-request",
    Point.MERGE_COPIED,
    Point.REFS_LOCKED,
    Point.REFS_OPENED,
    Point.REFS_MOVED,
    f"{Point.COMMAND_STORED}@record-refs",
    Point.REFS_RECORDED,
    Point.REFS_CLOSED,
    f"{Point.WORK_DONE}@merge-pull-request",
    f"{Point.WORK_SETTLING}@merge-pull-request",
    f"{Point.WORK_SETTLED}@merge-pull-request",
)
async def merge_a_pull_request(stage: Stage) -> None:
    branch, client = f"merge-{stage.number}", stage.http
    await git("fetch", "-q", "origin", cwd=stage.work)
    commit = await make_commit(stage.work, branch)
    await git("push", "-q", stage.url, f"{commit}:refs/heads/{branch}", cwd=stage.work)
    form = {"title": branch, "branch_to": "main", "branch_from": branch}
    number = (await client.post(f"/api/0/{PROJECT}/pull-request/new", form, key=new_key()))["id"]
    await stage.cluster.wait_until_settled()
    before = await stage.list_moves("refs/heads/main")
    async with stage.striking(client):
        answer = await client.post(f"/api/0/{PROJECT}/pull-request/{number}/merge", {"wait": "1"}, key=new_key())
    assert answer["message"] == "Changes merged!"
    assert await stage.count("pull-request.merged", project_id=stage.project_id, number=number) == 1
    moves = await stage.list_moves("refs/heads/main")
    assert moves[:-1] == before
    await git("fetch", "-q", "origin", cwd=stage.work)
    assert (await git("rev-parse", "origin/main", cwd=stage.work)).strip() == moves[-1][1]
    await git("merge-base", "--is-ancestor", commit, "origin/main", cwd=stage.work)


@at(
    Point.DELIVERY_CLAIMED,
    f"{Point.DELIVERY_SENDING}@issue.opened",
    f"{Point.DELIVERY_SENT}@issue.opened",
    f"{Point.DELIVERY_RECORDED}@issue.opened",
)
async def deliver_a_web_hook(stage: Stage) -> None:
    titles, client = [f"delivered {stage.number} {index}" for index in range(3)], stage.http
    async with stage.striking(client):
        for title in titles:
            await client.post(f"/api/0/{PROJECT}/new_issue", {"title": title, "issue_content": "c"}, key=new_key())
    await stage.cluster.wait_until_settled()
    arrived = [got.json["data"] for got in stage.receiver.received]
    first = list(dict.fromkeys(event["seq"] for event in arrived))
    assert first == sorted(first)  # only a repetition may come after later events
    got = [event["data"]["title"] for event in arrived if event["type"] == "issue.opened"]
    assert [title for index, title in enumerate(got) if title in titles and title not in got[:index]] == titles


async def check_order(stage: Stage) -> None:
    """Check that each command has been stored once, and that numbers are dense and in the order of the log."""
    assert await stage.cluster.query(IN_ORDER)


async def check_disk(stage: Stage) -> None:
    """Check that the refs on disk are those of the rows, and that nothing unfinished lies about."""
    results: dict[str, str] = {}
    await run_checks(stage.cluster.settings, results.__setitem__)
    assert set(results.values()) == {"ok"}, results

    async def is_tidy() -> bool:
        return stage.cluster.list_leftovers() == []

    try:
        await wait_until(is_tidy, 3)
    except TimeoutError:
        assert stage.cluster.list_leftovers() == []
