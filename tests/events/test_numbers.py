"""The numbers of users and groups."""

from events.projections.rebuild import rebuild
from tests.conftest import Client, Forge

NUMBERS = """
    select username as name, user_id as number, position
    from   users join events on stream = 'user-' || username and type = 'user.created'
    union all
    select group_name, group_id, position
    from   groups join events on stream = 'group-' || group_name and type = 'group.created'
"""


async def test_users_and_groups_are_numbered_by_the_event_that_created_them(forge: Forge, alice: Client) -> None:
    await alice.json("POST", "/v1/groups", {"name": "hackers"})
    rows = await forge.db.fetch(NUMBERS)
    assert {row["name"] for row in rows} == {"admin", "alice", "hackers"}
    assert all(row["number"] == row["position"] for row in rows)


async def test_a_rebuild_gives_users_and_groups_the_same_numbers(forge: Forge, alice: Client) -> None:
    await alice.json("POST", "/v1/groups", {"name": "hackers"})
    await forge.idle()
    before = await forge.db.fetch(NUMBERS)
    await rebuild(forge.db)
    assert sorted(before) == sorted(await forge.db.fetch(NUMBERS))
