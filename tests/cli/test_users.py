"""`polyforge user` and `polyforge token`: what they print can be given to the next command, whole."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from tests.cli.command import run_command, start_command

pytestmark = pytest.mark.slow

TEXT = "for the laptop with a name that is longer than a line of a terminal is wide, and some more words after that"


@pytest.fixture
def urls(own_settings: Settings) -> dict[str, str]:
    return {
        "POLYFORGE_DATABASE_URL": own_settings.required_database_url(),
        "POLYFORGE_REDIS_URL": own_settings.required_redis_url(),
        "COLUMNS": "40",
    }


async def run(*arguments: str, **environment: str) -> list[str]:
    """Run a command, whose output goes into a pipe, and return its lines."""
    async with start_command(*arguments, **environment) as command, asyncio.timeout(30):
        output, errors = await command.process.communicate()
    assert command.process.returncode == 0, errors
    return output.decode().splitlines()


async def test_a_token_is_revoked_by_the_id_that_a_listing_shows(urls: dict[str, str]) -> None:
    [token] = await run("user", "add", "alice", "alice@example.org", **urls)
    assert len(token) == 49
    await run("token", "add", "alice", "--description", TEXT, **urls)
    names, *rows = await run("token", "list", "alice", **urls)
    assert names.split() == ["id", "prefix", "created", "expires", "description"]
    assert sorted(row.split(maxsplit=4)[4] for row in rows) == ["created with the user", TEXT]
    for row in rows:
        await run("token", "revoke", row.split()[0], **urls)
    assert await run("token", "list", "alice", **urls) == [" ".join(names.split()).replace(" ", "  ")]


async def test_listings_are_whole_at_a_narrow_terminal(urls: dict[str, str]) -> None:
    await run("user", "add", "alice", "alice@example.org", "--fullname", TEXT, **urls)
    await run("token", "add", "alice", "--description", TEXT, **urls)
    for arguments, last in ((("user", "list"), TEXT), (("token", "list", "alice"), TEXT)):
        async with start_command(*arguments, terminal=True, **urls) as command:
            lines = [await command.read_line() for _ in range(2 if arguments[0] == "user" else 3)]
        assert any(line.endswith(last) for line in lines), lines


async def test_every_command_prints_json_on_request(urls: dict[str, str]) -> None:
    async def run_json(*arguments: str) -> list[Any]:
        code, printed, errors = await run_command(*arguments, "--json", **urls)
        assert code == 0, errors
        return printed

    [added] = await run_json("user", "add", "alice", "alice@example.org")
    assert (await run_json("user", "list"))[-1] == {
        "username": "alice", "admin": False, "email": "alice@example.org", "fullname": "alice",
    }  # fmt: skip
    [second] = await run_json("token", "add", "alice")
    listed = await run_json("token", "list", "alice")
    assert {row["id"] for row in listed} == {added["id"], second["id"]}
    assert await run_json("token", "revoke", second["id"]) == [{"id": second["id"], "revoked": True}]
    assert (await run_json("migrate"))[0]["message"] == "The schema is already up to date."
    assert (await run_json("rebuild"))[0]["events"] >= 3
    assert {row["variable"] for row in await run_json("config")} > {"POLYFORGE_DATA", "POLYFORGE_LEASE"}


async def test_nothing_is_printed_as_none(urls: dict[str, str]) -> None:
    await run("user", "add", "alice", "alice@example.org", **urls)
    for arguments in (("config",), ("user", "list"), ("token", "list", "alice"), ("migrate",)):
        assert "None" not in "\n".join(await run(*arguments, **urls))


async def test_a_password_comes_from_a_file(urls: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse battery\n")
    [token] = await run(
        "user", "add", "alice", "alice@example.org", "--password-file", str(tmp_path / "password"), **urls
    )
    assert len(token) == 49
    code, printed, errors = await run_command(
        "user", "add", "bob", "bob@example.org", "--password-file", str(tmp_path / "missing"), **urls
    )
    assert (code, printed) == (1, [])
    assert errors.startswith(f"Error: Cannot read {tmp_path / 'missing'}: ")
