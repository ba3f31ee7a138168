"""The role with which `polyforge up` uses its database."""

import asyncpg
import pytest

from app.config import Settings
from app.ops import migrate, roles
from events.projections.rebuild import rebuild
from tests.conftest import Client, Forge

PASSWORD = "a-password-of-the-role"

pytestmark = pytest.mark.own_forge


@pytest.fixture
async def own_settings(own_settings: Settings) -> Settings:
    """The forge connects with the role instead of the superuser."""
    url = await roles.prepare_role(own_settings.required_database_url(), PASSWORD)
    return own_settings.model_copy(update={"database_url": url})


async def test_the_role_can_do_what_the_forge_does(forge: Forge, nethack: Client) -> None:
    await nethack.post("/nethack/options/update", **{"Web-hooks": "https://example.org/"})
    await nethack.post("/nethack/new_issue", title="t", issue_content="c")
    assert (await nethack.post("/nethack/git/branch", branch="dev"))[0] == 200
    assert (await nethack.post("/fork", repo="nethack"))[0] in (200, 400)
    await forge.idle()
    before = await forge.rows()
    await rebuild(forge.db)
    assert await forge.rows() == before
    bound = await nethack.limited(project="nethack")
    assert (await bound.post("/nethack/delete"))[0] == 200
    await forge.idle()


@pytest.mark.parametrize(
    "statement",
    [
        "truncate events", "truncate events cascade", "update events set data = '{}'", "delete from events",
        "delete from commands", "alter table events disable trigger all",
        "drop trigger events_are_never_changed on events",
        "create trigger mine before insert on events for each row execute function refuse_to_rewrite_history()",
        "drop table events", "set session_replication_role = replica", "update schema_version set version = 1",
        "create table public.mine (id int)", "create role mine", "copy events to program 'true'",
        "create or replace function public.refuse_to_rewrite_history() returns trigger language plpgsql as ''",
    ],
)  # fmt: skip
async def test_the_role_cannot_rewrite_the_log(forge: Forge, nethack: Client, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await forge.db.execute(statement)


async def test_preparing_the_role_again_changes_its_password(own_settings: Settings, database_url: str) -> None:
    async def connect(password: str) -> None:
        url = database_url.rpartition("@")[2]
        await (await asyncpg.connect(f"postgresql://{roles.ROLE}:{password}@{url}")).close()

    await connect(PASSWORD)
    await roles.prepare_role(database_url, PASSWORD + "-2")
    await connect(PASSWORD + "-2")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(PASSWORD)
    for password in ("short", "x" * 20 + "'", "x" * 20 + "@"):
        with pytest.raises(ValueError, match="password"):
            await roles.prepare_role(database_url, password)
    assert "already" in await migrate.migrate(database_url)
