"""Helpers for tests of branches, tags and aliases."""

from pathlib import Path
from typing import Any

from app.config import Settings
from app.git import store
from tests.conftest import Client, Forge

MADE = {"message": "Project branch was created"}
GIT_ERROR = {"error": "An error occurred during a git operation", "error_code": "EGITERROR"}
INVALID = {"error": "Invalid or incomplete input submitted", "error_code": "EINVALIDREQ"}
BAD_NAMES = [
    *("--option", "-x", "a..b", "a b", "HEAD", "a\x01b", "x.lock", "a//b", "x" * 10_000, "a/" * 120 + "a"),
    *("0" * 40, "0123456789abcdefABCD" * 2, "f" * 64, "refs/heads/main"),
]


def git_error(sentence: str) -> tuple[int, dict[str, str]]:
    return 400, {**GIT_ERROR, "errors": sentence}


def message_error(text: str) -> tuple[int, dict[str, str]]:
    return 400, {"error": text, "error_code": "ENOCODE"}


async def list_branches(client: Client, path: str = "/nethack") -> dict[str, str]:
    found: dict[str, str] = (await client.pagure(f"{path}/git/branches?with_commits=1"))[1]["branches"]
    return found


async def find_repository(client: Client, settings: Settings, path: str = "/nethack") -> Path:
    return store.repository_path(settings.repositories, (await client.pagure(path))[1]["id"])


async def list_events(forge: Forge, event_type: str = "ref.updated") -> list[tuple[str, dict[str, Any]]]:
    rows = await forge.db.fetch("select actor, data from events where type = $1 order by position", event_type)
    return [(row["actor"], {key: row["data"][key] for key in row["data"] if key != "project_id"}) for row in rows]
