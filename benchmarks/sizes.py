"""Forges of two sizes: whether a page of 20 takes longer where there is much that is not on it."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPConnection
from itertools import islice

import asyncpg
import orjson

from app.database import open_pool
from benchmarks.forge import Forge
from benchmarks.load import quantile
from events.event import Event
from events.issues import IssueCommented, IssueOpened, IssueUpdated
from events.projections import projection_sql
from events.projects import ProjectCreated
from events.pull_requests import PullRequestOpened
from events.users import UserCreated

BATCH = 1000
WARM_UP = 10  # requests of each page that are not counted
PEOPLE, TAGS = 50, 20
TRACKER, REQUESTS = "seeded-00000", "seeded-00001"  # the projects that have all the issues and all the pull requests


@dataclass(frozen=True)
class Size:
    """How many there are: projects, issues in one of them, pull requests in another."""

    projects: int
    issues: int
    pull_requests: int


class Where(Enum):
    SMALL = "page 1 of few"
    FIRST = "page 1"
    FAR = "page 1,000"


# A hundredth of the projects is private; page 1,000 of the others is full.
SMALL, LARGE = Size(100, 100, 100), Size(20_300, 100_000, 20_000)
ROUNDS = 200
LISTINGS = {
    "projects": "/api/0/projects?per_page=20",
    "issues": f"/api/0/{TRACKER}/issues?per_page=20",
    "pull_requests": f"/api/0/{REQUESTS}/pull-requests?per_page=20",
}
Pages = dict[tuple[str, Where], tuple[int, str]]

ADD = """
    with wished as (
        insert into commands (id, name, body, actor)
        select id, $6, '{}', 'admin' from unnest($4::uuid[]) as id
    )
    insert into events (stream, version, type, data, actor, project_id, command_id)
    select   stream, $5, $6, data::jsonb, 'admin', project_id, command_id
    from     unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[])
             with ordinality as it (stream, data, project_id, command_id, place)
    order by place
    returning position
"""
NUMBER = """
    insert into numbers (seq, position)
    select (select coalesce(max(seq), 0) from numbers) + place, position
    from   unnest($1::bigint[]) with ordinality as it (position, place)
"""


async def seed(forge: Forge, size: Size) -> None:
    """Events as commands write them, in bulk, and the rows that the projections make of them."""
    pool = await open_pool(forge.database_url, 1)
    async with pool.acquire() as connection:
        first = await _taken(connection, "project_ids", size.projects)
        comment = await _taken(connection, "comment_ids", size.issues)
        for version, events in (
            (1, _people()),
            (1, _projects(first, size.projects)),
            (1, _issues(first, size.issues)),
            (2, _comments(first, size.issues, comment)),
            (3, _closings(first, size.issues)),
            (1, _requests(first + 1, size.pull_requests)),
        ):
            while batch := list(islice(events, BATCH)):
                await _record(connection, batch, version)
        await connection.execute("vacuum analyze")
    await pool.close()


async def _taken(connection: asyncpg.Connection, sequence: str, count: int) -> int:
    """The first of so many fresh ids."""
    last: int = await connection.fetchval(f"select setval('{sequence}', nextval('{sequence}') + $1)", count)
    return last - count


async def _record(connection: asyncpg.Connection, events: list[Event], version: int) -> None:
    """Events of one type. The relay's lease is held meanwhile, so no worker is asked for anything."""
    type = events[0].type
    one = f"with event as (select * from events where position = $1){projection_sql(type)[0]} select 1"
    async with connection.transaction():
        await connection.execute("select 1 from leases where name = 'relay' for update")
        rows = await connection.fetch(
            ADD,
            [event.stream for event in events],
            [orjson.dumps(event).decode() for event in events],
            [event.project for event in events],
            [uuid.uuid4() for _ in events],
            version,
            type,
        )
        await connection.executemany(one, [(row["position"],) for row in rows])
        await connection.execute(NUMBER, [row["position"] for row in rows])


def _person(n: int) -> str:
    return f"person{n % PEOPLE}"


def _people() -> Iterator[Event]:
    for n in range(PEOPLE):
        name = _person(n)
        yield UserCreated(username=name, fullname=name.title(), email=f"{name}@example.org", admin=False)


def _projects(first: int, count: int) -> Iterator[Event]:
    for n in range(count):
        name = f"seeded-{n:05}"
        yield ProjectCreated(
            project_id=first + n, address=name, path=name, owner=_person(n), name=name, namespace=None,
            description=f"Project {n} of many, with a line of description", url=None, avatar_email=None,
            private=n % 100 == 99, default_branch="main", create_readme=False,
        )  # fmt: skip


def _issues(project_id: int, count: int) -> Iterator[Event]:
    for n in range(1, count + 1):
        yield IssueOpened(
            project_id=project_id, number=n, uid=uuid.uuid4().hex, title=f"Issue {n}",
            content="It does this, it should do that. " * 10, author=_person(n * 7),
            assignee=_person(n * 3) if n % 2 else None, private=n % 100 == 0,
            tags=[f"tag{n % TAGS:02}", f"rare{n % 997:03}"], milestone=f"v{n % 5}" if n % 3 else None, priority=None,
        )  # fmt: skip


def _comments(project_id: int, count: int, first: int) -> Iterator[Event]:
    """One on every tenth issue."""
    for n in range(10, count + 1, 10):
        yield IssueCommented(
            project_id=project_id, number=n, comment_id=first + n - 1, comment="So it is.", author=_person(n)
        )


def _closings(project_id: int, count: int) -> Iterator[Event]:
    """Of every third issue."""
    for n in range(3, count + 1, 3):
        yield IssueUpdated(
            project_id=project_id, number=n, changed={"status": "Closed"}, previous={"status": "Open"}, comment_id=None
        )  # fmt: skip


def _requests(project_id: int, count: int) -> Iterator[Event]:
    for n in range(1, count + 1):
        yield PullRequestOpened(
            project_id=project_id, number=n, uid=uuid.uuid4().hex, title=f"Change {n}", initial_comment="Please",
            branch="main", branch_from="topic", repo_from=project_id, author=_person(n), commit_start="a" * 40,
            commit_stop="b" * 40, allow_rebase=False,
        )  # fmt: skip


def pages(small: int, large: int) -> Pages:
    """What is compared, by the ports of the two forges."""
    found: Pages = {}
    for name, path in LISTINGS.items():
        found[name, Where.SMALL] = (small, path)
        found[name, Where.FIRST] = (large, path)
        found[name, Where.FAR] = (large, f"{path}&page=1000")
    return found


def medians(wanted: Pages, rounds: int) -> dict[tuple[str, Where], float]:
    """The median of the milliseconds that each page takes.

    They take turns, so that whatever else the machine does slows all of them.
    """
    clients = {port: HTTPConnection("127.0.0.1", port, timeout=60) for port, _ in wanted.values()}
    taken: dict[tuple[str, Where], list[float]] = {name: [] for name in wanted}
    for n in range(rounds + WARM_UP):
        for name, (port, path) in wanted.items():
            begun = time.perf_counter()
            clients[port].request("GET", path)
            answer = clients[port].getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}: {body[:300]!r}")
            if n >= WARM_UP:
                taken[name].append((time.perf_counter() - begun) * 1000)
    for client in clients.values():
        client.close()
    return {name: quantile(each, 0.5) for name, each in taken.items()}
