"""What a data directory contains: all of it is known, so a directory that root has used can be recognized as one."""

import os
import re
from pathlib import Path

import pytest

from app.config import Settings
from app.ops.system_user import KNOWN_ENTRIES
from tests.cli.command import start_command
from tests.ops.test_up import run_up

OPERATING = Path(__file__).parent.parent.parent / "docs" / "operating.md"
TEMPORARY = {"postgres.new"}  # it becomes `postgres` when it is complete
COMMANDS = (["migrate"], ["secrets", "rotate"], ["doctor"], ["rebuild"], ["user", "list"], ["token", "list", "admin"])


def test_the_manual_lists_every_entry() -> None:
    table = OPERATING.read_text().partition("| path | content |")[2].partition("\n\n")[0]
    paths = [path for line in table.splitlines()[2:] for path in re.findall("`([^`]+)`", line.split("|")[1])]
    assert {path.removesuffix("/") for path in paths} == KNOWN_ENTRIES - TEMPORARY


@pytest.mark.slow
async def test_up_creates_known_entries_and_no_others(tmp_path: Path) -> None:
    async with run_up(tmp_path / "var"):
        assert set(os.listdir(tmp_path / "var")) == KNOWN_ENTRIES - TEMPORARY


@pytest.mark.slow
async def test_no_command_creates_another_entry(own_settings: Settings, var: Path) -> None:
    data = var / "data"
    environment = {
        "POLYFORGE_DATA": str(data),
        "POLYFORGE_DATABASE_URL": own_settings.required_database_url(),
        "POLYFORGE_REDIS_URL": own_settings.required_redis_url(),
    }
    for command in COMMANDS:
        async with start_command(*command, **environment) as running:
            await running.process.communicate()
        assert {"secrets.key"} <= set(os.listdir(data)) <= KNOWN_ENTRIES
