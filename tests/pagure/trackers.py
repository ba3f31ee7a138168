"""A configured tracker, and users with different access to it."""

import uuid
from typing import Any

from app.actor import Actor
from app.core import commands
from app.core.commands import Command, Outcome
from app.core.projects import ConfigureProject
from app.core.sharing import GrantAccess
from app.core.tracker import ConfigureTracker
from tests.conftest import Client, Forge

CUSTOM_KEYS = [
    ["reviewer", "text"],
    ["docs", "link"],
    ["done", "boolean"],
    ["size", "list", ["small", "large"]],
    ["due", "date", "2026-12-24"],
]
WORDS = {
    "milestones": {"v1": {"date": "2026-12-24", "active": True}, "v2": {"date": None, "active": False}},
    "priorities": {"1": "High", "2": "Low"},
    "close_status": ["Fixed", "Invalid"],
    "custom_keys": CUSTOM_KEYS,
}
# Every change of an issue by the end of its path, and a form for it.
FORMS = {
    "/status": {"status": "Closed"},
    "/milestone": {"milestone": "v1"},
    "/assign": {"assignee": "alice"},
    "/custom/reviewer": {"value": "bob"},
    "/custom": {"reviewer": "carol"},
    "": {"title": "New", "issue_content": "words"},
}
EDITED = {"message": "Successfully edited issue #1"}
UNCHANGED = {"message": "No changes"}
DENIED = (403, {"error": "You are not allowed to view this issue", "error_code": "EISSUENOTALLOWED"})


class Tracker:
    """The tracker of alice's project `nethack`, and its users with tokens for that project."""

    def __init__(self, forge: Forge, project_id: int, alice: Client) -> None:
        self.forge = forge
        self.project_id = project_id
        self.alice = alice

    async def execute(self, kind: type[Command], *, username: str = "alice", **fields: Any) -> Outcome:
        """Execute a command that has no endpoint in this dialect."""
        command = kind(project_id=self.project_id, **fields)
        return await commands.execute(self.forge.db, Actor(username), command, command_id=uuid.uuid4())

    async def add_person(self, name: str, level: str | None = None, **account: Any) -> Client:
        await self.forge.admin.json("POST", "/v1/users", {"username": name, "email": f"{name}@example.org", **account})
        if level:
            branches = "*" if level == "collaborator" else None
            await self.execute(GrantAccess, party="user", name=name, level=level, branches=branches)
        return await self.token(name, "nethack")

    async def token(self, name: str, project: str | None, *acls: str) -> Client:
        wanted = {"description": "t", "project": project, "acls": list(acls) or None}
        status, issued = await self.forge.admin.json("POST", f"/v1/users/{name}/tokens", wanted)
        assert status == 201, issued
        return Client(self.forge, issued["token"], name)

    async def configure(self, **settings: Any) -> None:
        await self.execute(ConfigureProject, settings=settings)

    async def issue(self, author: Client | None = None, **fields: Any) -> int:
        status, body = await (author or self.alice).post(
            "/nethack/new_issue", **{"title": "Hungry dog", "issue_content": "Feed it.", **fields}
        )
        assert status == 200, body
        return int(body["issue"]["id"])

    async def view(self, number: int = 1) -> dict[str, Any]:
        status, body = await self.alice.pagure(f"/nethack/issue/{number}")
        assert status == 200, body
        assert isinstance(body, dict)
        return body

    async def list_notes(self, number: int = 1) -> list[str]:
        """Return the forge's comments on the issue, without the heading."""
        notes = [comment for comment in (await self.view(number))["comments"] if comment["notification"]]
        return [comment["comment"].partition("\n")[2] for comment in notes]


async def make_tracker(forge: Forge, alice: Client) -> Tracker:
    tracker = Tracker(forge, (await alice.pagure("/nethack"))[1]["id"], alice)
    tracker.alice = await tracker.token("alice", "nethack")
    await tracker.execute(ConfigureTracker, changed=WORDS)
    return tracker


def refusal(code: str, message: str, **errors: Any) -> tuple[int, dict[str, Any]]:
    body = {"error": message, "error_code": code}
    return 400, {**body, "errors": errors} if errors else body


def invalid_input(**errors: list[str]) -> tuple[int, dict[str, Any]]:
    return refusal("EINVALIDREQ", "Invalid or incomplete input submitted", **errors)
