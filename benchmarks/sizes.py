"""Forges of two sizes, to measure whether a page of 20 takes longer in a larger listing."""

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

BATCH_SIZE = 1000  # events stored per transaction
WARM_UP_ROUNDS = 10  # rounds that are not counted
USERS, TAGS = 50, 20
TRACKER, REQUESTS = "seeded-00000", "seeded-00001"  # the projects with all issues and with all pull requests


@dataclass(frozen=True)
class Size:
    """The number of projects, of issues in one project, and of pull requests in another."""

    projects: int
    issues: int
    pull_requests: int


class Where(Enum):
    SMALL = "page 1 of few"
    FIRST = "page 1"
    FAR = "page 1,000"


# One project in a hundred is private; page 1,000 of the public ones is full.
SMALL, LARGE = Size(100, 100, 100), Size(20_300, 100_000, 20_000)
ROUNDS = 200
LISTINGS = {
    "projects": "/api/0/projects?per_page=20",
    "issues": f"/api/0/{TRACKER}/issues?per_page=20",
    "pull_requests": f"/api/0/{REQUESTS}/pull-requests?per_page=20",
}
Pages = dict[tuple[str, Where], tuple[int, str]]

ADD = """
    with new_commands as (
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
    """Store events in bulk, as commands would, and project them."""
    pool = await open_pool(forge.database_url, 1)
    async with pool.acquire() as connection:
        first = await _reserve_ids(connection, "project_ids", size.projects)
        comment = await _reserve_ids(connection, "comment_ids", size.issues)
        for version, events in (
            (1, _build_users()),
            (1, _build_projects(first, size.projects)),
            (1, _build_issues(first, size.issues)),
            (2, _build_comments(first, size.issues, comment)),
            (3, _build_closings(first, size.issues)),
            (1, _build_pull_requests(first + 1, size.pull_requests)),
        ):
            while batch := list(islice(events, BATCH_SIZE)):
                await _record(connection, batch, version)
        await connection.execute("vacuum analyze")
    await pool.close()


async def _reserve_ids(connection: asyncpg.Connection, sequence: str, count: int) -> int:
    """Reserve this number of ids and return the first."""
    last: int = await connection.fetchval(f"select setval('{sequence}', nextval('{sequence}') + $1)", count)
    return last - count


async def _record(connection: asyncpg.Connection, events: list[Event], version: int) -> None:
    """Store and project events of one type. The relay's lease is locked meanwhile, so no work is created."""
    event_type = events[0].type
    project = f"with event as (select * from events where position = $1){projection_sql(event_type)[0]} select 1"
    async with connection.transaction():
        await connection.execute("select 1 from leases where name = 'relay' for update")
        rows = await connection.fetch(
            ADD,
            [event.stream for event in events],
            [orjson.dumps(event).decode() for event in events],
            [event.project for event in events],
            [uuid.uuid4() for _ in events],
            version,
            event_type,
        )
        await connection.executemany(project, [(row["position"],) for row in rows])
        await connection.execute(NUMBER, [row["position"] for row in rows])


def _username(number: int) -> str:
    return f"person{number % USERS}"


def _build_users() -> Iterator[Event]:
    for number in range(USERS):
        name = _username(number)
        yield UserCreated(username=name, fullname=name.title(), email=f"{name}@example.org", admin=False)


def _build_projects(first: int, count: int) -> Iterator[Event]:
    for number in range(count):
        name = f"seeded-{number:05}"
        yield ProjectCreated(
            project_id=first + number, address=name, path=name, owner=_username(number), name=name, namespace=None,
            description=f"Project {number} of many, with a line of description", url=None, avatar_email=None,
            private=number % 100 == 99, default_branch="main", create_readme=False,
        )  # fmt: skip


def _build_issues(project_id: int, count: int) -> Iterator[Event]:
    for number in range(1, count + 1):
        yield IssueOpened(
            project_id=project_id, number=number, uid=uuid.uuid4().hex, title=f"Issue {number}",
            content="It does this, it should do that. " * 10, author=_username(number * 7),
            assignee=_username(number * 3) if number % 2 else None, private=number % 100 == 0,
            tags=[f"tag{number % TAGS:02}", f"rare{number % 997:03}"],
            milestone=f"v{number % 5}" if number % 3 else None, priority=None,
        )  # fmt: skip


def _build_comments(project_id: int, count: int, first: int) -> Iterator[Event]:
    """Build a comment on every tenth issue."""
    for number in range(10, count + 1, 10):
        yield IssueCommented(
            project_id=project_id,
            number=number,
            comment_id=first + number - 1,
            comment="So it is.",
            author=_username(number),
        )


def _build_closings(project_id: int, count: int) -> Iterator[Event]:
    """Close every third issue."""
    for number in range(3, count + 1, 3):
        yield IssueUpdated(
            project_id=project_id, number=number, changed={"status": "Closed"}, previous={"status": "Open"},
            comment_id=None,
        )  # fmt: skip


def _build_pull_requests(project_id: int, count: int) -> Iterator[Event]:
    for number in range(1, count + 1):
        yield PullRequestOpened(
            project_id=project_id, number=number, uid=uuid.uuid4().hex, title=f"Change {number}",
            initial_comment="Please", branch="main", branch_from="topic", repo_from=project_id,
            author=_username(number), commit_start="a" * 40, commit_stop="b" * 40, allow_rebase=False,
        )  # fmt: skip


def list_pages(small_port: int, large_port: int) -> Pages:
    """List the pages to compare: the first of the small forge, the first and a far one of the large forge."""
    pages: Pages = {}
    for name, path in LISTINGS.items():
        pages[name, Where.SMALL] = (small_port, path)
        pages[name, Where.FIRST] = (large_port, path)
        pages[name, Where.FAR] = (large_port, f"{path}&page=1000")
    return pages


def measure_pages(pages: Pages, rounds: int) -> dict[tuple[str, Where], float]:
    """Measure the median milliseconds of each page.

    The pages take turns, so that other load on the machine slows all of them.
    """
    clients = {port: HTTPConnection("127.0.0.1", port, timeout=60) for port, _ in pages.values()}
    taken: dict[tuple[str, Where], list[float]] = {name: [] for name in pages}
    for round_number in range(rounds + WARM_UP_ROUNDS):
        for name, (port, path) in pages.items():
            begun = time.perf_counter()
            clients[port].request("GET", path)
            answer = clients[port].getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{path} answered {answer.status}: {body[:300]!r}")
            if round_number >= WARM_UP_ROUNDS:
                taken[name].append((time.perf_counter() - begun) * 1000)
    for client in clients.values():
        client.close()
    return {name: quantile(each, 0.5) for name, each in taken.items()}
