"""What root starts runs as a system user, with files that nobody else may read and no secret among its arguments."""

import asyncio
import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.fernet import Fernet

from app.config import Settings
from app.ops import embedded, system_user
from tests.cli.command import RunningCommand, start_command
from tests.conftest import ADMIN_TOKEN
from tests.ops.test_up import TOKEN, Running, run_up

# Only root can become another user, so without root there is nothing to test.
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")]

PARTS = ("serve", "relay", "work", "bin/postgres", "valkey-server")


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that only root may pass through, as `mktemp -d` makes it."""
    with tempfile.TemporaryDirectory(prefix="polyforge-test-") as folder:
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        yield Path(folder)


def find_owner(pid: int) -> str:
    return pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name


def read_user(pid: int) -> tuple[set[str], list[str]]:
    """The user ids of a process and its groups."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return set(status["Uid"].split()), status["Groups"].split()


def name_services(settings: Settings) -> dict[str, str]:
    return {
        "POLYFORGE_DATABASE_URL": settings.required_database_url(),
        "POLYFORGE_REDIS_URL": settings.required_redis_url(),
    }


async def test_every_process_of_root_runs_as_the_system_user(closed_folder: Path) -> None:
    user = system_user.ensure_user(system_user.SYSTEM_USER)
    async with run_up(closed_folder / "var") as forge:
        for pid in (forge.up.pid, *map(forge.find_process, PARTS)):
            assert read_user(pid) == ({str(user.pw_uid)}, [])
        assert (await forge.call("POST", "/api/0/new", name="nethack", description="d", create_readme="1"))[0] == 200
        found = [path for path in (closed_folder / "var").rglob("*") if not path.is_symlink()]
    assert len(found) > 100
    for path in (closed_folder / "var", *found):
        if path.exists():
            assert path.stat().st_uid == user.pw_uid, path
    data = closed_folder / "var"
    for path in (data, *data.iterdir(), *(data / "repositories").rglob("*")):
        # Git makes packed objects read-only.
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


async def test_only_the_system_user_may_pass_through_folders_above_the_data(closed_folder: Path) -> None:
    async with run_up(closed_folder / "var") as forge:
        assert (await forge.call("GET", "/readyz"))[0] == 200
    assert not stat.S_IMODE(closed_folder.stat().st_mode) & 0o067
    other = pwd.getpwnam("nobody").pw_uid

    async def may_pass(user_id: int) -> bool:
        test = await asyncio.create_subprocess_exec("test", "-x", str(closed_folder), user=user_id, extra_groups=[])
        return await test.wait() == 0

    assert await may_pass(system_user.ensure_user(system_user.SYSTEM_USER).pw_uid)
    assert not await may_pass(other)


@pytest.fixture
def closed_folder_without_lists(closed_folder: Path) -> Iterator[Path]:
    """A folder that only root may pass through, on a file system without access control lists."""
    place = closed_folder / "ramfs"
    place.mkdir()
    # Root in a container often may not mount, and other file systems may have access control lists.
    if subprocess.run(["mount", "-t", "ramfs", "none", place], check=False, capture_output=True).returncode:
        pytest.skip("root may mount nothing here")
    try:
        (place / "closed").mkdir(mode=0o700)
        yield place / "closed"
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("command", ["up", "relay"])
async def test_the_start_says_which_folders_were_opened_and_to_whom(
    command: str, closed_folder: Path, closed_folder_without_lists: Path
) -> None:
    closed_folder_without_lists.parent.chmod(0o755)
    arguments = (command, "--data", str(closed_folder_without_lists / "var"))
    async with start_command(*arguments, POLYFORGE_PORT=str(embedded.free_port())) as running:
        notice = await running.read_error()
        await running.wait(2)
    assert f"This user may now pass through {closed_folder} (an access control list" in notice
    assert f"All users may now pass through {closed_folder_without_lists} (chmod o+x)" in notice
    modes = [stat.S_IMODE(path.stat().st_mode) & 0o007 for path in (closed_folder, closed_folder_without_lists)]
    assert modes == [0, 1]


async def test_folders_that_everybody_may_pass_through_are_left_alone(closed_folder: Path) -> None:
    closed_folder.chmod(0o711)
    async with run_up(closed_folder / "var"):
        pass
    assert (stat.S_IMODE(closed_folder.stat().st_mode), os.listxattr(closed_folder)) == (0o711, [])


async def test_a_directory_that_root_used_before_is_taken_over(closed_folder: Path) -> None:
    data = closed_folder / "var"
    (data / "repositories" / "00").mkdir(parents=True)
    (data / "forge.log").write_text("old")
    async with run_up(data) as forge:
        assert (await forge.call("POST", "/api/0/new", name="nethack", description="d"))[0] == 200
    assert {path.owner() for path in (data, data / "forge.log", data / "repositories" / "00")} == {"polyforge"}


async def test_a_directory_of_something_else_is_not_given_away(closed_folder: Path) -> None:
    (closed_folder / "letter").write_text("Dear Rodney")
    async with start_command("up", "--data", str(closed_folder)) as command:
        assert "is not a data directory of Polyforge" in await command.read_error()
        assert await command.wait() == 2
    assert (closed_folder.owner(), (closed_folder / "letter").owner()) == ("root", "root")


async def test_a_directory_in_which_root_has_only_run_migrate_is_taken_over(
    closed_folder: Path, own_settings: Settings
) -> None:
    data = closed_folder / "data"
    environment = name_services(own_settings)
    async with start_command("migrate", "--data", str(data), **environment) as command:
        assert await command.wait() == 0
    assert [(path.name, path.owner()) for path in data.iterdir()] == [("secrets.key", "root")]
    (data / ".secrets.key-1a2b3c").write_text("")  # of a command that was killed
    port = str(embedded.free_port())
    async with start_command("serve", "--data", str(data), "--port", port, **environment) as command:
        while '"listening"' not in (line := await command.read_error()):
            assert line
    assert {path.owner() for path in (data, *data.rglob("*"))} == {system_user.SYSTEM_USER}


async def test_a_directory_with_the_rest_of_a_killed_command_is_taken_over(closed_folder: Path) -> None:
    (closed_folder / ".secrets.key-1a2b3c").write_text("")
    async with start_command("relay", "--data", str(closed_folder)) as command:
        assert "tarted by root" in await command.read_error()


def test_nothing_outside_is_given_away_while_folders_are_renamed(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user replaces a folder by a link to one of root's while the directory changes hands."""
    data, outside = closed_folder / "data", closed_folder / "outside"
    for folder in (data / "repositories" / "00", outside):
        folder.mkdir(parents=True)
        for name in ("first", "second"):
            (folder / name).write_text("")
    (data / "repositories" / "link").symlink_to(outside)
    give = os.chown

    def replace_folder(path: Any, *arguments: Any, **options: Any) -> None:
        give(path, *arguments, **options)
        folder = data / "repositories" / "00"
        if Path(path).name in ("first", "second") and not folder.is_symlink():
            folder.rename(data / "aside")
            folder.symlink_to(outside)

    monkeypatch.setattr(os, "chown", replace_folder)
    user = system_user.ensure_user(system_user.SYSTEM_USER)
    system_user._give_directory(data, user)
    assert {path.owner() for path in (outside, *outside.iterdir())} == {"root"}
    assert {path.owner() for path in (data, data / "repositories", *(data / "aside").iterdir())} == {"polyforge"}
    assert (data / "repositories" / "link").lstat().st_uid == user.pw_uid


async def test_commands_of_root_leave_no_files_of_root(closed_folder: Path, own_settings: Settings) -> None:
    """They run as the owner of the data directory."""
    data = closed_folder / "data"
    data.mkdir()
    owner = pwd.getpwnam("nobody")
    os.chown(data, owner.pw_uid, owner.pw_gid)
    closed_folder.chmod(0o711)
    async with start_command("relay", "--data", str(data), **name_services(own_settings)) as command:
        assert '"starting"' in await _read_past_notice(command)
        assert find_owner(command.process.pid) == "nobody"
    assert {path.owner() for path in data.iterdir()} == {"nobody"}
    assert {path.name for path in data.iterdir()} == {"repositories", "attachments"}


async def _read_past_notice(command: RunningCommand) -> str:
    line = await command.read_error()
    return await command.read_error() if "tarted by root" in line else line


class TestArguments:
    async def test_the_token_of_the_administrator_is_no_argument(self, closed_folder: Path) -> None:
        """An option that takes it is still understood, and disappears from the list of processes."""
        port = embedded.free_port()
        arguments = ("up", "--data", str(closed_folder / "var"), "--port", str(port), "--admin-token", TOKEN)
        async with start_command(*arguments) as command:
            assert "--admin-token-file" in await command.read_error()
            while not (line := await command.read_line()).startswith("Polyforge is ready"):
                assert line == ""
            async with aiohttp.ClientSession() as session:
                forge = Running(command.process, f"http://127.0.0.1:{port}", session)  # type: ignore[arg-type]
                assert (await forge.call("POST", "/api/0/-/whoami"))[1]["username"] == "admin"
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = entry.read_bytes()
                except OSError:
                    continue
                assert TOKEN.encode() not in words or b"pytest" in words, words
            assert await command.wait(2) == 0

    async def test_the_processes_do_not_know_the_token(self, closed_folder: Path) -> None:
        async with run_up(closed_folder / "var") as forge:
            for part in PARTS:
                environment = Path(f"/proc/{forge.find_process(part)}/environ").read_bytes()
                assert TOKEN.encode() not in environment


async def test_secrets_are_read_from_files(closed_folder: Path, own_settings: Settings) -> None:
    """A file that only root may read will do."""
    secret = closed_folder / "token"
    secret.write_text(f"{ADMIN_TOKEN}\n")
    secret.chmod(0o400)
    port = embedded.free_port()
    arguments = ("up", "--data", str(closed_folder / "var"), "--port", str(port), "--admin-token-file", str(secret))
    async with start_command(*arguments) as command:
        while not (line := await command.read_line()).startswith("Polyforge is ready"):
            assert line == ""
        listing = ("events", "--types", "user.created", "--url", f"http://127.0.0.1:{port}")
        async with start_command(*listing, "--token-file", str(secret)) as events:
            assert (await events.read_json())["data"]["username"] == "admin"
        assert await command.wait(2) == 0


@pytest.mark.parametrize("command", ["up", "serve", "relay", "work", "doctor"])
async def test_a_file_of_keys_that_the_user_may_not_read_is_refused(
    command: str, closed_folder: Path, own_settings: Settings
) -> None:
    data, keys = closed_folder / "data", closed_folder / "keys"
    data.mkdir()
    closed_folder.chmod(0o711)
    os.chown(data, pwd.getpwnam("nobody").pw_uid, -1)
    keys.write_text(Fernet.generate_key().decode())
    keys.chmod(0o400)
    environment = {**name_services(own_settings), "POLYFORGE_SECRETS_KEY_FILE": str(keys)}
    async with start_command(command, "--data", str(data), **environment) as running:
        errors = (await running.process.communicate())[1].decode()
    assert errors.splitlines()[-1] == (
        f"Error: POLYFORGE_SECRETS_KEY_FILE: the forge runs as the user nobody, who may not read {keys} (Permission "
        "denied). Let this user own the file, and pass through the folders above it."
    )
    assert running.process.returncode == 2


async def test_migrate_reads_the_token_as_root(closed_folder: Path, own_settings: Settings) -> None:
    data, secret = closed_folder / "data", closed_folder / "token"
    data.mkdir()
    closed_folder.chmod(0o711)
    os.chown(data, pwd.getpwnam("nobody").pw_uid, -1)
    secret.write_text(f"{ADMIN_TOKEN}\n")
    secret.chmod(0o400)
    environment = {**name_services(own_settings), "POLYFORGE_ADMIN_TOKEN_FILE": str(secret)}
    async with start_command("migrate", "--data", str(data), **environment) as running:
        output, errors = await running.process.communicate()
    assert (running.process.returncode, errors) == (0, b"")
    assert b"Token of" not in output
    assert (data / "secrets.key").owner() == "nobody"
