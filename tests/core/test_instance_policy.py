"""The policy of the instance: what may be created and deleted, in every dialect."""

import uuid
from contextlib import nullcontext

import pytest

from app.actor import Actor
from app.config import Settings
from app.core import commands
from app.core.commands import Command
from app.core.groups import CreateGroup
from app.core.instance_policy import STRICTEST, InstancePolicy
from app.core.mirrors import PullMirror
from app.core.projects import CreateProject, DeleteProject
from app.errors import Disabled, Forbidden, Invalid, Refused, Subject
from tests.conftest import Client, Forge

ALICE = Actor("alice", groups=frozenset({"team"}))
NEW = Subject.NEW_PROJECTS
PROJECT = {"name": "x", "description": "d", "default_branch": "main"}


def policy(**changed: object) -> InstancePolicy:
    return InstancePolicy.from_settings(Settings(namespaces=["rpms"]).model_copy(update=changed))


async def refusal(forge: Forge, command: Command, held: InstancePolicy, actor: Actor = ALICE) -> Refused | None:
    """Execute the command and return its refusal, if it is refused."""
    try:
        await commands.execute(forge.db, actor, command, command_id=uuid.uuid4(), policy=held)
    except Refused as refused:
        return refused
    return None


@pytest.mark.parametrize(
    ("command", "setting", "subject"),
    [
        (CreateProject(**PROJECT), "new_projects", Subject.NEW_PROJECTS),
        (CreateProject(**PROJECT, namespace="alice", private=True), "private_projects", Subject.PRIVATE_PROJECTS),
        (CreateProject(**PROJECT, mirrored_from="https://example.org/x"), "mirroring", Subject.MIRRORING),
        (CreateGroup(group_name="others", display_name="Others"), "new_groups", Subject.NEW_GROUPS),
    ],
    ids=lambda value: str(value) if isinstance(value, Subject) else "",
)
async def test_a_command_asks_whether_the_instance_allows_it(
    forge: Forge, alice: Client, command: Command, setting: str, subject: Subject
) -> None:
    for held in (policy(**{setting: False}), STRICTEST):
        refused = await refusal(forge, command, held)
        assert isinstance(refused, Forbidden if subject is Subject.NEW_GROUPS else Disabled)
        assert refused.subject == (subject if held is not STRICTEST or isinstance(refused, Forbidden) else NEW)
    assert await refusal(forge, command, policy()) is None


async def test_deletion_and_mirroring_are_asked_for_projects_that_are_there(forge: Forge, nethack: Client) -> None:
    assert (await nethack.post("/fork", repo="nethack"))[0] == 200
    for path, setting, other in (
        ("fork/alice/nethack", "delete_forks", "delete_projects"),
        ("nethack", "delete_projects", "delete_forks"),
    ):
        project = await forge.db.fetchval("select project_id from projects where path = $1", path)
        command = DeleteProject(project_id=project)
        for held in (policy(**{setting: False}), STRICTEST):
            refused = await refusal(forge, command, held)
            assert isinstance(refused, Disabled)
            assert refused.subject is Subject.DELETING_PROJECTS
        refused = await refusal(forge, PullMirror(project_id=project), policy(mirroring=False))
        assert refused is not None
        assert refused.subject is Subject.MIRRORING
        assert await refusal(forge, command, policy(**{other: False})) is None


async def test_administrators_may_always_create_groups(forge: Forge) -> None:
    command = CreateGroup(group_name="others", display_name="Others")
    assert await refusal(forge, command, STRICTEST, Actor("admin", admin=True)) is None


@pytest.mark.parametrize(
    ("namespace", "private", "user_namespaces", "allowed"),
    [
        (None, False, False, True), ("rpms", False, False, True), ("team", False, False, True),
        ("alice", False, False, False), ("alice", True, False, True), ("alice", False, True, True),
        ("bob", True, True, False), ("other", False, False, False),
    ],
)  # fmt: skip
def test_namespaces_are_those_of_the_instance_of_groups_and_of_the_user(
    namespace: str | None, private: bool, user_namespaces: bool, allowed: bool
) -> None:
    held = policy(user_namespaces=user_namespaces)
    assert held.allows_namespace(ALICE, namespace, private=private) == allowed
    with nullcontext() if allowed else pytest.raises(Invalid, match=Subject.NAMESPACE):
        held.require_project(ALICE, namespace, private=private, mirrored=False)


def test_private_projects_and_with_user_namespaces_others_are_below_their_owners_name() -> None:
    assert policy().choose_namespace(ALICE, "rpms", private=True) == "alice"
    assert policy().choose_namespace(ALICE, None, private=False) is None
    assert policy(user_namespaces=True).choose_namespace(ALICE, None, private=False) == "alice"
    assert policy(user_namespaces=True).choose_namespace(ALICE, "rpms", private=False) == "rpms"
