"""Hook.message checks every message against its published schema; so do these topics that no other test provokes."""

import jsonschema
import pytest

from tests.pagure.hooks.conftest import Hook
from tests.pagure.hooks.schemas import SCHEMAS, validate


def test_a_message_that_does_not_fit_its_schema_is_found() -> None:
    assert len(SCHEMAS) > 40
    with pytest.raises(jsonschema.ValidationError):
        validate("issue.new", {"agent": "alice"})


async def test_a_ping_and_a_deleted_project_are_valid(hook: Hook) -> None:
    [subscription] = (await hook.client.get("/v1/subscriptions"))[1]["subscriptions"]
    assert (await hook.client.json("POST", f"/v1/subscriptions/{subscription['id']}/ping"))[0] == 202
    await hook.next("Test.notification")
    bound = await hook.client.limited(project="nethack")
    assert (await bound.post("/nethack/delete"))[0] == 200
    await hook.next("project.deleted")
