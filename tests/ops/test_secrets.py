"""The keys that seal secrets: made at first start, rotated by a command, and missed when they are gone."""

import os
import stat
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from app.config import SettingError, Settings
from app.core.web_hooks import MASK
from app.database import database
from app.keyring import Keyring, KeyringError
from app.ops import doctor, migrate, sealing
from app.stores.sealed import COLUMNS, open_keyring
from tests.cli.command import start_command
from tests.conftest import Client, Forge
from tests.receiver import Receiver
from tests.subscriptions import open_issue, subscribe

VALUES = " union all ".join(
    f"select {column.name} as value from {column.table} where {column.name} is not null" for column in COLUMNS
)


async def list_sealed(forge: Forge) -> set[str]:
    """Every sealed value in the database."""
    return {row["value"] for row in await forge.db.fetch(VALUES)}


async def make_secrets(nethack: Client, receiver: Receiver) -> Any:
    """One secret of each kind; the subscription."""
    made = await subscribe(nethack, receiver, headers={"X-Key": "canary-header"})
    assert (await nethack.json("POST", f"/v1/subscriptions/{made['id']}/secret", {}))[0] == 200
    await nethack.post("/nethack/options/update", **{"Web-hooks": receiver.url + "?key=canary"})
    await nethack.post("/nethack/settings/IRC/install", nick_pass="canary-password")
    assert (await nethack.pagure("/nethack/webhook/token"))[0] == 200
    return made


def can_open(keys: list[str], sealed: set[str]) -> int:
    """Count the values that one of the keys opens."""
    count = 0
    for value in sealed:
        for key in keys:
            try:
                Fernet(key).decrypt(value)
            except InvalidToken:
                continue
            count += 1
            break
    return count


async def run_rotation(forge: Forge) -> str:
    async with start_command("secrets", "rotate", **environment(forge.settings)) as command:
        line = await command.read_line()
        assert await command.wait() == 0, await command.read_error()
    return line


def environment(settings: Settings) -> dict[str, str]:
    return {
        "POLYFORGE_DATA": str(settings.data),
        "POLYFORGE_DATABASE_URL": settings.required_database_url(),
        "POLYFORGE_REDIS_URL": settings.required_redis_url(),
        "POLYFORGE_PORT": str(settings.port),
    }


@pytest.mark.slow
async def test_a_rotation_seals_everything_again_while_the_forge_runs(
    forge: Forge, nethack: Client, receiver: Receiver
) -> None:
    await make_secrets(nethack, receiver)
    key_file = forge.settings.key_file
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    before, old = await list_sealed(forge), key_file.read_text().split()
    assert can_open(old, before) == len(before) >= 7
    assert f"{len(before)} values" in await run_rotation(forge)
    after, both = await list_sealed(forge), key_file.read_text().split()
    assert len(after) == len(before)
    assert (len(both), both[1:], stat.S_IMODE(key_file.stat().st_mode)) == (2, old, 0o600)
    assert can_open(old, after) == 0
    assert can_open(both[:1], after) == len(after)
    # The running forge reads with the new key, and seals with it.
    await open_issue(nethack)
    got = await receiver.wait_for(1)
    assert got[-1].path == "/hook"
    assert (await nethack.post("/nethack/settings/IRC/install", nick_pass="canary-next"))[0] == 200
    assert can_open(both[:1], await list_sealed(forge)) == len(after)
    await run_rotation(forge)
    assert key_file.read_text().split()[1:] == both[:1]


@pytest.mark.slow
async def test_nothing_starts_without_the_keys_of_its_database(forge: Forge, nethack: Client) -> None:
    assert (await nethack.pagure("/nethack/webhook/token"))[0] == 200
    settings, key_file = forge.settings, forge.settings.key_file
    await sealing.prepare_keys(forge.db)
    aside = key_file.rename(key_file.with_suffix(".aside"))
    for part in ("serve", "work", "migrate"):
        async with start_command(part, **environment(settings)) as command:
            line = await command.read_error()
            assert (await command.read_error() if '"started by root"' in line else line) == (
                f"Error: POLYFORGE_SECRETS_KEY_FILE: {key_file} is missing. It holds the keys that open the secrets in "
                "the database; restore it, or set POLYFORGE_SECRETS_KEYS."
            )
            assert await command.wait() == 2
        assert not key_file.exists()
    other = Fernet.generate_key().decode()
    given = {**environment(settings), "POLYFORGE_SECRETS_KEYS": other}
    async with start_command("work", **given) as command:
        errors = (await command.process.communicate())[1].decode()
        assert "Error: POLYFORGE_SECRETS_KEYS: these keys do not open the secrets" in errors
        assert await command.wait() == 2
    for content, problem in (
        (other.encode(), f"the keys in {key_file} do not open the secrets in the database: "),
        (b"sesame", f"{key_file} must hold keys of 32 bytes"),
        (b"\xff\xfe", f"{key_file} must hold keys of 32 bytes"),
        (b"", f"{key_file} must hold keys of 32 bytes"),
    ):
        key_file.write_bytes(content)
        for part in (["work"], ["migrate"], ["secrets", "rotate"]):
            async with start_command(*part, **environment(settings)) as command:
                errors = (await command.process.communicate())[1].decode()
                assert f"Error: POLYFORGE_SECRETS_KEY_FILE: {problem}" in errors
                assert "sesame" not in errors
                assert await command.wait() == 2
    aside.rename(key_file)


async def test_doctor_tells_of_a_key_file_that_others_can_read(forge: Forge, nethack: Client) -> None:
    await sealing.prepare_keys(forge.db)
    key_file = forge.settings.key_file

    async def find_fault() -> str:
        found: dict[str, str] = {}
        await doctor.run_checks(forge.settings, found.__setitem__)
        return found["secrets"]

    assert await find_fault() == "ok"
    for mode in (0o640, 0o604):
        key_file.chmod(mode)
        assert await find_fault() == (
            f"{key_file} can be read by other users of this machine. Run `chmod 600 {key_file}`."
        )
    key_file.chmod(0o600)
    keys = key_file.read_text()
    key_file.write_text(Fernet.generate_key().decode())
    assert "do not open the secrets in the database" in await find_fault()
    key_file.unlink()
    assert "cannot be read" in await find_fault()
    key_file.write_text(keys)


async def test_keys_may_come_from_a_setting(forge: Forge, nethack: Client) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    url = forge.settings.required_database_url()
    first = forge.settings.model_copy(update={"secrets_keys": SecretStr(old), "data": Path("/nowhere")})
    async with database(url, 1, open_keyring(first)) as db:
        await sealing.prepare_keys(db)
    second = first.model_copy(update={"secrets_keys": SecretStr(f"{new}, {old}")})
    async with database(url, 1, open_keyring(second)) as db:
        assert await sealing.rotate(db) == (1, 2)
    async with database(url, 1, open_keyring(first)) as db:
        with pytest.raises(SettingError, match="do not open"):
            await sealing.prepare_keys(db)
    third = first.model_copy(update={"secrets_keys": SecretStr(new)})
    async with database(url, 1, open_keyring(third)) as db:
        await sealing.prepare_keys(db)


def test_the_first_of_two_that_start_at_once_makes_the_key(tmp_path: Path) -> None:
    first, second = Keyring(tmp_path / "keys"), Keyring(tmp_path / "keys")
    first.create()
    sealed = first.seal("x", "here")
    second.create()
    assert second.open(sealed, "here") == "x"
    assert os.listdir(tmp_path) == ["keys"]
    for context in ("there", "her", ""):
        with pytest.raises(KeyringError):
            second.open(sealed, context)


# ---------------------------------------------------------------- upgrades

OLD_HOOKS = "https://user:canary-word@example.org/a?key=canary\r\nnothing\nhttp://[::1]:80/canary"
DOWNGRADE = """
    delete from secrets_check;
    update project_secrets set secret = 'canary-plain';
    delete from subscription_endpoints where project_id is not null;
    update subscription_endpoints
    set    url = 'https://example.org/canary', secret = 'canary-plain-secret', headers = '{"X-Key": "canary"}';
    alter table subscription_endpoints alter column headers type jsonb using headers::jsonb;
    alter table events disable trigger events_are_never_changed;
    update events set data = jsonb_set(data, '{settings,web_hooks}', to_jsonb($$OLD_HOOKS$$::text))
    where  type = 'project.configured';
    update commands set body = jsonb_set(body, '{settings,web_hooks}', to_jsonb($$OLD_HOOKS$$::text))
    where  name = 'configure-project';
    update events set data = jsonb_set(data, '{fields,target}', '"https://user:canary@h.example/x ssh://git:canary@h/"')
    where  type = 'plugin.installed';
    update events set data = jsonb_set(data, '{url}', '"https://canary@h.example/@x"') where type = 'project.created';
    alter table events enable trigger events_are_never_changed;
    update schema_version set version = 6;
""".replace("OLD_HOOKS", OLD_HOOKS)


async def test_an_upgrade_seals_what_was_stored_in_clear(forge: Forge, nethack: Client, receiver: Receiver) -> None:
    made = await subscribe(nethack, receiver)
    await nethack.pagure("/nethack/webhook/token")
    await nethack.post("/nethack/options/update", **{"Web-hooks": "https://example.org/"})
    await nethack.post("/nethack/settings/Mirroring/install", target="https://h.example/x")
    await forge.numbered()
    url = forge.settings.required_database_url()
    async with forge.db.acquire() as connection:
        await connection.execute(DOWNGRADE)
    with pytest.raises(LookupError):
        await migrate.migrate(url)  # nothing is left in clear because there is no key
    await migrate.migrate(url, open_keyring(forge.settings))
    connection = await asyncpg.connect(url)
    tables = await connection.fetch("select schemaname || '.' || tablename from pg_tables where schemaname <> all ($1)",
                                    ["pg_catalog", "information_schema"])  # fmt: skip
    for [table] in tables:
        assert not await connection.fetch(f"select t from {table} t where t::text like '%canary%'"), table
    with pytest.raises(asyncpg.RaiseError):
        await connection.execute("delete from events")
    await connection.close()
    assert (await nethack.pagure("/nethack/webhook/token"))[1]["webhook"]["token"] == "canary-plain"
    shown = (await nethack.pagure("/nethack/options"))[1]["settings"]["Web-hooks"]
    assert sorted(shown.split("\n")) == ["http://[::1]:80/canary", f"https://{MASK}@example.org/a?key=canary"]
    hosts = {each["host"] for each in (await nethack.get("/v1/subscriptions"))[1]["subscriptions"]}
    assert hosts == {"127.0.0.1", "[::1]", "example.org"}
    assert UUID(made["id"])
    plugins = (await nethack.pagure("/nethack/settings/plugins"))[1]["plugins"]
    assert plugins[0]["Mirroring"]["target"] == "https://h.example/x ssh://git@h/"
