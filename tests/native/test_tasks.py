"""Tasks: listing, following and cancelling them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from app.git import store
from events.event import StoredEvent
from events.record import NewEvent
from tests.conftest import Client, Forge, wait_for_waiters
from workers import perform
from workers.reactions import GIT, REACTIONS, WorkerContext
from workers.settings import CONCURRENCY


class HeldWork:
    """Work that begins and does not end before `go_on` is set."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()


@pytest.fixture
async def held_creation() -> AsyncIterator[HeldWork]:
    """The creation of repositories, which waits for the test."""
    reaction, held = REACTIONS["create-repository"], HeldWork()
    original = reaction.work

    async def work(ctx: WorkerContext, cause: StoredEvent) -> list[NewEvent]:
        answers = await original(ctx, cause)
        held.begun.set()
        await held.go_on.wait()
        return answers

    object.__setattr__(reaction, "work", work)
    yield held
    held.go_on.set()
    object.__setattr__(reaction, "work", original)


async def create(client: Client, name: str, **form: str) -> str:
    status, queued = await client.post("/new", name=name, description="d", wait="0", **form)
    assert status == 200
    task: str = queued["taskid"]
    return task


async def wait_for_end(client: Client, task: str) -> Any:
    _, found = await client.get(f"/v1/tasks/{task}?wait=20")
    return found


async def test_tasks_are_listed_newest_first_page_by_page(forge: Forge, alice: Client) -> None:
    made = [await create(alice, f"p{n}") for n in range(5)]
    for task in made:
        await wait_for_end(alice, task)
    path, seen = "/v1/tasks?limit=2", []
    while path:
        status, page = await alice.get(path)
        assert (status, len(page["tasks"]) <= 2) == (200, True)
        seen += page["tasks"]
        path = page["next"] and f"/v1/tasks?limit=2&cursor={page['next']}"
    assert [each["id"] for each in seen] == made[::-1]
    assert seen[0] == await wait_for_end(alice, made[-1])


async def test_tasks_are_filtered(forge: Forge, alice: Client) -> None:
    await wait_for_end(alice, await create(alice, "one"))
    bob = await forge.user("bob")
    await wait_for_end(bob, (await bob.post("/fork", repo="one", wait="0"))[1]["taskid"])

    async def kinds(query: str) -> list[str]:
        status, page = await alice.get(f"/v1/tasks?{query}")
        assert status == 200, page
        return [each["kind"] for each in page["tasks"]]

    assert await kinds("") == ["fork-project", "create-project"]
    assert await kinds("kind=fork-project") == await kinds("actor=bob") == ["fork-project"]
    assert await kinds("project=one") == ["create-project"]
    assert await kinds("project=fork/bob/one&status=succeeded") == ["fork-project"]
    assert await kinds("status=queued") == await kinds("kind=x") == await kinds("actor=x") == []
    for query in ("status=over", "cursor=!", "cursor=AAAA", "limit=0", "color=red"):
        assert (await alice.get(f"/v1/tasks?{query}"))[0] == 422, query
    assert (await alice.get("/v1/tasks?project=none"))[0] == 404


async def test_tasks_of_private_projects_are_hidden(forge: Forge, alice: Client) -> None:
    task = await create(alice, "cave", private="1")
    await wait_for_end(alice, task)
    bob = await forge.user("bob")
    for stranger in (bob, forge.nobody):
        assert (await stranger.get("/v1/tasks"))[1]["tasks"] == []
        assert (await stranger.get(f"/v1/tasks/{task}"))[0] == 404
    for insider in (alice, forge.admin):
        assert [each["id"] for each in (await insider.get("/v1/tasks"))[1]["tasks"]] == [task]
    grant = {"user_type": "user", "name": "bob", "acl": "ticket"}
    assert (await alice.post("/alice/cave/git/modifyacls", **grant))[0] == 200
    assert [each["id"] for each in (await bob.get("/v1/tasks"))[1]["tasks"]] == [task]


async def test_a_bound_token_sees_only_the_tasks_of_its_project(forge: Forge, alice: Client) -> None:
    for name in ("one", "two"):
        await wait_for_end(alice, await create(alice, name))
    bound = await alice.limited(project="one")
    assert [each["project"] for each in (await bound.get("/v1/tasks"))[1]["tasks"]] == ["one"]


async def test_old_tasks_are_hidden(forge: Forge, alice: Client) -> None:
    task = await create(alice, "old")
    await wait_for_end(alice, task)
    await forge.db.execute("update tasks set ended_at = ended_at - interval '31 days'")
    assert (await alice.get("/v1/tasks"))[1]["tasks"] == []
    assert (await alice.get(f"/v1/tasks/{task}"))[0] == 404


async def test_a_cancelled_task_has_no_effect(forge: Forge, alice: Client, held_creation: HeldWork) -> None:
    """Even though its worker finishes the work."""
    task = await create(alice, "nethack")
    await held_creation.begun.wait()
    waiting = asyncio.create_task(wait_for_end(alice, task))
    status, answer = await alice.json("POST", f"/v1/tasks/{task}/cancel")
    assert (status, alice.headers["Location"]) == (202, f"{forge.url}/v1/tasks/{task}")
    assert (alice.headers["Retry-After"], answer["status"]) == ("1", "running")
    assert answer["id"] == task
    found = await waiting
    assert (found["status"], found["result"], found["error"]) == ("cancelled", None, None)
    assert found["ended_at"] is not None
    held_creation.go_on.set()
    assert (await alice.pagure("/nethack"))[0] == 404
    assert await forge.db.fetchval("select count(*) from events where type = 'repository.created'") == 0
    assert (await alice.post("/new", name="nethack", description="again"))[0] == 200
    assert (await alice.json("POST", f"/v1/tasks/{task}/cancel"))[0] == 409


async def test_a_queued_task_can_be_cancelled(alice: Client, held_creation: HeldWork) -> None:
    """All slots of the worker are taken."""
    tasks = {f"p{n}": await create(alice, f"p{n}") for n in range(CONCURRENCY[GIT] + 1)}
    queued: list[str] = []
    while len(queued) != 1:  # the projects take turns, so it can be any of them
        statuses = {name: (await alice.get(f"/v1/tasks/{task}"))[1]["status"] for name, task in tasks.items()}
        queued = [name for name, status in statuses.items() if status == "queued"]
    assert (await alice.json("POST", f"/v1/tasks/{tasks[queued[0]]}/cancel"))[0] == 202
    assert (await wait_for_end(alice, tasks[queued[0]]))["status"] == "cancelled"
    assert (await alice.pagure(f"/{queued[0]}"))[0] == 404


async def test_only_the_user_and_administrators_can_cancel_a_task(
    forge: Forge, alice: Client, held_creation: HeldWork
) -> None:
    task = await create(alice, "nethack")
    await held_creation.begun.wait()
    bob = await forge.user("bob")
    here = f"/v1/tasks/{task}/cancel"
    assert (await bob.json("POST", here))[0] == 403
    assert (await forge.nobody.json("POST", here))[0] == 401
    assert (await (await alice.limited(acls=["create_project"])).json("POST", here))[0] == 403
    assert (await bob.json("POST", "/v1/tasks/no-id/cancel"))[0] == 404
    assert (await alice.json("POST", here, {"color": "red"}))[0] == 422
    assert (await forge.admin.json("POST", here))[0] == 202
    assert (await wait_for_end(alice, task))["status"] == "cancelled"


async def test_a_blocked_owner_cannot_cancel_tasks_of_the_project(alice: Client, held_creation: HeldWork) -> None:
    task = await create(alice, "nethack")
    await held_creation.begun.wait()
    bound = await alice.limited(project="nethack")
    assert (await bound.post("/nethack/blockuser", username="alice"))[0] == 200
    status, problem = await alice.json("POST", f"/v1/tasks/{task}/cancel")
    assert (status, problem["detail"]) == (403, "You have been blocked from this project.")


async def test_a_long_task_reports_its_progress(forge: Forge, nethack: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "PROGRESS_INTERVAL", 0.01)
    halfway = asyncio.Event()
    loop = asyncio.get_running_loop()
    original = store._link_objects

    def slowly(*arguments: Any) -> None:
        *rest, progress = arguments
        progress(40)
        asyncio.run_coroutine_threadsafe(halfway.wait(), loop).result(20)
        original(*rest, progress)

    monkeypatch.setattr(store, "_link_objects", slowly)
    bob = await forge.user("bob")
    _, queued = await bob.post("/fork", repo="nethack", wait="0")
    async with asyncio.timeout(20):
        after = 0
        while True:
            _, task = await bob.get(f"/v1/tasks/{queued['taskid']}?wait=20&after={after}")
            if task["percent"] == 40:
                break
            after = task["seq"]
    assert (task["status"], task["stage"]) == ("running", "copy")
    halfway.set()
    task = await wait_for_end(bob, queued["taskid"])
    assert (task["status"], task["stage"], task["percent"]) == ("succeeded", None, 100)


async def test_waiting_for_a_task_ends_when_the_token_is_revoked(alice: Client, held_creation: HeldWork) -> None:
    task = await create(alice, "nethack")
    await held_creation.begun.wait()
    await alice.forge.numbered()
    _, issued = await alice.json("POST", "/v1/users/alice/tokens", {"description": "laptop"})
    laptop = Client(alice.forge, issued["token"], "alice")
    waiting = asyncio.create_task(laptop.get(f"/v1/tasks/{task}?wait=50"))
    await wait_for_waiters(1)
    assert (await alice.json("DELETE", f"/v1/tokens/{issued['id']}"))[0] == 204
    async with asyncio.timeout(10):
        assert (await waiting)[0] == 401


async def test_a_client_can_prefer_a_wait_and_is_told_when_to_retry(alice: Client, held_creation: HeldWork) -> None:
    task = await create(alice, "nethack")
    await held_creation.begun.wait()
    here = f"/v1/tasks/{task}"
    for query, prefer, applied in (
        ("", {}, None),
        ("?wait=1", {}, None),
        ("", {"Prefer": "respond-async, wait=1"}, "wait=1"),
    ):
        status, found = await alice.get(here + query, headers=prefer)
        assert (status, found["status"]) == (200, "running")
        assert (alice.headers.get("Preference-Applied"), alice.headers["Retry-After"]) == (applied, "1")
    waiting = asyncio.create_task(alice.get(here, headers={"Prefer": "wait=3600"}))
    await wait_for_waiters(1)
    held_creation.go_on.set()
    assert (await waiting)[1]["status"] == "succeeded"
    assert (alice.headers["Preference-Applied"], "Retry-After" in alice.headers) == ("wait=55", False)


async def test_a_client_can_wait_for_changes_after_a_known_seq(alice: Client, held_creation: HeldWork) -> None:
    task = await create(alice, "nethack")
    await held_creation.begun.wait()
    await alice.forge.numbered()
    here = f"/v1/tasks/{task}"
    _, running = await alice.get(here)
    assert (await alice.get(f"{here}?wait=50&after={running['seq'] - 1}"))[1] == running
    waiting = asyncio.create_task(alice.get(f"{here}?wait=50&after={running['seq']}"))
    await wait_for_waiters(1)
    held_creation.go_on.set()
    _, ended = await waiting
    assert (ended["status"], ended["seq"] > running["seq"]) == ("succeeded", True)


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "once"}])
async def test_a_wait_ends_when_the_client_hangs_up_unless_it_has_an_idempotency_key(
    alice: Client, held_creation: HeldWork, key: dict[str, str]
) -> None:
    headers, form = {"Authorization": f"token {alice.token}", **key}, {"name": "nethack", "description": "d"}
    async with aiohttp.ClientSession(alice.forge.url, headers=headers) as session:
        call = asyncio.create_task(session.post("/api/0/new", data=form))
        await held_creation.begun.wait()
        await wait_for_waiters(1)
        call.cancel()
        await wait_for_waiters(len(key))
        assert (await session.post("/api/0/new", data=form)).status == (409 if key else 400)
        held_creation.go_on.set()
        await alice.forge.idle()
        async with asyncio.timeout(20):
            while (answer := await session.post("/api/0/new", data=form)).status == 409:
                await asyncio.sleep(0.02)
        assert (answer.status, answer.headers.get("Idempotency-Replayed")) == ((200, "true") if key else (400, None))
    assert await alice.forge.db.fetchval("select count(*) from events where type = 'project.created'") == 1
