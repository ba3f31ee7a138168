"""How old the oldest thing is that each background loop has not done, in /readyz and in the metrics."""

import re
import uuid

from app.queries.undone import LOOPS, QUEUES
from tests.conftest import Client, Forge
from workers.reactions import QUEUES as WORK_QUEUES


def test_every_queue_has_an_age() -> None:
    assert set(QUEUES) == set(WORK_QUEUES)


async def test_a_forge_that_has_done_everything_shows_no_ages(forge: Forge, nethack: Client) -> None:
    await forge.idle()
    status, report = await forge.nobody.get("/readyz")
    assert (status, report["oldest_undone"]) == (200, dict.fromkeys(LOOPS, 0.0))


async def test_the_oldest_undone_thing_of_each_loop_is_shown(forge: Forge, nethack: Client) -> None:
    await forge.idle()
    position = await forge.db.fetchval("select max(position) from events")
    row = await forge.db.fetchrow("select project_id from projects")
    assert row is not None
    push = uuid.uuid4()
    await forge.db.execute(
        """
        insert into open_pushes (push_id, project_id, actor, begun_at, due_at)
        values ($1, $2, 'alice', now() - interval '90 seconds', now() + interval '1 hour')
        """,
        push,
        row["project_id"],
    )
    for number, queue in enumerate(QUEUES, 1):
        await forge.db.execute(
            """
            insert into work (position, reaction, queue, project_id, due_at, lease_until)
            values ($1, $2, $2, 0, now() - make_interval(mins => $3), now() + interval '1 hour'),
                   ($1, $2 || '-later', $2, 0, now() + interval '1 hour', null)
            """,
            position,
            queue,
            number,
        )
    await forge.db.execute(
        "insert into lanes (subscription_id, lane, due_at, lease_until, token) "
        "values ($1, 1, now() - interval '70 seconds', now() + interval '1 hour', $1)",
        push,
    )
    await forge.db.execute(
        "insert into mirrors (project_id, due_at, lease_until, token) "
        "values (0, now() - interval '80 seconds', now() + interval '1 hour', $1)",
        push,
    )
    status, report = await forge.nobody.get("/readyz")
    whole = {loop: int(seconds) // 10 * 10 for loop, seconds in report["oldest_undone"].items()}
    expected = {"pushes": 90, "work-git": 60, "work-mirror": 120, "work-follow": 180, "deliveries": 70, "mirrors": 80}
    assert (status, whole) == (200, {"numbering": 0, **expected})
    headers = {"Authorization": f"Bearer {forge.admin.token}"}
    async with forge.session.get(f"{forge.url}/metrics", headers=headers) as answer:
        shown = re.findall(
            r'^polyforge_oldest_undone_seconds\{loop="([a-z-]+)"\} ([0-9.]+)$', await answer.text(), re.M
        )
    assert {loop: int(float(seconds)) // 10 * 10 for loop, seconds in shown} == whole
    for table in ("open_pushes", "lanes", "mirrors"):
        await forge.db.execute(f"delete from {table}")
    await forge.db.execute("delete from work where done_at is null")
