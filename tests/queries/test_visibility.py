"""Each SQL condition of who sees what agrees with its rule in app/core, whatever is granted, bound or deleted."""

import itertools
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import strategies as st
from sqlalchemy import select

from app.actor import NOBODY, Actor
from app.core import credentials
from app.core.access import GRANTS, Level, level, may, may_see_issue
from app.core.project_settings import get_setting
from app.core.projects import KEPT
from app.core.tasks import may_see_task
from app.database import Database, Row, database
from app.errors import NotFound
from app.feed.pages import read_page
from app.queries import projects, subscriptions, tasks
from app.queries.feed import FeedFilter
from app.queries.issues import find_with_file
from app.queries.tasks import TaskFilter
from app.queries.visibility import readable_issues, readable_projects
from events import log, tables
from events.event import Event
from events.groups import GroupCreated, MemberAdded, MemberRemoved
from events.issues import IssueCommented, IssueOpened, TagDefined
from events.projects import (
    AccessGranted,
    AccessRevoked,
    ProjectConfigured,
    ProjectCreated,
    ProjectDeleted,
    ProjectTransferred,
    UsersBlocked,
    WatchChanged,
)
from events.pull_requests import MergeRequested
from events.record import NewEvent, record
from events.subscriptions import SubscriptionCreated
from events.users import UserCreated
from tests.nasty import for_all

pytestmark = pytest.mark.slow

NAMES = ("ann", "bob", "cid", "root")  # the last one administers the forge
GROUPS = ("elves", "orcs")
TRACKER = ("issue", "tag", "board", "tracker")
_worlds = itertools.count()

people = st.sampled_from(NAMES)
grantees = st.tuples(st.just("user"), people) | st.tuples(st.just("group"), st.sampled_from(GROUPS))


@dataclass
class Plan:
    """A project and what happens to it."""

    owner: str
    private: bool
    grants: dict[tuple[str, str], str]
    revoked: set[tuple[str, str]]
    blocked: set[str]
    settings: dict[str, bool]
    issues: list[tuple[str, str | None, bool]]  # author, assignee, private
    new_owner: tuple[str, bool] | None
    actors: list[str]  # who causes other events
    subscribers: set[str]
    deleted: bool


plans = st.builds(
    Plan,
    owner=people,
    private=st.booleans(),
    grants=st.dictionaries(grantees, st.sampled_from(sorted(GRANTS)), max_size=4),
    revoked=st.sets(grantees, max_size=2),
    blocked=st.sets(people, max_size=2),
    settings=st.fixed_dictionaries({}, optional={"issue_tracker": st.booleans(), "pull_requests": st.booleans()}),
    issues=st.lists(st.tuples(people, st.none() | people, st.booleans()), min_size=1, max_size=3),
    new_owner=st.none() | st.tuples(people, st.booleans()),
    actors=st.lists(people, min_size=2, max_size=2),
    subscribers=st.sets(people, min_size=1, max_size=2),
    deleted=st.booleans(),
)
memberships = st.sets(st.tuples(st.sampled_from(GROUPS), people), max_size=5)


@dataclass
class World:
    """Users, groups and projects with names of their own, so that the next world finds the database as it likes."""

    db: Database
    number: int = field(default_factory=lambda: next(_worlds))
    rows: dict[int, Mapping[str, Any]] = field(default_factory=dict)  # projects as they were when last there
    there: set[int] = field(default_factory=set)

    def name(self, name: str) -> str:
        return f"{name}{self.number}"

    async def happen(self, event: Event, actor: str = "root", version: int | None = None) -> UUID:
        command_id = uuid4()
        async with self.db.acquire() as connection:
            await record(
                connection,
                ("happen", b"{}"),
                [NewEvent(event, version)],
                command_id=command_id,
                actor=self.name(actor),
                anchored=not isinstance(event, ProjectCreated),
            )
        return command_id

    async def populate(self, members: set[tuple[str, str]], left: set[tuple[str, str]]) -> None:
        for name in NAMES:
            mine = self.name(name)
            user = UserCreated(username=mine, fullname=name, email=f"{mine}@example.org", admin=name == "root")
            await self.happen(user)
        for group in GROUPS:
            mine = self.name(group)
            fields: dict[str, Any] = {"display_name": mine, "description": None, "group_type": "user"}
            await self.happen(GroupCreated(group_name=mine, creator=self.name("root"), **fields))
        for group, name in sorted(members - {(group, "root") for group in GROUPS}):
            await self.happen(MemberAdded(group_name=self.name(group), username=self.name(name)))
        for group, name in sorted((left & members) - {(group, "root") for group in GROUPS}):
            await self.happen(MemberRemoved(group_name=self.name(group), username=self.name(name)))

    async def build(self, plan: Plan) -> None:
        key = await self.db.fetchval("select nextval('project_ids')")
        path = f"p{self.number}-{key}"
        created = ProjectCreated(
            project_id=key, address=path, path=path, owner=self.name(plan.owner), name=path, namespace=None,
            description="d", url=None, avatar_email=None, private=plan.private, default_branch="main",
            create_readme=False,
        )  # fmt: skip
        await self.happen(created, plan.owner)
        plan.grants.pop(("user", plan.owner), None)  # owners get no grant
        for (party, name), granted in sorted(plan.grants.items()):
            branches = "*" if granted == "collaborator" else None
            await self.happen(
                AccessGranted(project_id=key, party=party, name=self.name(name), level=granted, branches=branches)
            )
        for name in sorted(plan.subscribers):
            await self._subscribe(key, name)
        for author, assignee, private in plan.issues:
            await self._open_issue(key, author, assignee, private)
        await self.happen(UsersBlocked(project_id=key, usernames=sorted(map(self.name, plan.blocked))))
        await self.happen(TagDefined(project_id=key, tag="x", color="red", description=""), plan.actors[0])
        await self.happen(MergeRequested(project_id=key, number=9), plan.actors[1])
        watch = {"project_id": key, "username": self.name(plan.actors[0]), "issues": True, "commits": True}
        await self.happen(WatchChanged(**watch), plan.actors[0])
        if plan.settings:
            await self.happen(ProjectConfigured(project_id=key, settings=dict(plan.settings)))
        for party, name in sorted(plan.revoked & plan.grants.keys()):
            await self.happen(AccessRevoked(project_id=key, party=party, name=self.name(name)))
        if plan.new_owner and plan.new_owner[0] != plan.owner:
            owner, retained = self.name(plan.new_owner[0]), plan.new_owner[1]
            previous = self.name(plan.owner)
            await self.happen(ProjectTransferred(project_id=key, owner=owner, previous=previous, retained=retained))
        row = self.rows[key] = dict(await projects.by_id(self.db, key))
        if plan.deleted:
            kept = {**{name: row[name] for name in KEPT}, "line": []}
            await self.happen(ProjectDeleted(project_id=key, path=path, snapshot=kept))
        else:
            self.there.add(key)

    async def _subscribe(self, key: int, name: str) -> None:
        await self.happen(
            SubscriptionCreated(
                subscription_id=str(uuid4()), username=self.name(name), token_id=None, project_id=key, types=None,
                format="standard", ordered=True, host="x", status="active",
            )
        )  # fmt: skip

    async def _open_issue(self, key: int, author: str, assignee: str | None, private: bool) -> None:
        mine = self.name(author)
        opened = IssueOpened(
            project_id=key, uid=uuid4().hex, title="t", content="c", author=mine,
            assignee=assignee and self.name(assignee), private=private, tags=[], milestone=None, priority=None,
            files=["shared", f"file-{private}"],
        )  # fmt: skip
        await self.happen(opened, author, 1)
        number = await self.db.fetchval("select max(number) from issues where project_id = $1", key)
        comment_id = await self.db.fetchval("select nextval('comment_ids')")
        said = IssueCommented(project_id=key, number=number, comment_id=comment_id, comment="x", author=mine)
        await self.happen(said, author)

    async def deliver(self) -> None:
        """Give each subscription of this world a delivery of every event of its project."""
        async with self.db.acquire() as connection:
            while (await log.number_settled(connection)).numbered:
                pass
        await self.db.execute(
            """
            insert into deliveries (subscription_id, lane, seq, position)
            select subscriptions.subscription_id, 0, numbers.seq, events.position
            from   subscriptions join events using (project_id) join numbers using (position)
            where  project_id = any ($1) and subscriptions.owner is not null
            """,
            list(self.rows),
        )

    async def list_actors(self) -> list[Actor]:
        """List every user without a bound token and with one for each project, and an anonymous client."""
        users = [await credentials.find_actor(self.db, self.name(name)) for name in NAMES]
        return [NOBODY, *(replace(user, token_project=key) for user in users for key in (None, *self.rows))]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with database(database_url, 2) as db:
        yield db


async def build_world(db: Database, one: Plan, other: Plan, members: Any, left: Any) -> World:
    world = World(db)
    await world.populate(members, left)
    for plan in (one, other):
        await world.build(plan)
    await world.deliver()
    return world


def may_read(actor: Actor, project: Mapping[str, Any]) -> bool:
    return level(actor, project) >= Level.READ


def may_see_event(world: World, actor: Actor, event: Row, issues: Mapping[tuple[int, int], Row]) -> bool:
    """The rule for events, in terms of the rules for projects and issues."""
    key, family = event["project_id"], event["type"].partition(".")[0]
    if actor.token_project not in (None, key):
        return False
    if actor.admin:
        return True
    if family == "subscription" or key is None:
        return bool(actor.username) and event["data"].get("username") == actor.username
    project = world.rows[key]
    if key not in world.there:
        caused = bool(actor.username) and event["actor"] == actor.username
        return caused or (event["type"] == "project.deleted" and may_read(actor, project))
    if family in TRACKER and not get_setting(project, "issue_tracker"):
        return False
    if family == "pull-request" and not get_setting(project, "pull_requests"):
        return False
    if family == "issue" and not may_see_issue(actor, project, issues[key, event["data"]["number"]]):
        return False
    return may_read(actor, project)


WORLDS = {"one": plans, "other": plans, "members": memberships, "left": memberships}


async def test_the_conditions_for_projects_issues_and_files_agree_with_the_rules(db: Database) -> None:
    seen: set[bool] = set()

    async def check(**plan: Any) -> None:
        world = await build_world(db, **plan)
        issues = await _list_issues(world)
        joined = tables.issues.join(tables.projects, tables.issues.c.project_id == tables.projects.c.project_id)
        for actor in await world.list_actors():
            query = select(tables.projects.c.project_id).where(readable_projects(actor))
            readable = {row["project_id"] for row in await db.select(query)} & world.rows.keys()
            assert readable == {key for key in world.there if may_read(actor, world.rows[key])}, actor
            of_issues = select(tables.issues.c.project_id, tables.issues.c.number).select_from(joined)
            listed = {tuple(row.values()) for row in await db.select(of_issues.where(readable_issues(actor)))}
            allowed = {
                place
                for place, issue in issues.items()
                if may_read(actor, world.rows[place[0]]) and may_see_issue(actor, world.rows[place[0]], issue)
            }
            assert {place for place in listed if place[0] in world.rows} == allowed, actor
            await _check_files(world, actor, issues)
            seen.update(place in allowed for place in issues)

    await for_all(check, 8, **WORLDS)
    assert seen == {True, False}


async def _list_issues(world: World) -> dict[tuple[int, int], Row]:
    rows = await world.db.fetch("select * from issues where project_id = any ($1)", list(world.rows))
    return {(row["project_id"], row["number"]): row for row in rows}


async def _check_files(world: World, actor: Actor, issues: Mapping[tuple[int, int], Row]) -> None:
    for key in world.there:
        project = world.rows[key]
        username = actor.username if actor.token_project in (None, key) else ""
        everything = level(actor, project) >= Level.WRITE
        for name, kinds in (("shared", {True, False}), ("file-True", {True}), ("file-False", {False})):
            found = await find_with_file(world.db, key, name, username, everything=everything)
            having = [issue for place, issue in issues.items() if place[0] == key and issue["private"] in kinds]
            assert (found is not None) == any(may_see_issue(actor, project, issue) for issue in having), actor


async def test_the_condition_for_tasks_agrees_with_the_rule(db: Database) -> None:
    seen: set[bool] = set()

    async def check(**plan: Any) -> None:
        world = await build_world(db, **plan)
        rows = await db.fetch("select task_id from tasks where project_id = any ($1)", list(world.rows))
        found = [await tasks.find(db, row["task_id"]) for row in rows]
        for actor in await world.list_actors():
            allowed = {task["task_id"] for task in found if task and may_see_task(actor, task)}
            listed: set[UUID] = set()
            for key in world.rows:
                page = await tasks.search(db, actor, TaskFilter(project_id=key), None, 100)
                listed |= {row["task_id"] for row in page}
            assert listed == allowed, actor
            seen.update(row["task_id"] in allowed for row in rows)

    await for_all(check, 8, **WORLDS)
    assert seen == {True, False}


async def test_the_conditions_for_events_and_deliveries_agree_with_the_rules(db: Database) -> None:
    seen: set[bool] = set()

    async def check(**plan: Any) -> None:
        start = await db.fetchval("select coalesce(max(seq), 0) from numbers")
        world = await build_world(db, **plan)
        head = await db.fetchval("select max(seq) from numbers")
        everything = (await read_page(db, Actor("forge", admin=True), start, head, 1000, FeedFilter())).rows
        assert len(everything) == head - start
        issues = await _list_issues(world)
        for actor in await world.list_actors():
            page = (await read_page(db, actor, start, head, 1000, FeedFilter())).rows
            allowed = {event["seq"] for event in everything if may_see_event(world, actor, event, issues)}
            assert {event["seq"] for event in page} == allowed, actor
            for event in _of_settings(page, world):
                assert event["administers"] == may(actor, "configure-project", world.rows[event["project_id"]]), actor
            await _check_deliveries(world, actor, allowed)
            seen.update(event["seq"] in allowed for event in everything)

    await for_all(check, 8, **WORLDS)
    assert seen == {True, False}


def _of_settings(page: list[Row], world: World) -> Iterator[Row]:
    """The events with fields for administrators, of projects that are there."""
    return (event for event in page if event["type"].startswith("project.") and event["project_id"] in world.there)


async def _check_deliveries(world: World, actor: Actor, visible: set[int]) -> None:
    rows = await world.db.fetch("select * from subscriptions where project_id = any ($1)", list(world.rows))
    for subscription in rows:
        key = subscription["project_id"]
        runs_it = key in world.there and may(actor, "configure-project", world.rows[key])
        own = bool(actor.username) and subscription["owner"] == actor.username
        managed = actor.token_project in (None, key) and (actor.admin or own or runs_it)
        listed = None
        try:
            found = await subscriptions.list_deliveries(
                world.db, actor, subscription["subscription_id"], None, 0, None, 1000
            )
            listed = {row["seq"] for row in found}
        except NotFound:
            assert not managed, actor
            continue
        assert managed, actor
        every = await world.db.fetch(
            "select seq from deliveries where subscription_id = $1", subscription["subscription_id"]
        )
        assert listed == {row["seq"] for row in every} & visible, actor
