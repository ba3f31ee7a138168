"""Refs that move outside of a push are recorded, whatever became of an earlier attempt."""

from uuid import uuid4

import pytest

from app.actor import Actor
from app.core.pushes import moving_refs, record_refs
from app.git import store
from app.stores.idempotency_keys import HeldKey
from tests.conftest import Client, Forge, git


async def test_an_attempt_that_left_its_row_does_not_stand_in_the_way_of_the_next(
    forge: Forge, nethack: Client
) -> None:
    project_id = await forge.db.fetchval("select project_id from projects")
    root, actor, key = forge.settings.repositories, Actor("alice"), HeldKey(uuid4())
    with pytest.raises(RuntimeError):
        async with moving_refs(forge.db, root, project_id, actor, key=key):
            raise RuntimeError("the process dies")
    async with moving_refs(forge.db, root, project_id, actor, key=key):
        await git("branch", "dev", "main", cwd=store.repository_path(root, project_id))
        assert await forge.db.fetchval("select count(*) from open_pushes") == 1
        assert await record_refs(forge.db, root, project_id, actor, key=key) == 1
    assert await forge.db.fetchval("select count(*) from open_pushes") == 0
