"""The guarantees of the log: one total order, each event delivered once, read tables that follow from it."""

import asyncio
import os
import random
import subprocess
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.config import Settings
from app.database import database, prepare_connection
from app.ops import embedded, migrate
from events import log, upcasts
from events.event import Event
from events.log import AppendRequest
from events.projections import rebuild
from events.projects import ProjectCreated
from events.users import UserCreated
from tests.conftest import Client, Forge
from tests.processes import start_service
from workers import queue
from workers.relay import Relay

EVENTS = 50_000 if os.environ.get("POINTS") == "all" else 10_000  # `make soak` writes more than `make test`
WRITERS = 16


def user_created(name: str) -> Event:
    return UserCreated(username=name, fullname=name, email=f"{name}@example.org", admin=False)


async def write(db: asyncpg.Connection, event: Event) -> int:
    entry = AppendRequest(event=event, version=1, actor="", command_id=uuid.uuid4())
    stored = await log.append(db, entry, ("test", b"{}"))
    assert stored is not None
    return int(stored["position"])


async def write_many(database_url: str, number: int, committed: set[int]) -> None:
    """Write transactions of random length, some of them slow or rolled back, and collect the committed positions."""
    connection = await asyncpg.connect(database_url, server_settings={"search_path": "live, public"})
    await prepare_connection(connection)
    chance = random.Random(number)
    count = 0
    while len(committed) < EVENTS:
        transaction = connection.transaction()
        await transaction.start()
        positions = []
        for _ in range(chance.randint(1, 10)):
            count += 1
            positions.append(await write(connection, user_created(f"u{number}-{count}")))
            if chance.random() < 0.01:
                await asyncio.sleep(chance.random() / 50)
        if chance.random() < 0.1:
            await transaction.rollback()
        else:
            await transaction.commit()
            committed.update(positions)
    await connection.close()


@pytest.mark.slow
async def test_followers_see_every_event_once_in_one_order_under_many_writers(
    own_settings: Settings, database_url: str
) -> None:
    committed: set[int] = set()
    writing = True

    async def follower(db: Any) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        while True:
            done = not writing
            async with db.acquire() as connection:
                events = await log.read(connection, seen[-1][0] if seen else 0)
            seen += [(event.seq, event.position) for event in events]
            if done and not events and len(seen) >= len(committed):
                return seen
            await asyncio.sleep(0.005)

    redis = queue.connect(own_settings.required_redis_url())
    async with database(database_url, 5) as db:
        relays = [asyncio.create_task(Relay(db, redis).run()) for _ in range(2)]
        followers = [asyncio.create_task(follower(db)) for _ in range(2)]
        await asyncio.gather(*(write_many(database_url, number, committed) for number in range(WRITERS)))
        writing = False
        first, second = await asyncio.wait_for(asyncio.gather(*followers), 60)
        for relay in relays:
            relay.cancel()
        await asyncio.gather(*relays, return_exceptions=True)
        in_order = [row["position"] for row in await db.fetch("select position from events order by txid, position")]
    await redis.aclose()
    assert first == second
    # A transaction that committed late still comes before those that started after it.
    assert [position for _, position in first] == in_order
    assert [seq for seq, _ in first] == list(range(1, len(committed) + 1))
    assert {position for _, position in first} == committed


async def test_the_database_refuses_to_change_an_event(forge: Forge, alice: Client) -> None:
    for statement in ("update events set actor = 'x'", "delete from events"):
        with pytest.raises(asyncpg.RaiseError, match="never changed"):
            await forge.db.execute(statement)


async def test_a_second_answer_to_the_same_cause_is_dropped(forge: Forge, nethack: Client) -> None:
    from events.record import record_answer
    from events.repositories import RepositoryCreated

    async with forge.db.acquire() as connection:
        position = await connection.fetchval("select position from events where type = 'project.created'")
        cause = await log.find_at_position(connection, position)
        assert cause is not None
        again = RepositoryCreated(project_id=cause.data["project_id"], path="nethack", head="main", refs=[])
        assert await record_answer(connection, cause, again) is None
    assert await forge.db.fetchval("select count(*) from events where type = 'repository.created'") == 1


async def test_a_decision_on_an_outdated_revision_is_a_conflict(forge: Forge, nethack: Client) -> None:
    from events.issues import IssueOpened

    project = (await nethack.pagure("/nethack"))[1]["id"]
    opened = IssueOpened(
        project_id=project, uid="x", title="t", content="c", author="alice", assignee=None, private=False,
        tags=[], milestone=None, priority=None,
    )  # fmt: skip
    async with forge.db.acquire() as connection:
        entry = AppendRequest(event=opened, version=1, actor="alice", command_id=uuid.uuid4(), revision=-1)
        with pytest.raises(log.VersionConflict):
            await log.append(connection, entry, ("test", b"{}"))
    assert await forge.db.fetchval("select count(*) from commands where name = 'test'") == 0


async def test_a_rebuild_during_writes_produces_the_same_rows(forge: Forge, nethack: Client) -> None:
    bob = await forge.user("bob")
    await bob.post("/fork", repo="nethack")
    done = asyncio.Event()

    async def writer() -> None:
        number = 0
        while not done.is_set():
            number += 1
            status, _ = await bob.post("/nethack/new_issue", title=f"t{number}", issue_content="c", tag="a,b")
            assert status == 200
            assert (await nethack.post(f"/nethack/issue/{number}/comment", comment="c"))[0] == 200

    before = await forge.rows()
    await rebuild.rebuild(forge.db)
    assert await forge.rows() == before
    writing = asyncio.create_task(writer())
    await asyncio.sleep(0.3)
    for _ in range(3):
        await rebuild.rebuild(forge.db)
    done.set()
    await writing
    await forge.numbered()
    before = await forge.rows()
    assert len(before["issues"]) > 5
    await rebuild.rebuild(forge.db)
    assert await forge.rows() == before
    assert (await nethack.pagure("/nethack"))[0] == 200


async def test_only_one_of_several_concurrent_rebuilds_runs(forge: Forge, nethack: Client) -> None:
    before = await forge.rows()
    results = await asyncio.gather(*(rebuild.rebuild(forge.db) for _ in range(4)), return_exceptions=True)
    assert [type(each) for each in results if not isinstance(each, int)] == [rebuild.RebuildRunning] * 3
    assert await forge.rows() == before


async def test_a_rebuild_restores_access_groups_and_settings(forge: Forge, nethack: Client) -> None:
    for name in ("bob", "carol"):
        await forge.user(name)
    await nethack.json("POST", "/v1/groups", {"name": "hackers"})
    for method in ("PUT", "DELETE", "PUT"):
        await nethack.json(method, "/v1/groups/hackers/members/bob")
    for party, name, acl in (
        ("user", "bob", "ticket"), ("user", "bob", "admin"), ("group", "hackers", "commit"),
        ("user", "carol", "commit"), ("user", "carol", ""),
    ):  # fmt: skip
        assert (await nethack.post("/nethack/git/modifyacls", user_type=party, name=name, acl=acl))[0] == 200
    for status in ("3", "-1", "2"):
        assert (await nethack.post("/nethack/watchers/update", watcher="alice", status=status))[0] == 200
    assert (await nethack.post("/nethack/options/update", always_merge="1"))[0] == 200
    settings = {
        "milestones": {"v1": {}},
        "milestones_keys": ["v1"],
        "default_priority": "x",
        "tags": {"pet": {}, "b": {}},
    }
    assert (await nethack.json("PATCH", "/v1/projects/nethack/tracker", settings))[0] == 200
    assert (await nethack.post("/nethack/new_issue", title="t", issue_content="c", tag="pet"))[0] == 200
    assert (await nethack.post("/nethack/git/generateacls"))[0] == 200
    bound = await nethack.limited(project="nethack")
    assert (await bound.request("DELETE", "/api/0/nethack/tag/pet"))[0] == 200
    assert (await bound.post("/nethack/blockuser", username="carol"))[0] == 200
    assert (await nethack.post("/nethack/token/new", acls="commit"))[0] == 200
    assert (await nethack.post("/fork", repo="nethack"))[0] == 200
    bound = await nethack.limited(project="fork/alice/nethack")
    assert (await bound.post("/fork/alice/nethack/delete"))[0] == 200
    transfer = {"main_admin": "bob", "retain_access": True}
    assert (await nethack.json("PATCH", "/api/0/nethack", transfer))[0] == 200
    await forge.idle()
    before = await forge.rows()
    assert all(before[table] for table in ("access", "groups", "group_members", "watches", "issue_tags", "tasks"))
    await rebuild.rebuild(forge.db)
    assert await forge.rows() == before


async def test_upcasts_apply_when_old_events_are_read_and_replayed(
    forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nethack.post("/nethack/new_issue", title="old", issue_content="c")
    await forge.numbered()
    upcast = """ (data - 'content') || jsonb_build_object('content', upper(data ->> 'content')) """
    monkeypatch.setitem(upcasts.UPCASTS, "issue.opened", [upcast, '\'{"color": "red"}\' || data'])
    rebuild._replay_sql.cache_clear()
    try:
        await rebuild.rebuild(forge.db)
    finally:
        rebuild._replay_sql.cache_clear()
    assert (await nethack.pagure("/nethack/issue/1"))[1]["content"] == "C"
    [event] = (await nethack.get("/v1/events?types=issue.*"))[1]["events"]
    [event] = (await nethack.get("/v1/events?types=issue.*"))[1]["events"]
    assert event["data"]["content"] == "C"
    assert "color" not in event["data"]  # what no event type lists is hidden
    async with forge.db.acquire() as connection:
        [stored] = [each for each in await log.read(connection, 0) if each.type == "issue.opened"]
    assert stored.data["content"] == "C"
    assert not hasattr(stored.event, "color")


@pytest.mark.slow
async def test_a_dump_restored_into_another_cluster_keeps_its_numbers(
    own_settings: Settings, database_url: str, services: tuple[str, str], tmp_path: Path
) -> None:
    """Transaction ids do not survive a dump; the order of the log does, including events without a number."""
    async with database(database_url, 2) as db, db.acquire() as connection:
        for index in range(50):
            await write(connection, user_created(f"u{index}"))
        numbered = await log.number_settled(connection, 20)
        assert [each.seq for each in numbered.numbered] == list(range(1, 21))
        expected = [row["position"] for row in await connection.fetch("select position from events order by txid")]
    dump = tmp_path / "dump.sql"
    await asyncio.to_thread(
        subprocess.run, [embedded.BIN / "pg_dump", "-f", str(dump), database_url], check=True, env={"TZ": "UTC"}
    )
    other = await start_service(embedded.start_postgres, tmp_path / "other")
    try:
        await asyncio.to_thread(
            subprocess.run, [embedded.BIN / "psql", "-q", "-f", str(dump), other.url], check=True, capture_output=True
        )
        assert "already" in await migrate.migrate(other.url)
        async with database(other.url, 2) as db, db.acquire() as connection:
            await write(connection, user_created("later"))
            await log.number_settled(connection, 1000)
            events = await log.read(connection, 0)
        assert [event.seq for event in events] == list(range(1, 52))
        assert [event.position for event in events][:50] == expected
    finally:
        await asyncio.to_thread(other.stop)


def test_an_event_class_keeps_its_public_type() -> None:
    assert ProjectCreated.type == "project.created"
