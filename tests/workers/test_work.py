"""Execution of work: each piece runs once, survives crashes and lost queues, and ends with its task."""

import asyncio
import dataclasses
import uuid
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.config import Settings
from app.git import store
from events.event import StoredEvent
from events.projections import rebuild
from events.record import NewEvent
from events.tasks import FailureReason
from tests.conftest import Client, Forge, commit, git
from workers import perform, queue
from workers import settings as worker_settings
from workers.reactions import (
    FOLLOW,
    GIT,
    MIRROR,
    REACTIONS,
    Reaction,
    TaskFailure,
    WorkerContext,
    ignore_failure,
)
from workers.settings import CONCURRENCY
from workers.slots import Slots


async def test_a_flushed_queue_loses_no_work(forge: Forge, alice: Client, settings: Settings) -> None:
    redis = Redis.from_url(settings.required_redis_url())
    tasks = []
    for number in range(10):
        _, queued = await alice.post("/new", name=f"p{number}", description="d", wait="0")
        tasks.append(queued["taskid"])
        await redis.flushall()
    await redis.aclose()
    for task in tasks:
        assert (await alice.get(f"/v1/tasks/{task}?wait=30"))[1]["status"] == "succeeded"
    assert await forge.db.fetchval("select count(*) from events where type = 'repository.created'") == 10


async def test_work_that_is_enqueued_twice_is_done_once(forge: Forge, nethack: Client, settings: Settings) -> None:
    row = await forge.db.fetchrow("select position, reaction, attempts from work")
    assert row is not None
    ctx = WorkerContext(forge.db, settings, _ignore_ring)
    assert await perform.perform(ctx, row["position"], row["reaction"]) is False
    assert await forge.db.fetchval("select count(*) from events where type = 'repository.created'") == 1


async def _ignore_ring() -> None:
    return None


async def test_a_worker_that_lost_its_lease_is_fenced_off(forge: Forge, nethack: Client, settings: Settings) -> None:
    row = await forge.db.fetchrow("select position, reaction from work")
    assert row is not None
    await forge.db.execute("update work set done_at = null, attempts = 7, lease_until = now() + interval '1 hour'")
    async with forge.db.acquire() as connection:
        cause = await perform.record_log.find_at_position(connection, row["position"])
    assert cause is not None
    reaction = REACTIONS[row["reaction"]]
    answers = reaction.on_failure(cause, TaskFailure(FailureReason.UNEXPECTED))
    assert await perform._settle(forge.db, reaction, cause, 6, answers, "given up") == "fenced off"
    assert await forge.db.fetchval("select count(*) from events where type = 'task.failed'") == 0


async def test_a_project_is_discarded_if_its_repository_cannot_be_created(
    forge: Forge, alice: Client, settings: Settings, monkeypatch: object
) -> None:
    """A file is where the repository's folder should be: the task fails, and the name is free again."""
    first = await forge.db.fetchval("select last_value from project_ids")
    repo_path = store.repository_path(settings.repositories, first).parent
    for project_id in range(first, first + 3):
        blocked = store.repository_path(settings.repositories, project_id).parent
        blocked.parent.mkdir(parents=True, exist_ok=True)
        if not blocked.exists():
            blocked.write_text("in the way")
    assert repo_path.exists()
    saved, perform.MAX_FAILURES = perform.MAX_FAILURES, 1
    try:
        status, body = await alice.post("/new", name="nethack", description="d")
    finally:
        perform.MAX_FAILURES = saved
    assert (status, body["error_code"]) == (400, "ENOCODE")
    assert (await alice.pagure("/nethack"))[0] == 404
    assert (await alice.pagure("/projects"))[1]["total_projects"] == 0


async def test_the_sweep_enqueues_the_work_of_a_dead_worker_again(
    forge: Forge, alice: Client, settings: Settings
) -> None:
    """The work was claimed and never finished; another worker does it when the lease has expired."""
    original = REACTIONS["create-repository"].work
    died = asyncio.Event()

    async def die_once(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        if not died.is_set():
            died.set()
            # As after SIGKILL: no answer and no postponement, only a lease that expires.
            await ctx.db.execute("update work set lease_until = now() + interval '1 second'")
            raise asyncio.CancelledError
        return await original(ctx, cause)

    object.__setattr__(REACTIONS["create-repository"], "work", die_once)
    try:
        _, queued = await alice.post("/new", name="nethack", description="d", wait="0")
        task = (await alice.get(f"/v1/tasks/{queued['taskid']}?wait=30"))[1]
    finally:
        object.__setattr__(REACTIONS["create-repository"], "work", original)
    assert (task["status"], task["attempts"]) == ("succeeded", 2)


async def test_claims_that_were_lost_do_not_count_as_errors_of_the_work(
    forge: Forge, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten claims were lost before the first error that counts, so it is not the last; that of a lost claim does not."""
    original, ends = REACTIONS["create-repository"].work, []

    async def fail_once(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        if not ends:
            await ctx.db.execute("update work set attempts = attempts + 10, lease_until = now() - interval '1 second'")
            ends.append("lost")
            raise ValueError("odd")
        if len(ends) == 1:
            ends.append("failed")
            raise ValueError("odd")
        return await original(ctx, cause)

    monkeypatch.setitem(
        REACTIONS, "create-repository", dataclasses.replace(REACTIONS["create-repository"], work=fail_once)
    )
    _, queued = await alice.post("/new", name="nethack", description="d", wait="0")
    task = (await alice.get(f"/v1/tasks/{queued['taskid']}?wait=30"))[1]
    assert (task["status"], task["attempts"], ends) == ("succeeded", 13, ["lost", "failed"])
    assert await forge.db.fetchval("select failures from work where reaction = 'create-repository'") == 1


async def test_work_is_given_up_after_some_errors_of_its_own(
    forge: Forge, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perform, "MAX_FAILURES", 2)
    errors = []

    async def fail(_ctx: WorkerContext, _cause: StoredEvent) -> list[NewEvent]:
        errors.append(ValueError("odd"))
        raise errors[-1]

    monkeypatch.setitem(REACTIONS, "create-repository", dataclasses.replace(REACTIONS["create-repository"], work=fail))
    _, queued = await alice.post("/new", name="nethack", description="d", wait="0")
    task = (await alice.get(f"/v1/tasks/{queued['taskid']}?wait=30"))[1]
    assert (task["status"], len(errors)) == ("failed", 2)


async def test_a_repository_left_by_another_history_is_moved_aside(
    forge: Forge, alice: Client, settings: Settings
) -> None:
    """After an older dump is restored, project ids are assigned again while the newer repositories are still there."""
    await alice.post("/new", name="old", description="d")
    taken = (await alice.pagure("/old"))[1]["id"] + 1
    store.create_repository(settings.repositories, taken, cause=uuid.uuid4(), head="main", readme="of another history")
    assert (await alice.post("/new", name="fresh", description="d"))[0] == 200
    assert (await alice.pagure("/fresh"))[1]["id"] == taken
    assert (await alice.pagure("/fresh/git/branches"))[1]["branches"] == []
    repo_path = store.repository_path(settings.repositories, taken)
    [aside] = repo_path.parent.glob(f"{repo_path.name}-aside-*")
    assert store.list_refs(aside)[0][0] == "refs/heads/main"


async def test_work_that_kills_its_workers_is_given_up(
    forge: Forge, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        await ctx.db.execute("update work set lease_until = now()")
        raise asyncio.CancelledError

    monkeypatch.setattr(perform, "MAX_CLAIMS", 2)
    reaction = dataclasses.replace(REACTIONS["create-repository"], work=die)
    monkeypatch.setitem(REACTIONS, "create-repository", reaction)
    status, body = await alice.post("/new", name="nethack", description="d")
    assert (status, body["error_code"]) == (400, "ENOCODE")
    assert (await alice.pagure("/nethack"))[0] == 404
    assert await forge.db.fetchval("select attempts from work where reaction = 'create-repository'") == 3


async def test_hints_carry_nothing_and_are_few_however_much_work_there_is(forge: Forge, settings: Settings) -> None:
    redis = queue.connect(settings.required_redis_url())
    for _ in range(100):
        await queue.give_hint(redis, "nobody-listens")
    keys = [key async for key in redis.scan_iter("arq:job:nobody-listens:*")]
    assert 0 < len(keys) <= 4
    assert queue.deserialize(await redis.get(keys[0]))["a"] == []
    await redis.aclose()


async def test_a_project_with_much_work_does_not_stand_before_another_one(
    forge: Forge, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[int] = []
    everything_is_due = asyncio.Event()

    async def note(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        await everything_is_due.wait()
        order.append(cause.data["project_id"])
        return []

    for name in ("busy", "quiet"):
        await alice.post("/new", name=name, description="d", create_readme="1")
    await forge.idle()
    busy, quiet = [(await alice.pagure(f"/{name}"))[1]["id"] for name in ("busy", "quiet")]
    names = [f"note-{number}" for number in range(8)]
    for name in names:
        monkeypatch.setitem(REACTIONS, name, Reaction(name, FOLLOW, note, ignore_failure, tracked=False))
    for project_id, wanted in ((busy, names), (quiet, names[:1])):
        await forge.db.execute(
            """
            insert into work (position, reaction, queue, project_id)
            select position, name, 'follow', $1 from events, unnest($2::text[]) as name where project_id = $1
            """,
            project_id,
            wanted,
        )
    everything_is_due.set()
    await forge.idle()
    assert order.index(quiet) <= 2 * CONCURRENCY[FOLLOW]


async def test_work_is_done_while_the_queue_is_away(
    forge: Forge, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*arguments: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(queue, "give_hint", refuse)
    assert (await alice.post("/new", name="nethack", description="d"))[0] == 200


async def test_short_work_does_not_wait_behind_long_forks(forge: Forge, nethack: Client, tmp_path: Path) -> None:
    """All slots for long work are taken, and the follow-up of a pull request runs nevertheless."""
    forking, done = REACTIONS["fork-repository"], asyncio.Event()
    original = forking.work

    async def wait_for_end(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        await done.wait()
        return await original(ctx, cause)

    object.__setattr__(forking, "work", wait_for_end)
    try:
        forks = []
        for number in range(CONCURRENCY[GIT]):
            bob = await forge.user(f"bob{number}")
            forks.append((await bob.post("/fork", repo="nethack", wait="0"))[1]["taskid"])
        for task in forks:
            await _wait_for_status(nethack, task, "running")
        await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "nethack"))
        await git("checkout", "-qb", "topic", cwd=tmp_path / "nethack")
        await commit(tmp_path / "nethack")
        await git("push", "-q", "origin", "topic", cwd=tmp_path / "nethack")
        form = {"title": "Add a file", "branch_to": "main", "branch_from": "topic"}
        assert (await nethack.post("/nethack/pull-request/new", **form))[0] == 200
        followed = "select 1 from work where reaction = 'keep-pull-request' and done_at is not null"
        async with asyncio.timeout(10):
            while await forge.db.fetchval(followed) is None:
                await asyncio.sleep(0.02)
    finally:
        done.set()
        object.__setattr__(forking, "work", original)
    for task in forks:
        await _wait_for_status(nethack, task, "succeeded")


@pytest.mark.parametrize("deleted", ["before", "after"])
async def test_a_task_ends_although_its_project_is_deleted_meanwhile(
    forge: Forge, nethack: Client, tmp_path: Path, deleted: str
) -> None:
    await git("clone", "-q", nethack.git_url("nethack"), str(tmp_path / "nethack"))
    await git("checkout", "-qb", "topic", cwd=tmp_path / "nethack")
    await commit(tmp_path / "nethack")
    await git("push", "-q", "origin", "topic", cwd=tmp_path / "nethack")
    form = {"title": "Add a file", "branch_to": "main", "branch_from": "topic"}
    assert (await nethack.post("/nethack/pull-request/new", **form))[0] == 200
    bound = await nethack.limited(project="nethack")
    merging = REACTIONS["merge-pull-request"]
    original = merging.work

    async def delete_project(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        answers = await original(ctx, cause) if deleted == "after" else []
        assert (await bound.post("/nethack/delete"))[0] == 200
        return answers or await original(ctx, cause)

    object.__setattr__(merging, "work", delete_project)
    try:
        _, queued = await nethack.post("/nethack/pull-request/1/merge", wait="0")
        task = (await nethack.get(f"/v1/tasks/{queued['taskid']}?wait=10"))[1]
    finally:
        object.__setattr__(merging, "work", original)
    assert (task["status"], bool(task["error"])) == ("failed", True)
    await forge.idle()
    before = await forge.rows()
    await rebuild.rebuild(forge.db)
    assert await forge.rows() == before


@pytest.mark.own_forge
async def test_a_worker_that_is_stopped_finishes_its_running_job(forge: Forge, alice: Client) -> None:
    """The idle workers of the other queues do not end it."""
    creating, begun, done = REACTIONS["create-repository"], asyncio.Event(), asyncio.Event()
    original = creating.work

    async def wait_for_end(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        begun.set()
        await done.wait()
        return await original(ctx, cause)

    object.__setattr__(creating, "work", wait_for_end)
    try:
        await alice.post("/new", name="nethack", description="d", wait="0")
        await begun.wait()
        forge.worker.cancel()
        ended, _ = await asyncio.wait([forge.worker], timeout=0.5)
        assert not ended
        done.set()
        await asyncio.wait([forge.worker])
    finally:
        done.set()
        object.__setattr__(creating, "work", original)
    assert await forge.db.fetchval("select count(*) from events where type = 'repository.created'") == 1


async def _wait_for_status(client: Client, task: str, status: str) -> None:
    async with asyncio.timeout(10):
        while (await client.get(f"/v1/tasks/{task}"))[1]["status"] != status:
            await asyncio.sleep(0.02)


async def test_a_stopping_worker_waits_for_each_of_its_queues(
    forge: Forge, nethack: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_started, finished = asyncio.Barrier(4), []

    async def run_slots(slots: Slots) -> None:
        try:
            await all_started.wait()
            await asyncio.Event().wait()
        finally:
            if slots.name == FOLLOW:
                await asyncio.sleep(0.1)
            finished.append(slots.name)

    monkeypatch.setattr(Slots, "run", run_slots)
    redis = queue.connect(settings.required_redis_url())
    job = asyncio.create_task(worker_settings.run_workers(WorkerContext(forge.db, settings, _ignore_ring), redis))
    await all_started.wait()
    job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    assert (set(finished), finished[-1]) == ({GIT, MIRROR, FOLLOW}, FOLLOW)
    await redis.aclose()
